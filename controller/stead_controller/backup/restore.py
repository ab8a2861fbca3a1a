"""Brings the state of a backup back, into a state directory that has none."""

import json
import shutil
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import batched
from pathlib import Path
from typing import Final

from stead_controller.backup import contents, keys, other_database, server_databases, stores
from stead_controller.backup.keys import Opener
from stead_controller.backup.progress import Show
from stead_controller.backup.repository import (
    AUDIT,
    DATABASE,
    BackupError,
    Manifest,
    Repository,
    checksum,
    make_private_folders,
    sync_folder,
    sync_tree,
    write_durably,
)
from stead_controller.backup.stored import read_blocks
from stead_controller.backup.stores import Store
from stead_controller.blocks.directory import BlockDirectory
from stead_controller.blocks.interface import decode
from stead_controller.blocks.store import BATCH
from stead_controller.db import schema
from stead_controller.resources.storage.block_names import BlockName

_PART: Final = ".restoring"
FILE: Final = "sqlite"
"""The kind of a database that is a file of Stead's own."""

_CONTROLLER: Final = "controller/"


@dataclass(frozen=True, slots=True)
class Target:
    """Where the state is to be; `settings_file`, that of `stead up`, is written unless it is there.

    With `database_url` the database is written to that server, where it must be empty; `sqlite` is a file of Stead's
    own, whatever it was before. The `stores` are those that are
    brought back of what the backup has.
    """

    state_dir: Path
    settings_file: Path | None = None
    database_url: str = ""
    stores: Sequence[Store] = stores.ALL


@dataclass(frozen=True, slots=True)
class Restored:
    """What was brought back: how many blocks, and those that the backup does not have, in hex digits.

    `damaged` are files of the object store and of metrics that are not whole: what is missing of them is zeros.
    """

    blocks: int = 0
    missing: list[str] = field(default_factory=list)
    damaged: list[str] = field(default_factory=list)


def restore(repository: Repository, manifest: Manifest, opener: Opener, target: Target, show: Show) -> Restored:
    """Make a state directory from a backup, whole or not at all; it may exist, but with nothing in it.

    Raises BackupError, WrongPassphraseError, RecipientError, OSError.
    """
    state_dir = target.state_dir
    if state_dir.exists() and any(state_dir.iterdir()):
        raise BackupError(f"{state_dir} is not empty: move it away first, so that nothing of it is lost.")
    listings = [store.listing for store in target.stores if store.listing in manifest.files]
    for name in (DATABASE, keys.file_of(manifest), *listings):
        if checksum(repository.file(manifest.id, name)) != manifest.files.get(name):
            raise BackupError(f"{name} of {manifest.id} is not what it was: restore another backup.")
    url = target.database_url.removeprefix(FILE)
    if url:
        server_databases.require_empty(url)
    elif FILE not in (target.database_url, manifest.database):
        raise BackupError(f"The backup is of a database of {manifest.database}: name an empty one, or say: {FILE}.")
    if not schema.knows(manifest.revision):
        raise BackupError(f"The backup is of a newer release, {manifest.release}: restore it by that one.")
    files = keys.opened(repository, manifest, opener)
    part = state_dir.with_name(f"{state_dir.name}{_PART}")
    if part.exists():  # of a restore that was killed
        shutil.rmtree(part)
    part.mkdir(mode=0o700, parents=True)
    _write_files({name.removeprefix(_CONTROLLER): files[name] for name in files if name.startswith(_CONTROLLER)}, part)
    _copy_private(repository.database(manifest.id), part / contents.DATABASE_NAME)
    other_database.forget_controllers(part / contents.DATABASE_NAME)
    for name in sorted(name for name in manifest.files if name.startswith(f"{AUDIT}/")):
        make_private_folders(part / AUDIT, part)
        _copy_private(repository.file(manifest.id, name), part / AUDIT / Path(name).name)
    restored = _write_blocks(repository, manifest, part, show)
    for store in target.stores:
        restored.damaged.extend(stores.restore(repository, manifest, store, part / store.name, show))
    if url:
        server_databases.write(part / contents.DATABASE_NAME, url, show)
        (part / contents.DATABASE_NAME).unlink()
    sync_tree(part)
    if state_dir.exists():
        state_dir.rmdir()
    part.rename(state_dir)
    sync_folder(state_dir.parent)
    if url:
        server_databases.finish(url)
    if target.settings_file is not None and not target.settings_file.exists() and "settings.json" in files:
        content = files["settings.json"]
        write_durably(target.settings_file, _with_database(content, url) if target.database_url else content)
        target.settings_file.chmod(0o644)
    return restored


def _with_database(settings: bytes, url: str) -> bytes:
    """Name the database in the settings of `stead up`."""
    return f"{json.dumps(json.loads(settings) | {'database_url': url}, indent=2)}\n".encode()


def _write_blocks(repository: Repository, manifest: Manifest, part: Path, show: Show) -> Restored:
    """Store the blocks as the block store does; each is on the disk when this returns."""
    restored = 0
    missing = []
    files = BlockDirectory(part / "blocks")
    database = repository.database(manifest.id)
    for some in batched(() if manifest.bucket else read_blocks(repository, database, show), BATCH):
        found = [(BlockName(row.digest, row.copy), stored) for row, stored in some if stored is not None]
        files.put([(name, decode(name, stored)) for name, stored in found])
        missing += [row.digest.hex() for row, stored in some if stored is None]
        restored += len(found)
    return Restored(restored, missing)


def _write_files(files: dict[str, bytes], part: Path) -> None:
    for name, content in files.items():
        path = part / name
        make_private_folders(path.parent, part)
        path.touch(0o600)
        path.write_bytes(content)


def _copy_private(source: Path, target: Path) -> None:
    target.touch(0o600)
    shutil.copyfile(source, target)
