"""Ownership of a folder of VPC namespaces: one agent at a time, and the same agent as long as it has a VPC there.

A namespace's file is named after its VPC and does not say which agent made it, so two agents with one folder would
remove each other's namespaces as orphans, even when they run one after the other. The lock is on a file beside the
folder: ip(8) lists every file in the folder, and locks the folder itself for each `ip netns add`.
"""

import contextlib
import ctypes
import fcntl
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from stead_agent.network.namespaces import PREFIX
from stead_agent.settings import DEFAULT_NETNS_DIR

_MNT_DETACH: Final = 2  # umount2(2)
_MARK_BYTES: Final = 4096
_REMEDY: Final = "; give this agent a folder of its own: --netns-dir"


class FolderTakenError(Exception):
    """The folder has another agent's VPCs; the message says which agent, and the remedy."""


@contextlib.contextmanager
def owned(folder: Path, owner: str) -> Iterator[None]:
    """Own the folder; `owner` is the same text for the same agent at each of its starts.

    Raises FolderTakenError while another agent that owns it runs, or when another agent that stopped left VPCs there.
    """
    mark = mark_of(folder)
    mark.parent.mkdir(mode=0o755, parents=True, exist_ok=True)
    handle = _lock(mark, folder)
    try:
        before = _read(handle)[0]
        if before not in {"", owner} and _has_vpcs(folder):
            raise FolderTakenError(
                f"{folder} has VPCs of the agent of {before}, which does not run: start or purge that one" + _REMEDY
            )
        os.ftruncate(handle, 0)
        os.pwrite(handle, f"{owner}\n{os.getpid()}\n".encode(), 0)
        yield
        if not _has_vpcs(folder):
            mark.unlink(missing_ok=True)
    finally:
        os.close(handle)


def mark_of(folder: Path) -> Path:
    """Return the file that names the folder's owner, and that the owning agent holds locked."""
    real = folder.resolve()
    return real.with_name(f"{real.name}.stead-agent")


def give_up(folder: Path) -> None:
    """Remove an empty folder and the mount over itself that `ip netns` and we make; never the system's own folder."""
    if folder.resolve() == DEFAULT_NETNS_DIR or not folder.is_dir() or any(folder.iterdir()):
        return
    libc = ctypes.CDLL(None, use_errno=True)
    while libc.umount2(os.fsencode(folder), _MNT_DETACH) == 0:
        pass  # the last call fails, since nothing is mounted there any more; any other problem makes rmdir fail
    folder.rmdir()


def _lock(mark: Path, folder: Path) -> int:
    """Open and lock the mark; try again when its last owner deleted it while we waited for the lock."""
    while True:
        handle = os.open(mark, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if _is_still(mark, handle):
                return handle
        except BlockingIOError:
            owner, pid = _read(handle)
            os.close(handle)
            raise FolderTakenError(
                f"{folder} has the VPCs of the agent of {owner or 'another'}, which runs as process {pid}" + _REMEDY
            ) from None
        except BaseException:
            os.close(handle)
            raise
        os.close(handle)


def _is_still(mark: Path, handle: int) -> bool:
    try:
        found = mark.lstat()
    except FileNotFoundError:
        return False
    return os.path.samestat(found, os.fstat(handle))


def _read(handle: int) -> tuple[str, str]:
    """Read the owner and the process that wrote it; both are empty when there is none."""
    lines = os.pread(handle, _MARK_BYTES, 0).decode(errors="replace").split("\n")
    return (lines[0], lines[1]) if len(lines) > 1 else ("", "")


def _has_vpcs(folder: Path) -> bool:
    return folder.is_dir() and any(entry.name.startswith(PREFIX) for entry in os.scandir(folder))
