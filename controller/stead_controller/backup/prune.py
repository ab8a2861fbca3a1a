"""Removes old backups, and the blocks and pieces that no other backup needs."""

from collections.abc import Iterator
from heapq import merge
from itertools import batched, groupby
from typing import Final

from stead_controller.backup import stores
from stead_controller.backup.progress import Show
from stead_controller.backup.repository import (
    BLOCK_LIST,
    BLOCKS,
    PIECES,
    BackupError,
    Repository,
    block_rows,
    checksum,
    read_block_list,
)
from stead_controller.backup.stores import read_listing

_AT_ONCE: Final = 1000


def prune(repository: Repository, keep: int, show: Show) -> tuple[list[str], int]:
    """Remove all backups but the newest, and blocks and pieces that no other needs.

    Return the removed ids, and how many blocks and pieces.

    Raises BackupError, OSError, and removes nothing, unless what says what all that stay need can be read.
    """
    if keep < 1:
        raise BackupError("One backup at least is kept.")
    with repository.exclusively():
        ids = repository.ids()
        gone = ids[:-keep]
        kept = ids[-keep:]
        for backup in kept:
            for _ in _digests(repository, backup):
                break
        pieces = _pieces_of(repository, kept)
        for done, backup in enumerate(gone):
            show("backups", done, len(gone))
            repository.remove(backup)
        return gone, _remove_blocks(repository, kept) + _remove_pieces(repository, pieces)


def _pieces_of(repository: Repository, backups: list[str]) -> set[str]:
    """The pieces that backups name: a quarter of a million for each TiB."""
    manifests = [repository.manifest(backup) for backup in backups]
    listed = (one for each in manifests for store in stores.ALL for one in read_listing(repository, each, store))
    return {digest for one in listed for digest in one.pieces}


def _remove_pieces(repository: Repository, wanted: set[str]) -> int:
    gone = [digest for digest in repository.listed(PIECES) if digest not in wanted]
    repository.discard(PIECES, gone)
    return len(gone)


def _remove_blocks(repository: Repository, kept: list[str]) -> int:
    """Remove blocks that no database names: both are listed in order, so none is held in memory."""
    named = _distinct(merge(*(_digests(repository, backup) for backup in kept)))
    removed = 0
    for some in batched(_missing_in(named, repository.listed(BLOCKS)), _AT_ONCE):
        repository.discard(BLOCKS, some)
        removed += len(some)
    return removed


def _missing_in(named: Iterator[str], there: Iterator[str]) -> Iterator[str]:
    """What is there and not named; both in order."""
    wanted = next(named, None)
    for digest in there:
        while wanted is not None and wanted < digest:
            wanted = next(named, None)
        if digest != wanted:
            yield digest


def _digests(repository: Repository, backup: str) -> Iterator[str]:
    """The blocks that a backup names, in order; of earlier releases its database says them."""
    listed = repository.manifest(backup).files.get(BLOCK_LIST)
    if listed is None:
        return (row.digest.hex() for row in block_rows(repository.database(backup)))
    path = repository.file(backup, BLOCK_LIST)
    if checksum(path) != listed:
        raise BackupError(f"{BLOCK_LIST} of {backup} is not what it was: remove that backup, or make others first.")
    return read_block_list(path)


def _distinct(digests: Iterator[str]) -> Iterator[str]:
    return (digest for digest, _ in groupby(digests))
