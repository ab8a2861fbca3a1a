"""A folder with backups: one folder for each, and blocks that all of them share, by digest.

stead-backups.json          says what the folder is
lock                        held while a backup is made, checked or removed
blocks/ab/cd/<digest>       blocks of snapshots and images, as the store has them
pieces/ab/cd/<digest>       pieces of files of the object store and of the store of metrics
20261129T141500Z/           a backup: complete, as it is renamed last
    manifest.json           what belongs to it, with checksums
    database.sqlite         the database, at one moment
    keys.sealed             the other files of the state, sealed by the passphrase, or
    keys.age                sealed for age recipients
    audit/                  records of calls
    object-store.files      the files of the object store, in pieces, as they were at one moment
    metrics.files           the same of the store of metrics
"""

import contextlib
import fcntl
import hashlib
import json
import os
import re
import shutil
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from dataclasses import asdict, dataclass, field
from datetime import datetime
from itertools import chain, count
from pathlib import Path
from typing import Any, Final, Self

from stead_controller.errors import SteadError

FORMAT: Final = 3
"""What is written; 1 had neither buckets nor metrics, 2 no recipients: both are read."""

_READ: Final = frozenset({1, 2, FORMAT})
DATABASE: Final = "database.sqlite"
KEYS: Final = "keys.sealed"
KEYS_FOR_RECIPIENTS: Final = "keys.age"
AUDIT: Final = "audit"
_MARK: Final = "stead-backups.json"
_MANIFEST: Final = "manifest.json"
_ID: Final = re.compile(r"\d{8}T\d{6}Z(-\d+)?\Z")
_DIGEST: Final = re.compile(r"[0-9a-f]{64}\Z")
_PART: Final = ".part"
_BLOCKS: Final = "blocks"
_PIECES: Final = "pieces"


class BackupError(SteadError):
    """A backup cannot be made, or cannot be used; what was there is unchanged."""


