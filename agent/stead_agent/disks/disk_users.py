"""A separate user for each process that uses disks, which may open only its own disks."""

import os
import stat
from collections.abc import Callable
from hashlib import sha256
from pathlib import Path
from typing import Final

from stead_agent.disks.disk_sources import BlockSource, FileSource, NbdSource, RbdSource, Source

# Range of user ids: above those of systemd's containers, otherwise unused (https://systemd.io/UIDS-GIDS/). 2**27
# of them: a clash of two on a host is unlikely and harmless.
_FIRST_UID: Final = 0x70000000
_UID_BITS: Final = 27


class DiskAccessError(Exception):
    """A disk is not of the expected kind, or its owner cannot be changed."""


def uid_of(resource_id: str) -> int:
    """Derive the user id of a machine's or volume's process: after a breakout it cannot open the disks of others."""
    return _FIRST_UID + (int(sha256(f"uid {resource_id}".encode()).hexdigest(), 16) >> (256 - _UID_BITS))


def is_one(uid: int) -> bool:
    """Tell whether a user id is within this range."""
    return _FIRST_UID <= uid < _FIRST_UID + (1 << _UID_BITS)


def give(source: Source, uid: int) -> None:
    """Make a user the owner of a disk, so that no other can open it; raises DiskAccessError.

    A symbolic link is refused, except those in /dev that lead to a block device. A Ceph image has no owner on this
    host: every process with the key may open it.
    """
    match source:
        case FileSource(path):
            _give(path, uid, stat.S_ISREG, os.O_RDONLY | os.O_NONBLOCK)
        case BlockSource(path):
            _give(path.resolve(), uid, stat.S_ISBLK, os.O_RDONLY | os.O_NONBLOCK)
        case NbdSource(path):
            _give(path, uid, stat.S_ISSOCK, os.O_PATH)
        case RbdSource():
            return


def users_of(socket: Path) -> Path:
    """Return the folder with a file for each user that may read from a socket with access control; see `allow_read`."""
    return socket.with_suffix(".users")


def allow_read(source: Source, uid: int) -> None:
    """Let a user read the base of a disk; raises DiskAccessError.

    Files may be read by every process that knows their names. The server of an encrypted base checks the user of each
    client against a folder beside its socket, which survives a restart of the server.
    """
    if isinstance(source, NbdSource) and (users := users_of(source.socket)).is_dir():
        try:
            (users / str(uid)).touch(mode=0o600)
        except OSError as error:
            raise DiskAccessError(f"{users}: {error.strerror}") from error


def _give(path: Path, uid: int, is_right: Callable[[int], bool], flags: int) -> None:
    """Change the owner of the file at a path, if it is of the right kind."""
    try:
        handle = os.open(path, flags | os.O_NOFOLLOW | os.O_CLOEXEC)
    except OSError as error:
        raise DiskAccessError(f"{path}: {error.strerror}") from error
    try:
        found = os.fstat(handle)
        if not is_right(found.st_mode):
            raise DiskAccessError(f"{path}: not the file, block device or socket it should be")
        itself = Path(f"/proc/self/fd/{handle}")  # the path may name another file by now
        if stat.S_IMODE(found.st_mode) != 0o600:
            itself.chmod(0o600)
        if (found.st_uid, found.st_gid) != (uid, 0):
            os.chown(itself, uid, 0)
    finally:
        os.close(handle)
