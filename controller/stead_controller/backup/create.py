"""Makes a backup while the controller runs, or while it does not."""

import hashlib
import os
import shutil
import sqlite3
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from dataclasses import dataclass
from datetime import datetime
from itertools import batched
from pathlib import Path
from typing import Final

from stead_controller.backup import contents, keys, stores
from stead_controller.backup.keys import Passphrase, Recipients, Seal
from stead_controller.backup.progress import Show
from stead_controller.backup.repository import (
    AUDIT,
    BLOCK_LIST,
    BLOCKS,
    DATABASE,
    BackupError,
    BlockRow,
    Manifest,
    Repository,
    block_rows,
    checksum,
    revision_of,
    write_block_list,
    write_durably,
)
from stead_controller.backup.server_databases import kind_of, read
from stead_controller.backup.stores import Moment, Store
from stead_controller.blocks import collection
from stead_controller.blocks.interface import MOST_BYTES, decode
from stead_controller.resources.storage.block_names import BlockName
from stead_controller.secrets.authority_change import EARLIER_FILE
from stead_proto.blocks import BadBlockError
from stead_proto.tls import certificates_in

_AT_ONCE: Final = 256
_THREADS: Final = 8
_BUSY_SECONDS: Final = 60.0
_LONGEST_LINE: Final = 1 << 20
_BLOCK_FOLDER: Final = "blocks"
_CERTIFICATE: Final = "ca.pem"


@dataclass(frozen=True, slots=True)
class Source:
    """The state that is backed up; `settings_file` is that of `stead up`, if there is one.

    With `database_url` the database is not in the state directory. The `stores` are those of which it is made.
    """

    state_dir: Path
    release: str
    bucket: str = ""
    settings_file: Path | None = None
    database_url: str = ""
    stores: Sequence[Store] = stores.ALL


def create(source: Source, repository: Repository, seal: Seal, now: datetime, show: Show) -> Manifest:
    """Make a backup and return what belongs to it; raises BackupError, WrongPassphraseError, RecipientError, OSError.

    Files of the object store and of metrics are opened as they are at one moment, and the database is copied as it is
    at the next; all that it names is there until the end, since blocks are not collected meanwhile, and old master keys
    stay for a day and a half.
    """
    if not source.database_url and not (source.state_dir / contents.DATABASE_NAME).exists():
        raise BackupError(f"{source.state_dir} has no database of Stead.")
    keys.require_usable(seal)
    repository.require_apart(source.state_dir / _CERTIFICATE)
    repository.begin()
    with repository.exclusively():
        _require_same_cloud(repository, seal, source.state_dir)
        earlier = _latest(repository)
        with collection.paused(source.state_dir), _moments(source) as moments:
            chosen, part = repository.new(now)
            _copy_database(source, part / DATABASE, show)
            write_block_list(part / DATABASE, part / BLOCK_LIST)
            blocks = _Blocks(source.state_dir, repository)
            if not source.bucket:
                blocks.copy_all(part / DATABASE, show)
            for moment in moments:
                _copy_store(moment, repository, earlier, part, show)
            _copy_audit(source.state_dir / AUDIT, part / AUDIT)
            files = {f"controller/{name}": content for name, content in contents.sealed_files(source.state_dir).items()}
            if source.settings_file is not None and source.settings_file.exists():
                files["settings.json"] = source.settings_file.read_bytes()
            name, sealed = keys.sealed(files, seal, chosen)
            write_durably(part / name, sealed)
        manifest = Manifest(
            id=chosen,
            made=int(now.timestamp()),
            release=source.release,
            revision=revision_of(part / DATABASE),
            files={str(path.relative_to(part)): checksum(path) for path in sorted(part.rglob("*")) if path.is_file()},
            blocks=blocks.count,
            block_bytes=blocks.bytes,
            unreadable=tuple(blocks.unreadable),
            bucket=source.bucket,
            database=kind_of(source.database_url) if source.database_url else "sqlite",
            stores={moment.store.name: moment.bytes for moment in moments},
            recipients=seal.names if isinstance(seal, Recipients) else (),
            authorities=_authorities(files.get(f"controller/{_CERTIFICATE}", b"")),
        )
        repository.complete(part, manifest)
    return manifest


