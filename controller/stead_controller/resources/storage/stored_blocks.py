"""Rows of blocks: which are in the store, which copy of each, and which are condemned.

A row is added once its file is durable. A block without references may be condemned after a while; from then on it
does not exist. Its file's name is never used again, so the file can be removed at any later time.
"""

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from itertools import batched
from typing import Final

from sqlalchemy import bindparam, delete, exists, select, tuple_, update

from stead_controller.db.due_rows import DueRows
from stead_controller.db.insert import insert_if_absent
from stead_controller.db.tables import CondemnedBlock, StoredBlock
from stead_controller.request.transaction import Transaction
from stead_controller.resources.storage import snapshot_damage
from stead_controller.resources.storage.block_names import BlockName

_BATCH: Final = 1000
_UNSYNCHRONIZED: Final = {"synchronize_session": False}


def copies(tx: Transaction, digests: Iterable[bytes]) -> dict[bytes, BlockName]:
    """Return the names of those blocks that are in the store, by digest."""
    found: dict[bytes, BlockName] = {}
    for batch in batched(dict.fromkeys(digests), _BATCH):
        rows = tx.session.execute(select(StoredBlock.digest, StoredBlock.copy).where(StoredBlock.digest.in_(batch)))
        found.update((digest, BlockName(digest, copy)) for digest, copy in rows)
    return found


def state_of(tx: Transaction, digest: bytes) -> tuple[BlockName, bool] | None:
    """Return the name of a block that is in the store, and whether it is damaged; None where it is not there."""
    found = tx.session.execute(
        select(StoredBlock.copy, StoredBlock.damaged).where(StoredBlock.digest == digest)
    ).one_or_none()
    return None if found is None else (BlockName(digest, found.copy), found.damaged)


def absent(tx: Transaction, digests: Iterable[bytes]) -> set[bytes]:
    """Return those blocks that must be uploaded: they are not in the store, or are damaged there."""
    wanted = set(digests)
    return (wanted - copies(tx, wanted).keys()) | damaged(tx, wanted)


def damaged(tx: Transaction, digests: Iterable[bytes]) -> set[bytes]:
    """Return those blocks that are damaged; for a store without damage one index look-up is enough."""
    if not any_damaged(tx):
        return set()
    found: set[bytes] = set()
    for batch in batched(dict.fromkeys(digests), _BATCH):
        chosen = select(StoredBlock.digest).where(StoredBlock.damaged.is_(True), StoredBlock.digest.in_(batch))
        found.update(tx.session.scalars(chosen))
    return found


def any_damaged(tx: Transaction) -> bool:
    """Tell whether any block is damaged: one look at an index."""
    return tx.session.scalar(select(StoredBlock.digest).where(StoredBlock.damaged.is_(True)).limit(1)) is not None


def damaged_after(tx: Transaction, digest: bytes, limit: int) -> list[bytes]:
    """Return damaged blocks whose digests follow another, ascending, at most `limit`."""
    chosen = select(StoredBlock.digest).where(StoredBlock.damaged.is_(True), StoredBlock.digest > digest)
    return list(tx.session.scalars(chosen.order_by(StoredBlock.digest).limit(limit)))


def mark_sound(tx: Transaction, name: BlockName) -> None:
    """Record that a damaged copy can be read again, and what can be used again by that."""
    changed = tx.session.execute(
        update(StoredBlock)
        .where(StoredBlock.digest == name.digest, StoredBlock.copy == name.copy, StoredBlock.damaged.is_(True))
        .values(damaged=False)
        .returning(StoredBlock.digest)
        .execution_options(**_UNSYNCHRONIZED)
    )
    snapshot_damage.mend(tx, changed.scalars().all())


def mark_damaged(tx: Transaction, name: BlockName) -> None:
    """Record that a copy is damaged, unless the block has another copy by now."""
    tx.session.execute(
        update(StoredBlock)
        .where(StoredBlock.digest == name.digest, StoredBlock.copy == name.copy)
        .values(damaged=True)
        .execution_options(**_UNSYNCHRONIZED)
    )


def known(tx: Transaction, names: Sequence[BlockName]) -> set[BlockName]:
    """Return those copies that are in the store or condemned."""
    found = set(copies(tx, [name.digest for name in names]).values())
    keys = tuple_(CondemnedBlock.digest, CondemnedBlock.copy)
    for batch in batched(names, _BATCH):
        rows = select(CondemnedBlock.digest, CondemnedBlock.copy).where(
            keys.in_([(name.digest, name.copy) for name in batch])
        )
        found.update(BlockName(digest, copy) for digest, copy in tx.session.execute(rows))
    return found


