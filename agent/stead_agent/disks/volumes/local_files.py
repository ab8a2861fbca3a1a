"""The directories of disks and their bases.

Below one directory: `bases/` and `volumes/` hold complete files, `incoming/` unfinished ones, `trash/` removed ones.
`made/` has a file for each volume whose disk was created, in whatever pool, so that a lost disk is never taken for one
that is yet to be created. For a volume that we removed, this file says so for some months: a request for it comes from
outdated data, unless the volume has moved since, from home to home, which is counted. A file gets its final name when
it is complete and synced, and a name is only made from a checked id. Guests' processes may traverse the directories and
read bases; only root may list or change them.
"""

import contextlib
import errno
import os
import re
import stat
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from stead_agent.disks.volumes.interface import DiskFullError, VolumeError

BASE_NAME: Final = re.compile(r"(?P<id>snap-[0-9a-f]{8,17})\.raw\Z")
_TRASH_NAME: Final = re.compile(r".+\.(?P<removed>[0-9]{1,20})\Z")
_PASSABLE: Final = 0o711
_NOTE: Final = re.compile(rb"(?P<what>removed|made)(?: (?P<homes>[0-9]{1,10}))?\n\Z")


@dataclass(frozen=True, slots=True)
class Noted:
    """A disk that was here: how often its volume had moved then, and whether it was removed by us."""

    home_count: int = 0
    removed: bool = False


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

    def note_made(self, volume_id: str, home_count: int = 0) -> None:
        """Record that a volume's disk was created here, when it had moved so often; on the disk when this returns."""
        noted = self.noted(volume_id)
        if noted is None and not home_count:
            (self.made / volume_id).touch(mode=0o600)
        elif home_count and noted != Noted(home_count):
            self._write_note(volume_id, f"made {home_count}\n")

    def noted(self, volume_id: str) -> "Noted | None":
        """Return what is known of a volume's latest disk here, None if there never was one."""
        try:
            note = (self.made / volume_id).read_bytes()
        except FileNotFoundError:
            return None
        found = _NOTE.match(note)
        if found is None:
            return Noted()
        return Noted(int(found["homes"] or 0), removed=found["what"] == b"removed")

    def note_removed(self, volume_id: str) -> None:
        """Record that a volume's disk was removed, if it ever was here."""
        noted = self.noted(volume_id)
        if noted is None or noted.removed:
            return
        if noted.home_count:
            self._write_note(volume_id, f"removed {noted.home_count}\n")
        else:
            (self.made / volume_id).write_bytes(b"removed\n")

    def _write_note(self, volume_id: str, note: str) -> None:
        """Replace a note: either the old or the new one is there, whenever the host loses its power."""
        beside = self.made / f".{volume_id}"
        with beside.open("w") as file:
            file.write(note)
            file.flush()
            os.fsync(file.fileno())
        self.publish(beside, self.made / volume_id)

    def forget_removed(self, older_than: float) -> None:
        """Forget the volumes that were removed so many seconds ago."""
        for path in self.made.iterdir():
            noted = self.noted(path.name)
            if noted is not None and noted.removed and time.time() - path.stat().st_mtime > older_than:
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
