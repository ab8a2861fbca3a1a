"""Snapshots of volumes, and the accounts that may use them."""

from datetime import datetime

from sqlalchemy import BigInteger, ForeignKey, Index, Integer, LargeBinary, String
from sqlalchemy.orm import Mapped, mapped_column

from stead_controller.db.tables.base import Base
from stead_controller.db.types import AccountId, ResourceId


class Snapshot(Base):
    """A disk's content at one instant, as a list of segments in the block store (`block.py`).

    `host_id` is the host that takes it, while it is pending. `size` is in bytes and can be less than `volume_size`,
    which is in GiB as EC2 shows it. `sealed_key` is the key of its blocks, sealed by the master key. The last three
    columns are used for one that clients write, from StartSnapshot to CompleteSnapshot. A pending one of neither kind
    has the content of `parent_id` and another key: the controller encrypts it again.
    """

    __tablename__ = "snapshots"
    __table_args__ = (
        Index("ix_snapshots_account_id_id", "account_id", "id", unique=True),
        Index("ix_snapshots_volume_id", "volume_id", "started"),
        Index("ix_snapshots_host_id", "host_id"),
        Index("ix_snapshots_public", "public", "id", unique=True),
        Index("ix_snapshots_state", "state"),
        Index("ix_snapshots_parent_id", "parent_id"),
        Index("ix_snapshots_counted_after", "counted_after"),
    )

    id: Mapped[str] = mapped_column(ResourceId, primary_key=True)
    account_id: Mapped[str] = mapped_column(AccountId)  # owner; CLOUD_ACCOUNT for the operator's images
    volume_id: Mapped[str] = mapped_column(ResourceId)  # vol-ffffffff where it has no volume, as in EC2
    volume_size: Mapped[int] = mapped_column(BigInteger)
    size: Mapped[int] = mapped_column(BigInteger)
    state: Mapped[str] = mapped_column(String(16))  # pending, completed, error, deleting
    state_message: Mapped[str] = mapped_column(String(512), default="")
    progress: Mapped[int] = mapped_column(Integer, default=0)  # percent
    description: Mapped[str] = mapped_column(String(255), default="")
    started: Mapped[datetime]
    completed: Mapped[datetime | None]
    encrypted: Mapped[bool] = mapped_column(default=False)
    sealed_key: Mapped[bytes | None]
    kms_key_id: Mapped[str | None] = mapped_column(String(512))  # an ARN, not used by Stead
    host_id: Mapped[str | None] = mapped_column(ForeignKey("hosts.id"))
    parent_id: Mapped[str | None] = mapped_column(ResourceId)  # only changes since this one were read
    counted_after: Mapped[str | None] = mapped_column(ResourceId)  # blocks that it shares with this one are not its own
    set_id: Mapped[str | None] = mapped_column(ResourceId)  # of CreateSnapshots: all of a set are of one instant
    stored_size: Mapped[int] = mapped_column(BigInteger, default=0)  # bytes of its blocks, before compression
    public: Mapped[bool] = mapped_column(default=False)
    public_blocked: Mapped[bool] = mapped_column(default=False)  # public, but its account blocks public sharing
    write_timeout: Mapped[int | None] = mapped_column(Integer)  # minutes without a new block after which it fails
    last_written: Mapped[datetime | None]
    ended: Mapped[datetime | None]  # when CompleteSnapshot was called
    storage_tier: Mapped[str] = mapped_column(String(16), default="standard", server_default="standard")  # or archive


class SnapshotTier(Base):
    """The last archiving or restoring of a snapshot; `operation_id` is its workflow's id.

    While `archived` has a time, there is an archive of it: it is archived, or restored for some days only. It is in the
    tier `standard` while its segments may be used.
    """

    __tablename__ = "snapshot_tiers"
    __table_args__ = (
        Index("ix_snapshot_tiers_restore_expiry", "restore_expiry"),
        Index("ix_snapshot_tiers_status", "status"),
    )

    snapshot_id: Mapped[str] = mapped_column(ForeignKey("snapshots.id", ondelete="CASCADE"), primary_key=True)
    operation: Mapped[str] = mapped_column(String(24))  # archival, temporary-restore, permanent-restore
    status: Mapped[str] = mapped_column(String(16))  # in-progress, completed, failed
    detail: Mapped[str] = mapped_column(String(512), default="")
    operation_id: Mapped[str] = mapped_column(ResourceId)
    started: Mapped[datetime]
    progress: Mapped[int] = mapped_column(Integer, default=0)  # percent
    archived: Mapped[datetime | None]
    restore_days: Mapped[int | None] = mapped_column(Integer)
    restore_expiry: Mapped[datetime | None]


class SnapshotPermission(Base):
    """Permission for another account to create volumes from a snapshot."""

    __tablename__ = "snapshot_permissions"
    __table_args__ = (
        Index("ix_snapshot_permissions_account_id_snapshot_id", "account_id", "snapshot_id", unique=True),
    )

    snapshot_id: Mapped[str] = mapped_column(ForeignKey("snapshots.id", ondelete="CASCADE"), primary_key=True)
    account_id: Mapped[str] = mapped_column(AccountId, primary_key=True)


class WrittenBlock(Base):
    """A block that PutSnapshotBlock wrote to a snapshot, until segments are made; it holds a reference to the block.

    `checksum` is that of the data that the client sent, where the block is encrypted.
    """

    __tablename__ = "written_blocks"

    snapshot_id: Mapped[str] = mapped_column(ForeignKey("snapshots.id", ondelete="CASCADE"), primary_key=True)
    block_index: Mapped[int] = mapped_column(Integer, primary_key=True)
    digest: Mapped[bytes] = mapped_column(LargeBinary(32))
    checksum: Mapped[bytes | None] = mapped_column(LargeBinary(32))
