"""The directories of disks and their bases.

Below one directory: `bases/` and `volumes/` hold complete files, `incoming/` unfinished ones, `trash/` removed ones.
`made/` has a file for each volume whose disk was created, in whatever pool, so that a lost disk is never taken for one
that is yet to be created. For a volume that we removed, this file says so for some months: ids are never reused, so a
request for it comes from outdated data. A file gets its final name when it is complete and synced, and a name is only
made from a checked id. Guests' processes may traverse the directories and read bases; only root may list or change
them.
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
        """Create the directories; `trash_seconds` is how long removed disks can still be rescued by hand."""
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
        """Refuse a directory that guests' processes, which run as separate users, cannot traverse."""
        for parent in self.root.resolve().parents:
            if not parent.stat().st_mode & stat.S_IXOTH:
                raise VolumeError(f"guests' processes cannot pass through {parent}: chmod o+x {parent}")

    def discard(self, path: Path) -> Path | None:
        """Move a file to the trash, if it exists, and return its path there."""
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
        """Record that a volume's disk was created here."""
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
        """Record that a volume's disk was removed, if it ever was here."""
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
        """Give a complete file its final name; both are synced when this returns."""
        handle = os.open(incoming, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)
        incoming.rename(final)
        _sync_directory(final.parent)

    @contextlib.contextmanager
    def room(self, what: str) -> Iterator[None]:
        """Translate errors; on a full disk, empty the trash for the next try."""
        try:
            yield
        except OSError as error:
            if error.errno in {errno.ENOSPC, errno.EDQUOT}:
                self.purge(older_than=0)
                raise DiskFullError(f"{what}: no room left in {self.root}") from error
            raise VolumeError(f"{what}: {error}") from error


def _sync_directory(path: Path) -> None:
    """Sync a directory."""
    handle = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def allocated(directory: Path) -> int:
    """Sum the bytes that the files of a directory take on the disk; files may appear and vanish meanwhile."""
    total = 0
    for path in directory.iterdir() if directory.exists() else ():
        with contextlib.suppress(FileNotFoundError):  # gone since it was listed
            total += path.lstat().st_blocks * 512
    return total