@dataclass(frozen=True, slots=True)
class Manifest:
    """What belongs to a backup: times in Unix seconds, checksums as SHA-256 in hex digits.

    `unreadable` names blocks, in hex digits, that the store had lost already. With `bucket` blocks are in that S3
    bucket, and not here. `stores` are the bytes of what servers of ours had, by name, of those that are in it.
    `database` is the kind of the server that the database was in, or sqlite. `recipients` are those of age for whom its
    keys are sealed; without any a passphrase seals them. `authorities` tell one cloud from another: checksums of the
    certificates of its CA; earlier releases have not said them.
    """

    id: str
    made: int
    release: str
    revision: str
    files: dict[str, str] = field(default_factory=dict)
    blocks: int = 0
    block_bytes: int = 0
    unreadable: tuple[str, ...] = ()
    bucket: str = ""
    database: str = "sqlite"
    stores: dict[str, int] = field(default_factory=dict)
    recipients: tuple[str, ...] = ()
    authorities: tuple[str, ...] = ()
    format: int = FORMAT

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read a manifest; raises BackupError."""
        try:
            found: dict[str, Any] = json.loads(text)
            if found.get("format") not in _READ:
                raise BackupError(
                    f"It has the format {found.get('format')!r}; this release knows {FORMAT} and earlier ones."
                )
            lists = {name: tuple(found.get(name, ())) for name in ("recipients", "authorities")}
            return cls(**found | lists | {"unreadable": tuple(found["unreadable"])})
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise BackupError(f"Its manifest cannot be read: {error}") from error


class Repository:
    """A folder with backups."""

    def __init__(self, folder: Path) -> None:
        """Set the folder, which need not exist yet."""
        self.folder = folder

    def begin(self) -> None:
        """Make the folder, unless it is one with backups; raises BackupError for a folder with something else."""
        mark = self.folder / _MARK
        if not mark.exists():
            if self.folder.exists() and any(self.folder.iterdir()):
                raise BackupError(f"{self.folder} has other files and no backups: name an empty or a new folder.")
            self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            self.folder.chmod(0o700)
            write_durably(mark, json.dumps({"format": FORMAT}).encode())
        for name in (_BLOCKS, _PIECES):
            (self.folder / name).mkdir(mode=0o700, exist_ok=True)

    @contextlib.contextmanager
    def exclusively(self) -> Iterator[None]:
        """Keep others from changing it, and remove what a killed one has left; raises BackupError."""
        if not (self.folder / _MARK).exists():
            raise BackupError(f"{self.folder} has no backups.")
        with (self.folder / "lock").open("w") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError as error:
                raise BackupError(f"Another `stead backup` uses {self.folder}: wait until it is done.") from error
            for left in self.folder.glob(f"*{_PART}"):
                shutil.rmtree(left)
            yield

    def ids(self) -> list[str]:
        """The complete backups, the oldest first; raises BackupError."""
        if not (self.folder / _MARK).exists():
            raise BackupError(f"{self.folder} has no backups.")
        return sorted((path.name for path in self.folder.iterdir() if _ID.match(path.name)), key=_order)

    def find(self, backup: str) -> Manifest:
        """A backup by its id, or the `latest`; raises BackupError."""
        ids = self.ids()
        chosen = (ids[-1] if ids else "") if backup == "latest" else backup
        if chosen not in ids:
            raise BackupError(f"There is no backup {backup} in {self.folder}.")
        try:
            return Manifest.parse((self.folder / chosen / _MANIFEST).read_text(encoding="utf-8"))
        except OSError as error:
            raise BackupError(f"The manifest of {chosen} cannot be read: {error.strerror}") from error

    def new(self, now: datetime) -> tuple[str, Path]:
        """An id for a backup that is made now, and the folder in which it is made."""
        known = set(self.ids())
        first = f"{now:%Y%m%dT%H%M%SZ}"
        names = chain([first], (f"{first}-{number}" for number in count(2)))
        chosen = next(name for name in names if name not in known)
        part = self.folder / f"{chosen}{_PART}"
        part.mkdir(mode=0o700)
        return chosen, part

    def complete(self, part: Path, manifest: Manifest) -> None:
        """Make a backup one that counts: everything is on the disk before its folder has its name."""
        text = json.dumps(asdict(manifest), indent=1)
        write_durably(part / _MANIFEST, text.encode())
        sync_tree(part)
        part.rename(self.folder / manifest.id)
        sync_folder(self.folder)

    def remove(self, backup: str) -> None:
        """Remove a backup, not its blocks: from the moment of its renaming it does not count any more."""
        gone = self.folder / f"{backup}{_PART}"
        (self.folder / backup).rename(gone)
        shutil.rmtree(gone)

    def block(self, digest: bytes) -> Path:
        """Where a block is, or would be."""
        return self._path(_BLOCKS, digest.hex())

    def piece(self, digest: str) -> Path:
        """Where a piece is, or would be; by its SHA-256 in hex digits."""
        return self._path(_PIECES, digest)

    def list_blocks(self) -> Iterator[bytes]:
        """The digests of all blocks that are here, in order; what a killed backup has left half written is removed."""
        return map(bytes.fromhex, self._list(_BLOCKS))

    def list_pieces(self) -> Iterator[str]:
        """The digests of all pieces that are here, as `list_blocks` does."""
        return self._list(_PIECES)

    def _path(self, kind: str, digits: str) -> Path:
        return self.folder / kind / digits[:2] / digits[2:4] / digits

    def _list(self, kind: str) -> Iterator[str]:
        for first in _entries(self.folder / kind):
            for second in _entries(first):
                for path in _entries(second):
                    if _DIGEST.match(path.name):
                        yield path.name
                    else:
                        path.unlink()

    def database(self, backup: str) -> Path:
        """The database of a backup."""
        return self.folder / backup / DATABASE


@dataclass(frozen=True, slots=True)
class BlockRow:
    """A block that a database names, and the copy of it that the store has."""

    digest: bytes
    copy: str
    is_damaged: bool


def block_rows(database: Path) -> Iterator[BlockRow]:
    """The blocks that a database names, by digest; raises BackupError."""
    try:
        with closing(sqlite3.connect(f"{database.as_uri()}?mode=ro&immutable=1", uri=True)) as opened:
            for digest, copy, damaged in opened.execute("SELECT digest, copy, damaged FROM blocks ORDER BY digest"):
                yield BlockRow(digest, copy, bool(damaged))
    except sqlite3.Error as error:
        raise BackupError(f"The database of the backup cannot be read: {error}") from error


def revision_of(database: Path) -> str:
    """The revision of a database's schema, as Alembic stores it there; raises BackupError."""
    try:
        with closing(sqlite3.connect(f"{database.as_uri()}?mode=ro&immutable=1", uri=True)) as opened:
            (revision,) = opened.execute("SELECT version_num FROM alembic_version").fetchone()
            return str(revision)
    except (sqlite3.Error, TypeError) as error:
        raise BackupError(f"{database} is no database of Stead: {error}") from error


def checksum(path: Path) -> str:
    """The SHA-256 of a file, in hex digits."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def write_durably(path: Path, content: bytes) -> None:
    """Write a private file, whole or not at all, and onto the disk."""
    part = path.with_name(f"{path.name}.{os.getpid()}.new")
    descriptor = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW, 0o600)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        part.rename(path)
    except BaseException:
        part.unlink(missing_ok=True)
        raise


def make_private_folders(folder: Path, top: Path) -> None:
    """Make a folder and those above it, up to one that is there, readable by their owner alone."""
    for each in (*reversed(folder.relative_to(top).parents[:-1]), folder.relative_to(top)):
        (top / each).mkdir(mode=0o700, exist_ok=True)


def sync_tree(top: Path) -> None:
    """Write all below a folder onto the disk, and its own entries."""
    for folder, _, names in top.walk(top_down=False):
        for name in names:
            with (folder / name).open("rb") as file:
                os.fsync(file.fileno())
        sync_folder(folder)


def sync_folder(folder: Path) -> None:
    """Write a folder's entries onto the disk."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _order(backup: str) -> tuple[str, int]:
    moment, _, number = backup.partition("-")
    return moment, int(number or 0)


def _entries(folder: Path) -> list[Path]:
    return sorted(folder.iterdir()) if folder.exists() else []
