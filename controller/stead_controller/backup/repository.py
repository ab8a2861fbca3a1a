"""What backups are kept in: each by itself, and blocks that all of them share, by digest.

stead-backups.json          says that backups are here
lock                        of a folder: held while a backup is made, checked or removed
locks/                      of a bucket: the same
blocks/ab/cd/<digest>       blocks of snapshots and images, as the store has them
pieces/ab/cd/<digest>       pieces of files of the object store and of the store of metrics
20261129T141500Z/           a backup: complete, as a folder is renamed last, and in a bucket the manifest written last
    manifest.json           what belongs to it, with checksums
    database.sqlite         the database, at one moment
    blocks.list             the digests of all blocks that it names, in order, 32 bytes each
    keys.sealed             the other files of the state, sealed by the passphrase, or
    keys.age                sealed for age recipients
    audit/                  records of calls
    object-store.files      the files of the object store, in pieces, as they were at one moment
    metrics.files           the same of the store of metrics
"""

import hashlib
import json
import os
import re
import sqlite3
from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator
from contextlib import AbstractContextManager, closing
from dataclasses import dataclass, field
from datetime import datetime
from itertools import chain, count
from pathlib import Path
from typing import Any, Final, Self

from stead_controller.errors import SteadError

FORMAT: Final = 3
"""What is written; 1 had neither buckets nor metrics, 2 no recipients: both are read."""

_READ: Final = frozenset({1, 2, FORMAT})
DATABASE: Final = "database.sqlite"
BLOCK_LIST: Final = "blocks.list"
KEYS: Final = "keys.sealed"
KEYS_FOR_RECIPIENTS: Final = "keys.age"
AUDIT: Final = "audit"
MARK: Final = "stead-backups.json"
MANIFEST: Final = "manifest.json"
_DIGEST_BYTES: Final = 32
_ID: Final = re.compile(r"\d{8}T\d{6}Z(-\d+)?\Z")
_DIGEST: Final = re.compile(r"[0-9a-f]{64}\Z")
BLOCKS: Final = "blocks"
PIECES: Final = "pieces"


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


class Repository(ABC):
    """Backups in a folder (folder.py) or in a bucket (bucket.py): whatever is in one, is in the other by the same name.

    What cannot be read or written is an OSError. Blocks and pieces have a kind and a digest in hex digits.
    """

    def __init__(self, name: str) -> None:
        """Set what it is called in messages."""
        self.name = name

    @abstractmethod
    def begin(self) -> None:
        """Make it, unless it has backups; raises BackupError where it has something else."""

    @abstractmethod
    def require_apart(self, authority_file: Path) -> None:
        """Raise BackupError where it is lost with the cloud of this authority."""

    @abstractmethod
    def exclusively(self) -> AbstractContextManager[None]:
        """Keep others from changing it, and remove what a killed one has left; raises BackupError."""

    @abstractmethod
    def require_begun(self) -> None:
        """Raise BackupError where nobody has begun with backups."""

    @abstractmethod
    def names(self) -> Iterable[str]:
        """The ids of complete backups, in any order."""

    @abstractmethod
    def staging(self, backup: str) -> Path:
        """Make an empty folder of this machine in which a backup is put together."""

    @abstractmethod
    def complete(self, part: Path, manifest: Manifest) -> None:
        """Make a backup of such a folder, which counts from the last step on; raises BackupError."""

    @abstractmethod
    def remove(self, backup: str) -> None:
        """Remove a backup, not its blocks: from the first step on it does not count any more."""

    @abstractmethod
    def read(self, backup: str, name: str) -> bytes:
        """Return a small file of a backup."""

    @abstractmethod
    def file(self, backup: str, name: str) -> Path:
        """Where a file of a backup is on this machine, if need be until the end of `exclusively`."""

    @abstractmethod
    def size(self, kind: str, digest: str) -> int | None:
        """The size of a block or piece; None where it is not there. Of blocks it is asked in order."""

    @abstractmethod
    def put(self, kind: str, digest: str, content: bytes) -> None:
        """Store a block or piece, durably by the time at which a backup is complete."""

    @abstractmethod
    def get(self, kind: str, digest: str, most: int) -> bytes:
        """Return a block or piece, of a longer one the first bytes."""

    @abstractmethod
    def discard(self, kind: str, digests: Iterable[str]) -> None:
        """Remove blocks or pieces."""

    @abstractmethod
    def listed(self, kind: str) -> Iterator[str]:
        """The digests of all blocks or pieces, in order; what a killed backup has left half written is removed."""

    def ids(self) -> list[str]:
        """The complete backups, the oldest first; raises BackupError."""
        self.require_begun()
        return sorted(self.names(), key=_order)

    def find(self, backup: str) -> Manifest:
        """A backup by its id, or the `latest`; raises BackupError."""
        ids = self.ids()
        chosen = (ids[-1] if ids else "") if backup == "latest" else backup
        if chosen not in ids:
            raise BackupError(f"There is no backup {backup} in {self.name}.")
        return self.manifest(chosen)

    def manifest(self, backup: str) -> Manifest:
        """The manifest of a backup that is there; raises BackupError."""
        try:
            return Manifest.parse(self.read(backup, MANIFEST).decode())
        except OSError as error:
            raise BackupError(f"The manifest of {backup} cannot be read: {error.strerror}") from error

    def new(self, now: datetime) -> tuple[str, Path]:
        """An id for a backup that is made now, and the folder in which it is made."""
        known = set(self.ids())
        first = f"{now:%Y%m%dT%H%M%SZ}"
        names = chain([first], (f"{first}-{number}" for number in count(2)))
        chosen = next(name for name in names if name not in known)
        return chosen, self.staging(chosen)

    def database(self, backup: str) -> Path:
        """The database of a backup."""
        return self.file(backup, DATABASE)


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


def write_block_list(database: Path, target: Path) -> None:
    """Write the digests of the blocks that a database names, so that who prunes needs no database."""
    with os.fdopen(os.open(target, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
        for row in block_rows(database):
            file.write(row.digest)


def read_block_list(path: Path) -> Iterator[str]:
    """The digests of such a list, in hex digits."""
    with path.open("rb") as file:
        while digest := file.read(_DIGEST_BYTES):
            yield digest.hex()


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


def is_id(name: str) -> bool:
    """Tell whether a name may be that of a backup."""
    return _ID.match(name) is not None


def is_digest(name: str) -> bool:
    """Tell whether a name is that of a block or piece."""
    return _DIGEST.match(name) is not None


def _order(backup: str) -> tuple[str, int]:
    moment, _, number = backup.partition("-")
    return moment, int(number or 0)