def add(tx: Transaction, stored: Mapping[BlockName, int], now: datetime) -> list[BlockName]:
    """Enter durable copies with their sizes; return those that must go.

    These are copies that came too late, since a sound one is there, and damaged ones that were replaced. They are
    condemned here, so that their files go even when the caller is killed.
    """
    late = []
    for name, size in stored.items():
        values = {
            "digest": name.digest,
            "copy": name.copy,
            "stored_bytes": size,
            "reference_count": 0,
            "unused_since": now,
        }
        if not insert_if_absent(tx.session, StoredBlock, values):
            late.append(_replace_damaged(tx, name, size) or name)
    _condemn(tx, late)
    return late


def _replace_damaged(tx: Transaction, name: BlockName, size: int) -> BlockName | None:
    """Replace a damaged copy and return its name; None if the block is not damaged."""
    row = tx.session.execute(
        select(StoredBlock.copy).where(StoredBlock.digest == name.digest, StoredBlock.damaged.is_(True))
    ).first()
    if row is None:
        return None
    tx.session.execute(
        update(StoredBlock)
        .where(StoredBlock.digest == name.digest)
        .values(copy=name.copy, stored_bytes=size, damaged=False)
        .execution_options(**_UNSYNCHRONIZED)
    )
    snapshot_damage.mend(tx, [name.digest])
    return BlockName(name.digest, row.copy)


def refer(tx: Transaction, digests: Sequence[bytes]) -> bool:
    """Count one more reference to each of some different blocks; false, and nothing usable, where one is not there."""
    found = 0
    for batch in batched(digests, _BATCH):
        counted = tx.session.execute(
            update(StoredBlock)
            .where(StoredBlock.digest.in_(batch), StoredBlock.damaged.is_(False))
            .values(reference_count=StoredBlock.reference_count + 1, unused_since=None)
            .returning(StoredBlock.digest)
            .execution_options(**_UNSYNCHRONIZED)
        )
        found += len(counted.all())
    return found == len(digests)


def release(tx: Transaction, digests: Sequence[bytes], now: datetime) -> None:
    """Count one reference less to each of some different blocks."""
    for batch in batched(digests, _BATCH):
        chosen = StoredBlock.digest.in_(batch)
        tx.session.execute(
            update(StoredBlock)
            .where(chosen)
            .values(reference_count=StoredBlock.reference_count - 1)
            .execution_options(**_UNSYNCHRONIZED)
        )
        tx.session.execute(
            update(StoredBlock)
            .where(chosen, StoredBlock.reference_count == 0)
            .values(unused_since=now)
            .execution_options(**_UNSYNCHRONIZED)
        )


def unused(for_: timedelta) -> DueRows:
    """Return whether there is a block without references for a time, or one that is condemned."""
    since = StoredBlock.unused_since < bindparam("blocks_unused_since")
    return DueRows(
        exists().where(StoredBlock.reference_count == 0, since) | exists(select(CondemnedBlock.digest)),
        {"blocks_unused_since": -for_},
    )


def condemn_unused(tx: Transaction, before: datetime, limit: int) -> int:
    """Condemn blocks without references since a moment, at most `limit`; return how many."""
    unused = (
        select(StoredBlock.digest, StoredBlock.copy)
        .where(StoredBlock.reference_count == 0, StoredBlock.unused_since < before)
        .order_by(StoredBlock.unused_since)
        .limit(limit)
    )
    names = [BlockName(digest, copy) for digest, copy in tx.session.execute(unused)]
    for batch in batched(names, _BATCH):
        tx.session.execute(
            delete(StoredBlock)
            .where(StoredBlock.digest.in_([name.digest for name in batch]))
            .execution_options(**_UNSYNCHRONIZED)
        )
    _condemn(tx, names)
    return len(names)


def condemned(tx: Transaction, limit: int) -> list[BlockName]:
    """Return the names of files to remove, at most `limit`."""
    rows = tx.session.execute(select(CondemnedBlock.digest, CondemnedBlock.copy).limit(limit))
    return [BlockName(digest, copy) for digest, copy in rows]


def forget_condemned(tx: Transaction, names: Sequence[BlockName]) -> None:
    """Delete the names of removed files."""
    for batch in batched(names, _BATCH):
        keys = tuple_(CondemnedBlock.digest, CondemnedBlock.copy)
        tx.session.execute(
            delete(CondemnedBlock)
            .where(keys.in_([(name.digest, name.copy) for name in batch]))
            .execution_options(**_UNSYNCHRONIZED)
        )


def _condemn(tx: Transaction, names: Iterable[BlockName]) -> None:
    tx.session.add_all(CondemnedBlock(digest=name.digest, copy=name.copy) for name in names)
    tx.session.flush()
