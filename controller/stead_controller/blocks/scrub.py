"""Every block is read anew and checked, and files that no row knows are removed.

What is damaged cannot be mended here. It is named with the snapshots that need it, and noted, so that the store asks
for it anew when a host or an image has the same block: then all who need it have it again. It runs beside everything
else, a few blocks at a time; a block that is collected or brought anew meanwhile is no damage.
"""

import asyncio
from collections.abc import AsyncIterator, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from itertools import islice
from typing import Final

from sqlalchemy import func, select

from stead_controller.blocks.interface import BlockFiles, Kept, MissingBlockError
from stead_controller.blocks.store import BlockStore, Transactions
from stead_controller.clock import Clock
from stead_controller.db.tables import StoredBlock
from stead_controller.resources import segments, stored_blocks
from stead_controller.resources.transaction import Transaction
from stead_proto.blocks import BadBlockError

MOST_NAMED: Final = 1000
"""Damaged blocks that are named; of more there is only the number."""

_AT_ONCE: Final = 8
_PAGE: Final = 128
_LISTED_AT_ONCE: Final = 500
# A file is there before its row: what is younger may still get one.
_ORPHAN_AGE: Final = timedelta(hours=1)


@dataclass(slots=True)
class Damage:
    """A block that is missing or corrupt, and the snapshots that need it."""

    digest: bytes
    error: str
    snapshot_ids: list[str] = field(default_factory=list)


@dataclass(slots=True)
class Scrub:
    """How far a scrub is, and what it has found."""

    blocks: int = 0
    blocks_done: int = 0
    bytes_done: int = 0
    bad_blocks: int = 0
    orphans_removed: int = 0
    damaged: list[Damage] = field(default_factory=list)


async def scrub(database: Transactions, store: BlockStore, files: BlockFiles, clock: Clock) -> AsyncIterator[Scrub]:
    """Check all blocks, then remove orphans; gives the same record after each part. Raises BlockStoreError."""
    found = Scrub(blocks=await database.run(_count, writes=False))
    last = b""
    while page := await database.run(lambda tx, last=last: _page(tx, last), writes=False):  # type: ignore[misc]  # mypy: a default is no parameter of Callable
        for at in range(0, len(page), _AT_ONCE):
            part = page[at : at + _AT_ONCE]
            errors = await asyncio.gather(*(_check(store, digest) for digest, _ in part))
            for (digest, _), error in zip(part, errors, strict=True):
                if error is not None:
                    await _note(database, store, digest)
                    found.bad_blocks += 1
                    if len(found.damaged) < MOST_NAMED:
                        found.damaged.append(Damage(digest, error))
        found.blocks_done += len(page)
        found.bytes_done += sum(size for _, size in page)
        last = page[-1][0]
        yield found
    listing = files.list_all()
    before = clock() - _ORPHAN_AGE
    while some := await asyncio.to_thread(_next, listing):
        found.orphans_removed += await _remove_orphans(database, files, some, before)
        yield found
    if found.damaged:
        digests = [damage.digest for damage in found.damaged]
        needing = await database.run(lambda tx: segments.needing(tx, digests), writes=False)
        for damage in found.damaged:
            damage.snapshot_ids = sorted(needing[damage.digest])
    yield found


async def _check(store: BlockStore, digest: bytes) -> str | None:
    """Give what is wrong with a block; None when it is as it must be, or was collected meanwhile."""
    try:
        await store.read(digest)
    except BadBlockError as error:
        return str(error)
    except MissingBlockError as error:
        return str(error) if await store.name_of(digest) is not None else None
    return None


async def _note(database: Transactions, store: BlockStore, digest: bytes) -> None:
    name = await store.name_of(digest)
    if name is not None:
        await database.run(lambda tx: stored_blocks.mark_damaged(tx, name))


async def _remove_orphans(database: Transactions, files: BlockFiles, some: Sequence[Kept], before: datetime) -> int:
    known = await database.run(lambda tx: stored_blocks.known(tx, [kept.name for kept in some]), writes=False)
    orphans = [kept.name for kept in some if kept.written < before and kept.name not in known]
    if orphans:
        await asyncio.to_thread(files.remove, orphans)
    return len(orphans)


def _count(tx: Transaction) -> int:
    return tx.session.scalars(select(func.count()).select_from(StoredBlock)).one()


def _page(tx: Transaction, after: bytes) -> list[tuple[bytes, int]]:
    query = select(StoredBlock.digest, StoredBlock.stored_bytes).where(StoredBlock.digest > after)
    return [(digest, size) for digest, size in tx.session.execute(query.order_by(StoredBlock.digest).limit(_PAGE))]


def _next(listing: Iterator[Kept]) -> list[Kept]:
    return list(islice(listing, _LISTED_AT_ONCE))
