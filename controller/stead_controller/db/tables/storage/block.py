"""The content of the block store, and its users: a snapshot or its archive needs segments, a segment needs blocks.

References are counted in the transaction that makes or ends them, so the counts survive any kill. An unreferenced
block is condemned first: one transaction moves it from `blocks` to `condemned_blocks`, its file is removed after
that, and its row last. A condemned block counts as missing; who needs it stores another copy, under another name.
"""

from datetime import datetime

from sqlalchemy import ForeignKey, Index, Integer, LargeBinary, String, false
from sqlalchemy.orm import Mapped, mapped_column

from stead_controller.db.tables.base import Base


class SnapshotSegment(Base):
    """A segment at a position of a snapshot; positions without one are all zero."""

    __tablename__ = "snapshot_segments"

    snapshot_id: Mapped[str] = mapped_column(ForeignKey("snapshots.id", ondelete="CASCADE"), primary_key=True)
    position: Mapped[int] = mapped_column(Integer, primary_key=True)
    segment_digest: Mapped[bytes] = mapped_column(ForeignKey("segments.digest"), index=True)


class ArchivedPiece(Base):
    """A piece of an archived snapshot: its chunks are the blocks of a segment of its own.

    Positions count pieces of the disk, `blocks` those of the disk that are in it (`blocks/archive_format.py`).
    """

    __tablename__ = "archived_pieces"

    snapshot_id: Mapped[str] = mapped_column(ForeignKey("snapshots.id", ondelete="CASCADE"), primary_key=True)
    position: Mapped[int] = mapped_column(Integer, primary_key=True)
    segment_digest: Mapped[bytes] = mapped_column(ForeignKey("segments.digest"), index=True)
    blocks: Mapped[int] = mapped_column(Integer)


class BlockSegment(Base):
    """The blocks of up to 512 MiB of a disk: `slots` as 2 bytes each, big-endian, ascending; `digests` as 32 each."""

    __tablename__ = "segments"
    __table_args__ = (Index("ix_segments_unused", "reference_count", "digest"),)

    digest: Mapped[bytes] = mapped_column(LargeBinary(32), primary_key=True)
    slots: Mapped[bytes]
    digests: Mapped[bytes]
    reference_count: Mapped[int] = mapped_column(Integer, default=0)


class StoredBlock(Base):
    """A block that is durably in the store; `unused_since` is when its last reference ended, or when it was stored.

    The file of a `damaged` one was found missing, corrupt or unreadable: it is stored again when its content is sent.
    """

    __tablename__ = "blocks"
    __table_args__ = (
        Index("ix_blocks_unused", "reference_count", "unused_since"),
        Index("ix_blocks_damaged", "damaged", "digest"),
    )

    digest: Mapped[bytes] = mapped_column(LargeBinary(32), primary_key=True)
    copy: Mapped[str] = mapped_column(String(12))  # the second part of its name in the store
    stored_bytes: Mapped[int] = mapped_column(Integer)  # as stored, after compression
    reference_count: Mapped[int] = mapped_column(Integer, default=0)
    unused_since: Mapped[datetime | None]
    damaged: Mapped[bool] = mapped_column(default=False, server_default=false())


class SnapshotDamage(Base):
    """A snapshot's need for a damaged block, and since when it is known; deleted when the block is sound again."""

    __tablename__ = "snapshot_damage"
    __table_args__ = (Index("ix_snapshot_damage_digest", "digest"),)

    snapshot_id: Mapped[str] = mapped_column(ForeignKey("snapshots.id", ondelete="CASCADE"), primary_key=True)
    digest: Mapped[bytes] = mapped_column(LargeBinary(32), primary_key=True)
    since: Mapped[datetime]


class CondemnedBlock(Base):
    """A condemned copy of a block: its file must be removed, if it still exists, then this row."""

    __tablename__ = "condemned_blocks"

    digest: Mapped[bytes] = mapped_column(LargeBinary(32), primary_key=True)
    copy: Mapped[str] = mapped_column(String(12), primary_key=True)
