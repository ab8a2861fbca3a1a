"""Rows of archived snapshots' pieces: each is a segment of its own, whose blocks are the piece's chunks."""

from typing import Final

from sqlalchemy import delete, func, insert, select

from stead_controller.db.tables import ArchivedPiece, BlockSegment
from stead_controller.request.transaction import Transaction
from stead_controller.resources.storage import segments
from stead_proto.blocks import DIGEST_BYTES, make_segment, segment_digest

_UNSYNCHRONIZED: Final = {"synchronize_session": False}


def positions(tx: Transaction, snapshot_id: str) -> list[int]:
    """Return the positions of the pieces that are in a snapshot's archive, ascending."""
    query = select(ArchivedPiece.position).where(ArchivedPiece.snapshot_id == snapshot_id)
    return list(tx.session.scalars(query.order_by(ArchivedPiece.position)))


def place(tx: Transaction, snapshot_id: str, position: int, chunks: list[bytes], blocks: int) -> None:
    """Put a piece of so many blocks, by the digests of its chunks, into an archive, where it is not in it yet.

    Raises MissingBlocksError.
    """
    if tx.session.get(ArchivedPiece, (snapshot_id, position)) is not None:
        return
    segment = make_segment(position, dict(enumerate(chunks)))
    digest = segment_digest(segment)
    segments.add(tx, digest, dict(enumerate(chunks)))
    values = {"snapshot_id": snapshot_id, "position": position, "segment_digest": digest, "blocks": blocks}
    tx.session.execute(insert(ArchivedPiece).values(**values))
    segments.count(tx, digest, 1)


def chunks(tx: Transaction, snapshot_id: str, position: int) -> list[bytes]:
    """Return the digests of a piece's chunks, in their order."""
    packed = tx.session.scalars(
        select(BlockSegment.digests)
        .join(ArchivedPiece, ArchivedPiece.segment_digest == BlockSegment.digest)
        .where(ArchivedPiece.snapshot_id == snapshot_id, ArchivedPiece.position == position)
    ).one()
    return [packed[at : at + DIGEST_BYTES] for at in range(0, len(packed), DIGEST_BYTES)]


def blocks(tx: Transaction, snapshot_id: str) -> int:
    """Count the blocks of the disk that are in a snapshot's archive."""
    total = select(func.coalesce(func.sum(ArchivedPiece.blocks), 0)).where(ArchivedPiece.snapshot_id == snapshot_id)
    return int(tx.session.scalars(total).one())


def drop(tx: Transaction, snapshot_id: str, limit: int) -> bool:
    """Remove at most `limit` pieces from an archive; return whether none is left."""
    rows = list(
        tx.session.execute(
            select(ArchivedPiece.position, ArchivedPiece.segment_digest)
            .where(ArchivedPiece.snapshot_id == snapshot_id)
            .limit(limit)
        )
    )
    gone = ArchivedPiece.snapshot_id == snapshot_id, ArchivedPiece.position.in_([row[0] for row in rows])
    tx.session.execute(delete(ArchivedPiece).where(*gone).execution_options(**_UNSYNCHRONIZED))
    for _, digest in rows:
        segments.count(tx, digest, -1)
    return len(rows) < limit
