"""Checks a backup: that all of it is there, and is what it was."""

import sqlite3
from contextlib import closing
from pathlib import Path

from stead_controller.backup import keys, stores
from stead_controller.backup.keys import Opener
from stead_controller.backup.progress import Show
from stead_controller.backup.repository import DATABASE, BackupError, Manifest, Repository, checksum, revision_of
from stead_controller.backup.stored import read_blocks, remove_damaged
from stead_controller.errors import SteadError


def check(repository: Repository, manifest: Manifest, opener: Opener | None, show: Show) -> list[str]:
    """Return what is wrong with a backup, in words; without an `opener` its keys are not opened."""
    found = ((name, _fault_of(repository, manifest, name)) for name in manifest.files)
    faults = {name: fault for name, fault in found if fault}
    sealed = keys.file_of(manifest)
    for needed in {DATABASE, sealed} - manifest.files.keys():
        faults[needed] = "is not in it"
    if opener is not None and sealed not in faults:
        try:
            keys.opened(repository, manifest, opener)
        except SteadError as error:
            faults[sealed] = error.message
    if DATABASE not in faults:
        if fault := _database_fault(repository.database(manifest.id), manifest):
            faults[DATABASE] = fault
        elif not manifest.bucket:
            faults |= _block_faults(repository, manifest, show)
    for store in stores.ALL:
        if store.listing in manifest.files and store.listing not in faults:
            faults |= stores.faults(repository, manifest, store, show)
    return [f"{name}: {fault}" for name, fault in faults.items()]


def _fault_of(repository: Repository, manifest: Manifest, name: str) -> str:
    try:
        return "" if checksum(repository.file(manifest.id, name)) == manifest.files[name] else "is not what it was"
    except OSError as error:
        return f"cannot be read: {error.strerror}"


def _database_fault(database: Path, manifest: Manifest) -> str:
    try:
        with closing(sqlite3.connect(f"{database.as_uri()}?mode=ro&immutable=1", uri=True)) as opened:
            ((found,), *_) = opened.execute("PRAGMA integrity_check").fetchall()
        revision = revision_of(database)
    except (sqlite3.Error, BackupError) as error:
        return f"cannot be read: {error}"
    if found != "ok":
        return f"is damaged: {found}"
    return "" if revision == manifest.revision else f"has the revision {revision}, not {manifest.revision}"


def _block_faults(repository: Repository, manifest: Manifest, show: Show) -> dict[str, str]:
    known = frozenset(manifest.unreadable)
    faults = {}
    for row, stored in read_blocks(repository, repository.database(manifest.id), show):
        if stored is None:
            remove_damaged(repository, row)
            if row.digest.hex() not in known:
                faults[f"block {row.digest.hex()}"] = "is missing or damaged; the next backup copies it again"
    return faults
