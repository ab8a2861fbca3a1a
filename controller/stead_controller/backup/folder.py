"""Backups in a folder of this machine, or one that is mounted here."""

import contextlib
import fcntl
import json
import shutil
from collections.abc import Iterable, Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Final

from stead_controller.backup.repository import (
    BLOCKS,
    FORMAT,
    MANIFEST,
    MARK,
    PIECES,
    BackupError,
    Manifest,
    Repository,
    is_digest,
    is_id,
    make_private_folders,
    sync_folder,
    sync_tree,
    write_durably,
)

_PART: Final = ".part"


class FolderRepository(Repository):
    """A folder with backups."""

    def __init__(self, folder: Path) -> None:
        """Set the folder, which need not exist yet."""
        super().__init__(str(folder))
        self.folder = folder
        self._changed: set[Path] = set()

    def begin(self) -> None:
        """Make the folder, unless it is one with backups; raises BackupError for a folder with something else."""
        mark = self.folder / MARK
        if not mark.exists():
            if self.folder.exists() and any(self.folder.iterdir()):
                raise BackupError(f"{self.folder} has other files and no backups: name an empty or a new folder.")
            self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            self.folder.chmod(0o700)
            write_durably(mark, json.dumps({"format": FORMAT}).encode())
        for name in (BLOCKS, PIECES):
            (self.folder / name).mkdir(mode=0o700, exist_ok=True)

    def require_apart(self, authority_file: Path) -> None:
        """A folder may be anywhere: where, is for who names it."""

    @contextlib.contextmanager
    def exclusively(self) -> Iterator[None]:
        """Keep others from changing it, and remove what a killed one has left; raises BackupError."""
        self.require_begun()
        with (self.folder / "lock").open("w") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError as error:
                raise BackupError(f"Another `stead backup` uses {self.folder}: wait until it is done.") from error
            for left in self.folder.glob(f"*{_PART}"):
                shutil.rmtree(left)
            yield

    def require_begun(self) -> None:
        """Raise BackupError where nobody has begun with backups."""
        if not (self.folder / MARK).exists():
            raise BackupError(f"{self.folder} has no backups.")

    def names(self) -> Iterable[str]:
        """The ids of complete backups, in any order."""
        return (path.name for path in self.folder.iterdir() if is_id(path.name))

    def staging(self, backup: str) -> Path:
        """A folder that becomes the backup by its name."""
        part = self.folder / f"{backup}{_PART}"
        part.mkdir(mode=0o700)
        return part

    def complete(self, part: Path, manifest: Manifest) -> None:
        """Make a backup one that counts: everything is on the disk before its folder has its name."""
        for folder in sorted(self._changed | {folder.parent for folder in self._changed}):
            sync_folder(folder)
        write_durably(part / MANIFEST, json.dumps(asdict(manifest), indent=1).encode())
        sync_tree(part)
        part.rename(self.folder / manifest.id)
        sync_folder(self.folder)

    def remove(self, backup: str) -> None:
        """Remove a backup, not its blocks: from the moment of its renaming it does not count any more."""
        gone = self.folder / f"{backup}{_PART}"
        (self.folder / backup).rename(gone)
        shutil.rmtree(gone)

    def read(self, backup: str, name: str) -> bytes:
        """Return a small file of a backup."""
        return self.file(backup, name).read_bytes()

    def file(self, backup: str, name: str) -> Path:
        """Where a file of a backup is."""
        return self.folder / backup / name

    def size(self, kind: str, digest: str) -> int | None:
        """The size of a block or piece; None where it is not there."""
        try:
            return self._path(kind, digest).stat().st_size
        except FileNotFoundError:
            return None

    def put(self, kind: str, digest: str, content: bytes) -> None:
        """Write a block or piece onto the disk; what names it there is by the time at which the backup is complete."""
        path = self._path(kind, digest)
        make_private_folders(path.parent, self.folder)
        write_durably(path, content)
        self._changed.add(path.parent)

    def get(self, kind: str, digest: str, most: int) -> bytes:
        """Return a block or piece, of a longer one the first bytes."""
        with self._path(kind, digest).open("rb") as file:
            return file.read(most)

    def discard(self, kind: str, digests: Iterable[str]) -> None:
        """Remove blocks or pieces."""
        for digest in digests:
            self._path(kind, digest).unlink()

    def listed(self, kind: str) -> Iterator[str]:
        """The digests of all blocks or pieces, in order; what a killed backup has left half written is removed."""
        for first in _entries(self.folder / kind):
            for second in _entries(first):
                for path in _entries(second):
                    if is_digest(path.name):
                        yield path.name
                    else:
                        path.unlink()

    def block(self, digest: bytes) -> Path:
        """Where a block is, or would be."""
        return self._path(BLOCKS, digest.hex())

    def piece(self, digest: str) -> Path:
        """Where a piece is, or would be; by its SHA-256 in hex digits."""
        return self._path(PIECES, digest)

    def _path(self, kind: str, digits: str) -> Path:
        return self.folder / kind / digits[:2] / digits[2:4] / digits


def _entries(folder: Path) -> list[Path]:
    return sorted(folder.iterdir()) if folder.exists() else []
