"""Volumes and their attachments."""

from datetime import datetime

from sqlalchemy import BigInteger, ForeignKey, Index, Integer, String, false
from sqlalchemy.orm import Mapped, mapped_column

from stead_controller.db.tables.base import Base
from stead_controller.db.types import AccountId, ResourceId


class Volume(Base):
    """A disk on its home host; at most one attachment, whose columns are NULL while there is none.

    A volume has no home until it is first attached. `attached_host_id` is the only host that may use it now; where that
    is not its home, the home exports it at `export_port`, and `generation` counts attachments. During a forced
    detachment it is NULL. `sealed_key` is its key, sealed by the master key. `full_since` is set while its pool
    is full and the guest that writes to it is paused, `stalled_since` while the guest's requests to it fail or wait for
    long, and `lost_since` while its home, which had its disk, has it no more. `former_homes` are ids, separated by
    spaces, of lost hosts under whose names its disk may still be in the pool that its home shared with them.

    `snapshot_id` is what its disk is laid over. `home_count` says how often it has moved to another home; since then it
    is laid over a snapshot of the cloud's own, and `origin_id` is what it was made of, empty for a blank one.
    """

    __tablename__ = "volumes"
    __table_args__ = (
        Index("ix_volumes_account_id_id", "account_id", "id", unique=True),
        Index("ix_volumes_instance_id", "instance_id"),
        Index("ix_volumes_account_id_instance_id", "account_id", "instance_id"),
        Index("ix_volumes_host_id", "host_id", "snapshot_id"),
        Index("ix_volumes_snapshot_id", "snapshot_id"),
        Index("ix_volumes_export_port", "host_id", "export_port", unique=True),
    )

    id: Mapped[str] = mapped_column(ResourceId, primary_key=True)
    account_id: Mapped[str] = mapped_column(AccountId)
    zone: Mapped[str] = mapped_column(String(64))
    host_id: Mapped[str | None] = mapped_column(ForeignKey("hosts.id"))
    size: Mapped[int] = mapped_column(BigInteger)  # GiB, as EC2 counts
    volume_type: Mapped[str] = mapped_column(String(16))
    iops: Mapped[int | None] = mapped_column(Integer)
    throughput: Mapped[int | None] = mapped_column(Integer)
    encrypted: Mapped[bool] = mapped_column(default=False)
    snapshot_id: Mapped[str | None] = mapped_column(ResourceId)
    state: Mapped[str] = mapped_column(String(16))  # creating, available, in-use, deleting
    created: Mapped[datetime]
    instance_id: Mapped[str | None] = mapped_column(ResourceId)
    device_name: Mapped[str | None] = mapped_column(String(32))
    attachment_state: Mapped[str | None] = mapped_column(String(16))
    attach_time: Mapped[datetime | None]
    delete_on_termination: Mapped[bool] = mapped_column(default=False)
    pool: Mapped[str] = mapped_column(String(64), default="", server_default="")
    sealed_key: Mapped[bytes | None]
    kms_key_id: Mapped[str | None] = mapped_column(String(512))  # an ARN, not used by Stead
    attached_host_id: Mapped[str | None] = mapped_column(ResourceId, index=True)
    export_port: Mapped[int | None] = mapped_column(Integer)
    generation: Mapped[int] = mapped_column(BigInteger, default=0, server_default="0")
    auto_enable_io: Mapped[bool] = mapped_column(default=False, server_default=false())
    full_since: Mapped[datetime | None]
    stalled_since: Mapped[datetime | None]
    lost_since: Mapped[datetime | None]
    former_homes: Mapped[str] = mapped_column(String(256), default="", server_default="")
    origin_id: Mapped[str | None] = mapped_column(ResourceId)
    home_count: Mapped[int] = mapped_column(Integer, default=0, server_default="0")

    @property
    def made_of(self) -> str | None:
        """The snapshot that it was made of, which it may be laid over no more; None for a blank one."""
        return self.snapshot_id if self.origin_id is None else self.origin_id or None


class VolumeModification(Base):
    """The latest modification of a volume; sizes are in GiB. `earlier` has the start times of the previous ones."""

    __tablename__ = "volume_modifications"
    __table_args__ = (Index("ix_volume_modifications_account", "account_id", "volume_id", unique=True),)

    volume_id: Mapped[str] = mapped_column(ForeignKey("volumes.id", ondelete="CASCADE"), primary_key=True)
    account_id: Mapped[str] = mapped_column(AccountId)
    state: Mapped[str] = mapped_column(String(16))  # modifying, optimizing, completed
    original_size: Mapped[int] = mapped_column(BigInteger)
    original_type: Mapped[str] = mapped_column(String(16))
    original_iops: Mapped[int | None] = mapped_column(Integer)
    original_throughput: Mapped[int | None] = mapped_column(Integer)
    target_size: Mapped[int] = mapped_column(BigInteger)
    target_type: Mapped[str] = mapped_column(String(16))
    target_iops: Mapped[int | None] = mapped_column(Integer)
    target_throughput: Mapped[int | None] = mapped_column(Integer)
    started: Mapped[datetime]
    ended: Mapped[datetime | None]
    earlier: Mapped[str] = mapped_column(String(128), default="", server_default="")  # a few, separated by spaces