class _Blocks:
    """Copies blocks that the repository does not have yet."""

    def __init__(self, state_dir: Path, repository: Repository) -> None:
        self._state_dir = state_dir
        self._repository = repository
        self.count = 0
        self.bytes = 0
        self.unreadable: list[str] = []

    def copy_all(self, database: Path, show: Show) -> None:
        total = sum(1 for _ in block_rows(database))
        show("blocks", 0, total)
        with ThreadPoolExecutor(_THREADS) as pool:
            done = 0
            for rows in batched(block_rows(database), _AT_ONCE):
                for row, copied in zip(rows, pool.map(self._copy, rows), strict=True):
                    if copied is None:
                        self.unreadable.append(row.digest.hex())
                        continue
                    self.count += 1
                    self.bytes += copied
                done += len(rows)
                show("blocks", done, total)

    def _copy(self, row: BlockRow) -> int | None:
        """Copy one block unless it is there; return its size, or None where it is lost."""
        digest = row.digest.hex()
        if (size := self._repository.size(BLOCKS, digest)) is not None:
            return size
        stored = self._read(row)
        if stored is None:
            return None
        self._repository.put(BLOCKS, digest, stored)
        return len(stored)

    def _read(self, row: BlockRow) -> bytes | None:
        name = BlockName(row.digest, row.copy)
        try:
            with (self._state_dir / _BLOCK_FOLDER / name.path).open("rb") as file:
                stored = file.read(MOST_BYTES + 1)
            decode(name, stored)
        except (OSError, BadBlockError):
            return None
        return stored


def _require_same_cloud(repository: Repository, seal: Seal, state_dir: Path) -> None:
    """Require that the newest backup is of this cloud, whose CA says which it is, and that all share one passphrase.

    A misspelt passphrase would be noticed too late; of two clouds in a folder the `latest` would be either's. Raises
    WrongPassphraseError, BackupError.
    """
    manifests = [repository.manifest(one) for one in reversed(repository.ids())]
    if not manifests:
        return
    theirs = manifests[0].authorities
    by_passphrase = next((one for one in manifests if not one.recipients), None)
    if isinstance(seal, Passphrase) and by_passphrase is not None:
        files = keys.opened(repository, by_passphrase, seal)
        theirs = theirs or _authorities(files.get(f"controller/{_CERTIFICATE}", b""))
    if not theirs:
        raise BackupError(
            f"{manifests[0].id}, the newest backup, is of an earlier release and does not say of which cloud it is:"
            " make one with its passphrase, and then for recipients."
        )
    own = [state_dir / _CERTIFICATE, state_dir / "ca" / EARLIER_FILE]  # also of before the authority was changed
    ours = b"".join(path.read_bytes() for path in own if path.exists())
    if set(theirs).isdisjoint(_authorities(ours)):
        raise BackupError(f"{repository.name} has backups of another cloud: name another place.")


def _authorities(pem: bytes) -> tuple[str, ...]:
    """The checksums of a CA's certificates, of which it has two while it changes."""
    return tuple(hashlib.sha256(one).hexdigest() for one in certificates_in(pem) or [pem.strip()])


@contextmanager
def _moments(source: Source) -> Iterator[list[Moment]]:
    """Open the files of all servers, each as they are at one moment, and close them at the end."""
    moments: list[Moment] = []
    try:
        moments.extend(moment for store in source.stores if (moment := stores.opened(source.state_dir, store)))
        yield moments
    finally:
        for moment in moments:
            moment.close()


def _latest(repository: Repository) -> Manifest | None:
    ids = repository.ids()
    return repository.manifest(ids[-1]) if ids else None


def _copy_store(moment: Moment, repository: Repository, earlier: Manifest | None, part: Path, show: Show) -> None:
    """Copy a server's files, of which those of the latest backup are not read again, where they have not changed."""
    before = stores.read_listing(repository, earlier, moment.store) if earlier is not None else ()
    listed = stores.copy(moment, repository, {one.path: one for one in before}, show)
    stores.write_listing(listed, part / moment.store.listing)


def _copy_database(source: Source, target: Path, show: Show) -> None:
    if source.database_url:
        read(source.database_url, target, show)
        return
    show("database", 0, 1)
    _copy_file(source.state_dir / contents.DATABASE_NAME, target)
    show("database", 1, 1)


def _copy_file(database: Path, target: Path) -> None:
    """Copy a database as it is at one moment, while others write to it; raises BackupError."""
    os.close(os.open(target, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600))  # VACUUM may write to an empty existing file
    try:
        with closing(sqlite3.connect(f"{database.as_uri()}?mode=rw", uri=True, timeout=_BUSY_SECONDS)) as opened:
            opened.execute("VACUUM INTO ?", (str(target),))
    except sqlite3.Error as error:
        raise BackupError(f"{database} cannot be copied: {error}") from error


def _copy_audit(folder: Path, target: Path) -> None:
    """Copy records of calls; a last line that is being written is left out."""
    target.mkdir(mode=0o700)
    for path in sorted(folder.iterdir()) if folder.is_dir() else ():
        if not path.is_file():
            continue
        copied = target / path.name
        try:
            shutil.copyfile(path, copied)
        except FileNotFoundError:  # too old by now
            continue
        copied.chmod(0o600)
        _cut_after_last_line(copied)


def _cut_after_last_line(path: Path) -> None:
    with path.open("rb+") as file:
        begin = max(0, file.seek(0, os.SEEK_END) - _LONGEST_LINE)
        file.seek(begin)
        end = begin + file.read().rfind(b"\n") + 1
        file.truncate(end)
