"""Reads and checks every block again, and removes files without a row.

Damage cannot be repaired here. It is reported with the snapshots that need the block, which are then in error, and
stored, so that the store requests the block again when a host or an image has it: then all these snapshots have it
again. A block that can be read again counts as sound again. An unreadable block is skipped, unless the whole store is
unavailable. A scrub runs beside other work, a few blocks at a time; a block collected or stored again meanwhile is no
damage.
"""

import asyncio
from collections.abc import AsyncIterator, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from itertools import islice
from typing import Final

from sqlalchemy import func, select

from stead_controller.blocks.interface import BlockFiles, BlockStoreError, ListedBlock, MissingBlockError
from stead_controller.blocks.store import BlockStore, Transactions
from stead_controller.clock import Clock
from stead_controller.db.tables import StoredBlock
from stead_controller.request.transaction import Transaction
from stead_controller.resources.storage import stored_blocks
from stead_proto.blocks import BadBlockError

MOST_NAMED: Final = 1000
"""Damaged blocks that are named; of more there is only the number."""

_AT_ONCE: Final = 8
_PAGE: Final = 128
_LISTED_AT_ONCE: Final = 500
# A file exists before its row: a younger file may still get one.
_ORPHAN_AGE: Final = timedelta(hours=1)


@dataclass(slots=True)
class Damage:
    """A block that is missing or corrupt, and the snapshots that need it."""

    digest: bytes
    error: str
    snapshot_ids: list[str] = field(default_factory=list)


@dataclass(slots=True)
class Page:
    """The result for some blocks: their number, their bytes in the store, and the last one's digest."""

    blocks: int
    size: int
    last: bytes
    damaged: list[Damage] = field(default_factory=list)


@dataclass(slots=True)
class Scrub:
    """The progress of a scrub, and what it has found."""

    blocks: int = 0
    blocks_done: int = 0
    bytes_done: int = 0
    bad_blocks: int = 0
    orphans_removed: int = 0
    damaged: list[Damage] = field(default_factory=list)


async def scrub(database: Transactions, store: BlockStore, files: BlockFiles, clock: Clock) -> AsyncIterator[Scrub]:
    """Check all blocks, then remove orphans; yields the same record after each part. Raises BlockStoreError."""
    found = Scrub(blocks=await database.run(count, writes=False))
    last = b""
    unnamed: list[bytes] = []
    while (page := await check_page(database, store, last)).blocks:
        found.bad_blocks += len(page.damaged)
        named = page.damaged[: MOST_NAMED - len(found.damaged)]
        found.damaged += named
        unnamed += [damage.digest for damage in page.damaged[len(named) :]]
        found.blocks_done += page.blocks
        found.bytes_done += page.size
        last = page.last
        yield found
    async for removed in remove_orphans(database, files, clock):
        found.orphans_removed += removed
        yield found
    await name_needing(store, found.damaged, unnamed)
    yield found


async def check_page(database: Transactions, store: BlockStore, after: bytes, *, limit: int = _PAGE) -> Page:
    """Check the blocks whose digests follow another, and store which are damaged.

    Raises BlockStoreError where none of several blocks can be read, as when the store is unavailable.
    """
    rows = await database.run(lambda tx: _page(tx, after, limit), writes=False)
    page = Page(len(rows), sum(size for _, size in rows), rows[-1][0] if rows else after)
    for at in range(0, len(rows), _AT_ONCE):
        part = rows[at : at + _AT_ONCE]
        errors = await asyncio.gather(*(_check(store, digest) for digest, _ in part))
        away = [error for error in errors if isinstance(error, BlockStoreError)]
        if len(away) == len(part):
            raise away[0]
        page.damaged += [
            Damage(digest, str(error)) for (digest, _), error in zip(part, errors, strict=True) if error is not None
        ]
    return page


async def recheck_page(database: Transactions, store: BlockStore, after: bytes, limit: int) -> bytes:
    """Check whether damaged blocks after a digest are sound again; return the last one's digest, or an empty one."""
    digests = await database.run(lambda tx: stored_blocks.damaged_after(tx, after, limit), writes=False)
    for digest in digests:
        await _check(store, digest)
    return digests[-1] if digests else b""


async def remove_orphans(database: Transactions, files: BlockFiles, clock: Clock) -> AsyncIterator[int]:
    """Remove the files without a row, in batches, and yield the number of each batch; raises BlockStoreError."""
    listing = files.list_all()
    before = clock() - _ORPHAN_AGE
    while some := await asyncio.to_thread(_next, listing):
        yield await _remove_orphans(database, files, some, before)


async def name_needing(store: BlockStore, damaged: Sequence[Damage], unnamed: Sequence[bytes] = ()) -> None:
    """Name the snapshots that need damaged blocks, and mark them as damaged; those of `unnamed` are only marked."""
    if damaged:
        needing = await store.note_needing([*(damage.digest for damage in damaged), *unnamed])
        for damage in damaged:
            damage.snapshot_ids = sorted(needing[damage.digest])


async def _check(store: BlockStore, digest: bytes) -> Exception | None:
    """Return the error of a block; None when it is sound, or was collected meanwhile."""
    try:
        await store.check(digest)
    except (BadBlockError, BlockStoreError) as error:
        return error
    except MissingBlockError as error:
        return error if await store.name_of(digest) is not None else None
    return None


async def _remove_orphans(
    database: Transactions, files: BlockFiles, some: Sequence[ListedBlock], before: datetime
) -> int:
    known = await database.run(lambda tx: stored_blocks.known(tx, [stored.name for stored in some]), writes=False)
    orphans = [stored.name for stored in some if stored.written < before and stored.name not in known]
    if orphans:
        await asyncio.to_thread(files.remove, orphans)
    return len(orphans)


def count(tx: Transaction) -> int:
    """Count the blocks."""
    return tx.session.scalars(select(func.count()).select_from(StoredBlock)).one()


def _page(tx: Transaction, after: bytes, limit: int) -> list[tuple[bytes, int]]:
    query = select(StoredBlock.digest, StoredBlock.stored_bytes).where(StoredBlock.digest > after)
    return [(digest, size) for digest, size in tx.session.execute(query.order_by(StoredBlock.digest).limit(limit))]


def _next(listing: Iterator[ListedBlock]) -> list[ListedBlock]:
    return list(islice(listing, _LISTED_AT_ONCE))
