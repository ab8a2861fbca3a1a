"""Rows of segments: their blocks, and their positions in snapshots.

A segment refers to its blocks while it has a row, however many snapshots contain it; it is removed some time after the
last of them.
"""

from collections.abc import Collection, Iterator
from datetime import datetime
from typing import Final

from sqlalchemy import and_, delete, exists, func, insert, literal, select, update
from sqlalchemy.orm import aliased

from stead_controller.db.due_rows import DueRows
from stead_controller.db.insert import insert_if_absent
from stead_controller.db.tables import ArchivedPiece, BlockSegment, Snapshot, SnapshotSegment
from stead_controller.errors import NotFound
from stead_controller.request.transaction import Transaction
from stead_controller.resources.storage import stored_blocks
from stead_proto.blocks import BLOCK_BYTES, DIGEST_BYTES, SEGMENT_BLOCKS, BadBlockError, digests_of, segment_digest
from stead_proto.v1.blocks_pb2 import Segment

_SLOT_BYTES: Final = 2
_SEGMENT_BYTES: Final = SEGMENT_BLOCKS * BLOCK_BYTES
_SEGMENTS_AT_ONCE: Final = 64
_UNSYNCHRONIZED: Final = {"synchronize_session": False}


class MissingBlocksError(Exception):
    """Blocks of a segment are not in the store; raised inside a transaction, it rolls back the counted references."""

    def __init__(self, slots: list[int]) -> None:
        """Take the slots whose blocks must be uploaded."""
        super().__init__(f"{len(slots)} blocks of a segment are not in the store")
        self.slots = slots


def place(tx: Transaction, snapshot_id: str, segment: Segment) -> None:
    """Put a segment at its position of a pending snapshot, replacing the previous one.

    A segment without blocks (all zero) is stored too, so that it hides the parent's. Raises BadBlockError for one that
    is malformed or beyond the disk, MissingBlocksError, NotFound.
    """
    snapshot = tx.session.get(Snapshot, snapshot_id)
    if snapshot is None or snapshot.state != "pending":
        raise NotFound("snapshot", snapshot_id)
    put(tx, snapshot, segment)


def put(tx: Transaction, snapshot: Snapshot, segment: Segment) -> None:
    """Put a segment at its position of a snapshot, replacing the previous one.

    Raises BadBlockError, MissingBlocksError.
    """
    if segment.position * _SEGMENT_BYTES >= snapshot.size:
        raise BadBlockError(f"a segment at {segment.position} of a disk of {snapshot.size} bytes")
    digests = digests_of(segment)
    digest = segment_digest(segment)
    add(tx, digest, digests)
    standing = _standing(tx, snapshot.id, segment.position)
    if standing == digest:
        return
    if standing is not None:
        _clear(tx, snapshot.id, segment.position)
    tx.session.execute(
        insert(SnapshotSegment).values(snapshot_id=snapshot.id, position=segment.position, segment_digest=digest)
    )
    count(tx, digest, 1)


def add(tx: Transaction, digest: bytes, digests: dict[int, bytes]) -> None:
    """Add a segment unless it exists, with references to its blocks, all of which must be in the store.

    Raises MissingBlocksError.
    """
    values = {
        "digest": digest,
        "slots": b"".join(slot.to_bytes(_SLOT_BYTES, "big") for slot in digests),
        "digests": b"".join(digests.values()),
        "reference_count": 0,
    }
    if insert_if_absent(tx.session, BlockSegment, values):
        different = sorted(set(digests.values()))
        if not stored_blocks.refer(tx, different):
            raise MissingBlocksError(_absent(tx, digests))
    elif damaged := stored_blocks.damaged(tx, digests.values()):
        raise MissingBlocksError(_first_slots(digests, damaged))


def missing(tx: Transaction, segment: Segment) -> list[int]:
    """Return the slots of a segment whose blocks are not in the store, one of each block; raises BadBlockError."""
    digests = digests_of(segment)
    return _absent(tx, digests)


def _absent(tx: Transaction, digests: dict[int, bytes]) -> list[int]:
    return _first_slots(digests, stored_blocks.absent(tx, digests.values()))


def _first_slots(digests: dict[int, bytes], wanted: Collection[bytes]) -> list[int]:
    first = {digest: slot for slot, digest in reversed(digests.items()) if digest in wanted}
    return sorted(first.values())


