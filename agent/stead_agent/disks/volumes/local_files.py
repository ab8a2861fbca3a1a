"""The directories that disks and their bases are kept in.

Below one directory: `bases/` and `volumes/` hold what is there, `incoming/` what is being made, `trash/` what was
removed. `made/` has a file for each volume whose disk was made, wherever that is kept, so that one that has vanished is
never taken for one that is yet to be made. The file of one that we removed says so, for some months: ids do not come
again, so who asks for it again knows less than we do. A file gets its final name when all of it is on the disk, and a
name only ever comes from a checked id. Guests' processes may pass through the directories and read bases; only root may
list or change them.
"""

import contextlib
import errno
import os
import re
import stat
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from stead_agent.disks.volumes.interface import DiskFullError, VolumeError

BASE_NAME: Final = re.compile(r"(?P<id>snap-[0-9a-f]{8,17})\.raw\Z")
_TRASH_NAME: Final = re.compile(r".+\.(?P<removed>[0-9]{1,20})\Z")
_PASSABLE: Final = 0o711
_REMOVED: Final = b"removed\n"


class LocalStore:
    """The directories that bases and volumes share."""

    def __init__(self, root: Path, *, trash_seconds: float = 3600) -> None:
        """Make the directories; `trash_seconds` is how long removed disks can still be rescued by hand."""
        self.root = root
        self.bases = root / "bases"
        self.volumes = root / "volumes"
        self.incoming = root / "incoming"
        self.trash = root / "trash"
        self.made = root / "made"
        self.trash_seconds = trash_seconds
        for directory in (root, self.volumes):
            directory.mkdir(mode=_PASSABLE, parents=True, exist_ok=True)
            directory.chmod(_PASSABLE)
        for directory in (self.incoming, self.trash, self.made):
            directory.mkdir(mode=0o700, exist_ok=True)
        self._check_reachable()

    def _check_reachable(self) -> None:
        """Refuse a directory through which guests' processes, users of their own, cannot pass."""
        for parent in self.root.resolve().parents:
            if not parent.stat().st_mode & stat.S_IXOTH:
                raise VolumeError(f"guests' processes cannot pass through {parent}: chmod o+x {parent}")

    def discard(self, path: Path) -> Path | None:
        """Move a file to the trash, if it exists, and say where it is there."""
        target = self.trash / f"{path.name}.{time.time_ns()}"
        try:
            path.rename(target)
        except FileNotFoundError:
            return None
        _sync_directory(path.parent)
        return target

    def purge(self, older_than: float) -> None:
        """Delete what has been in the trash for so many seconds."""
        now = time.time_ns()
        for path in self.trash.iterdir():
            name = _TRASH_NAME.match(path.name)
            if name and now - int(name["removed"]) >= older_than * 1e9:
                path.unlink(missing_ok=True)

    def note_made(self, volume_id: str) -> None:
        """Remember that a volume's disk is here."""
        path = self.made / volume_id
        if not path.exists():
            path.touch(mode=0o600)

    def was_made(self, volume_id: str) -> bool:
        """Tell whether a volume's disk has been here."""
        return (self.made / volume_id).exists()

    def was_removed(self, volume_id: str) -> bool:
        """Tell whether a volume's disk has been here, and was removed by us."""
        try:
            return (self.made / volume_id).read_bytes() == _REMOVED
        except FileNotFoundError:
            return False

    def note_removed(self, volume_id: str) -> None:
        """Remember that a volume's disk was here and was removed, unless it never was here."""
        path = self.made / volume_id
        if path.exists():
            path.write_bytes(_REMOVED)

    def forget_removed(self, older_than: float) -> None:
        """Forget the volumes that were removed so many seconds ago."""
        for path in self.made.iterdir():
            found = path.stat()
            if found.st_size and time.time() - found.st_mtime > older_than:
                path.unlink(missing_ok=True)

    def publish(self, incoming: Path, final: Path) -> None:
        """Give a file that is whole its final name; it and the name are on the disk when this returns."""
        handle = os.open(incoming, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)
        incoming.rename(final)
        _sync_directory(final.parent)

    @contextlib.contextmanager
    def room(self, what: str) -> Iterator[None]:
        """Tell apart a full disk from other trouble; a full disk empties the trash, for the next try."""
        try:
            yield
        except OSError as error:
            if error.errno in {errno.ENOSPC, errno.EDQUOT}:
                self.purge(older_than=0)
                raise DiskFullError(f"{what}: no room left in {self.root}") from error
            raise VolumeError(f"{what}: {error}") from error


def _sync_directory(path: Path) -> None:
    """Have the names in a directory on the disk."""
    handle = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def allocated(directory: Path) -> int:
    """Add up the bytes that the files of a directory take on the disk; files may come and go meanwhile."""
    total = 0
    for path in directory.iterdir() if directory.exists() else ():
        with contextlib.suppress(FileNotFoundError):  # gone since it was listed
            total += path.lstat().st_blocks * 512
    return total