def positions(tx: Transaction, snapshot_id: str) -> list[int]:
    """Return the positions of a snapshot where segments stand, ascending."""
    query = select(SnapshotSegment.position).where(SnapshotSegment.snapshot_id == snapshot_id)
    return list(tx.session.scalars(query.order_by(SnapshotSegment.position)))


def page(tx: Transaction, snapshot_id: str, first: int, limit: int) -> list[Segment]:
    """Return the segments of a snapshot from a position on, at most `limit`, ascending."""
    rows = tx.session.execute(
        select(SnapshotSegment.position, BlockSegment.slots, BlockSegment.digests)
        .join(BlockSegment, BlockSegment.digest == SnapshotSegment.segment_digest)
        .where(SnapshotSegment.snapshot_id == snapshot_id, SnapshotSegment.position >= first)
        .order_by(SnapshotSegment.position)
        .limit(limit)
    )
    return [Segment(position=position, slots=_slots(slots), digests=digests) for position, slots, digests in rows]


def at(tx: Transaction, snapshot_id: str, position: int) -> Segment | None:
    """Return the segment at a position of a snapshot; None where all is zero."""
    found = page(tx, snapshot_id, position, 1)
    return found[0] if found and found[0].position == position else None


def stored_size(tx: Transaction, snapshot_id: str) -> int:
    """Return the bytes of all blocks of a snapshot, before compression."""
    slots = func.coalesce(func.sum(func.length(BlockSegment.slots)), 0)
    total = tx.session.scalars(
        select(slots)
        .join(SnapshotSegment, SnapshotSegment.segment_digest == BlockSegment.digest)
        .where(SnapshotSegment.snapshot_id == snapshot_id)
    ).one()
    return int(total) // _SLOT_BYTES * BLOCK_BYTES


def own_blocks(tx: Transaction, snapshot_id: str, other_id: str) -> int:
    """Count the blocks of a snapshot that another one does not have at the same place; equal segments are not read."""
    own, other = aliased(SnapshotSegment), aliased(SnapshotSegment)
    mine, theirs = aliased(BlockSegment), aliased(BlockSegment)
    rows = tx.session.execute(
        select(mine.slots, mine.digests, theirs.slots, theirs.digests)
        .join_from(own, mine, mine.digest == own.segment_digest)
        .outerjoin(other, and_(other.snapshot_id == other_id, other.position == own.position))
        .outerjoin(theirs, theirs.digest == other.segment_digest)
        .where(own.snapshot_id == snapshot_id, own.segment_digest.is_distinct_from(other.segment_digest))
        .execution_options(yield_per=_SEGMENTS_AT_ONCE)
    )
    return sum(len(_blocks(*row[:2]) - _blocks(row[2] or b"", row[3] or b"")) for row in rows)


def _blocks(slots: bytes, digests: bytes) -> set[tuple[int, bytes]]:
    return set(zip(_slots(slots), _cut(digests), strict=True))


def inherit(tx: Transaction, snapshot_id: str, parent_id: str) -> None:
    """Add another snapshot's segments where a snapshot has none; two statements, however many there are."""
    own = select(SnapshotSegment.position).where(SnapshotSegment.snapshot_id == snapshot_id)
    inherited = (SnapshotSegment.snapshot_id == parent_id, SnapshotSegment.position.not_in(own))
    counts = (
        select(SnapshotSegment.segment_digest, func.count().label("places"))
        .where(*inherited)
        .group_by(SnapshotSegment.segment_digest)
        .subquery()
    )
    tx.session.execute(
        update(BlockSegment)
        .where(BlockSegment.digest == counts.c.segment_digest)
        .values(reference_count=BlockSegment.reference_count + counts.c.places)
        .execution_options(**_UNSYNCHRONIZED)
    )
    tx.session.execute(
        insert(SnapshotSegment).from_select(
            ["snapshot_id", "position", "segment_digest"],
            select(literal(snapshot_id), SnapshotSegment.position, SnapshotSegment.segment_digest).where(*inherited),
        )
    )


def drop(tx: Transaction, snapshot_id: str, limit: int) -> bool:
    """Remove at most `limit` segments from a snapshot; return whether none is left."""
    rows = list(
        tx.session.execute(
            select(SnapshotSegment.position, SnapshotSegment.segment_digest)
            .where(SnapshotSegment.snapshot_id == snapshot_id)
            .limit(limit)
        )
    )
    tx.session.execute(
        delete(SnapshotSegment)
        .where(SnapshotSegment.snapshot_id == snapshot_id, SnapshotSegment.position.in_([row[0] for row in rows]))
        .execution_options(**_UNSYNCHRONIZED)
    )
    for _, digest in rows:
        count(tx, digest, -1)
    return len(rows) < limit


UNUSED: Final = DueRows(exists().where(BlockSegment.reference_count == 0))
"""Whether there is a segment that no snapshot contains."""


def remove_unused(tx: Transaction, limit: int, now: datetime) -> int:
    """Remove segments that no snapshot contains, at most `limit`; return how many."""
    unused = list(
        tx.session.execute(
            select(BlockSegment.digest, BlockSegment.digests)
            .where(BlockSegment.reference_count == 0)
            .order_by(BlockSegment.digest)
            .limit(limit)
        )
    )
    for digest, digests in unused:
        stored_blocks.release(tx, sorted(set(_cut(digests))), now)
        tx.session.execute(
            delete(BlockSegment).where(BlockSegment.digest == digest).execution_options(**_UNSYNCHRONIZED)
        )
    return len(unused)


def needing(tx: Transaction, digests: Collection[bytes]) -> dict[bytes, set[str]]:
    """Return the snapshots that need each of some blocks; this reads all segments, a few at a time."""
    wanted = set(digests)
    found: dict[bytes, set[str]] = {digest: set() for digest in wanted}
    rows = tx.session.execute(
        select(BlockSegment.digest, BlockSegment.digests).execution_options(yield_per=_SEGMENTS_AT_ONCE)
    )
    affected = [(segment, blocks) for segment, packed in rows if (blocks := wanted.intersection(_cut(packed)))]
    for segment, blocks in affected:
        snapshot_ids = {
            snapshot_id
            for table in (SnapshotSegment, ArchivedPiece)
            for snapshot_id in tx.session.scalars(select(table.snapshot_id).where(table.segment_digest == segment))
        }
        for digest in blocks:
            found[digest] |= snapshot_ids
    return found


def damaged(tx: Transaction, snapshot_id: str) -> set[bytes]:
    """Return the damaged blocks of a snapshot and its archive; without damage one index look-up is enough."""
    found: set[bytes] = set()
    if not stored_blocks.any_damaged(tx):
        return found
    for table in (SnapshotSegment, ArchivedPiece):
        rows = tx.session.scalars(
            select(BlockSegment.digests)
            .join(table, table.segment_digest == BlockSegment.digest)
            .where(table.snapshot_id == snapshot_id)
        )
        for packed in rows.all():
            found |= stored_blocks.damaged(tx, _cut(packed))
    return found


def _standing(tx: Transaction, snapshot_id: str, position: int) -> bytes | None:
    return tx.session.scalar(
        select(SnapshotSegment.segment_digest).where(
            SnapshotSegment.snapshot_id == snapshot_id, SnapshotSegment.position == position
        )
    )


def _clear(tx: Transaction, snapshot_id: str, position: int) -> None:
    digest = tx.session.scalar(
        delete(SnapshotSegment)
        .where(SnapshotSegment.snapshot_id == snapshot_id, SnapshotSegment.position == position)
        .returning(SnapshotSegment.segment_digest)
        .execution_options(**_UNSYNCHRONIZED)
    )
    if digest is not None:
        count(tx, digest, -1)


def count(tx: Transaction, digest: bytes, change: int) -> None:
    """Count more references to a segment, or less."""
    tx.session.execute(
        update(BlockSegment)
        .where(BlockSegment.digest == digest)
        .values(reference_count=BlockSegment.reference_count + change)
        .execution_options(**_UNSYNCHRONIZED)
    )


def _slots(packed: bytes) -> Iterator[int]:
    return (int.from_bytes(packed[at : at + _SLOT_BYTES], "big") for at in range(0, len(packed), _SLOT_BYTES))


def _cut(digests: bytes) -> Iterator[bytes]:
    return (digests[at : at + DIGEST_BYTES] for at in range(0, len(digests), DIGEST_BYTES))
