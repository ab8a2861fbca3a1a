"""Volumes and their attachments."""

from datetime import datetime

from sqlalchemy import BigInteger, ForeignKey, Index, Integer, String
from sqlalchemy.orm import Mapped, mapped_column

from stead_controller.db.tables.base import Base
from stead_controller.db.types import AccountId, ResourceId


class Volume(Base):
    """A disk on its home host; at most one attachment, whose columns are NULL while there is none.

    A volume has no home until it is first attached. `attached_host_id` is the host of its instance; where that is not
    its home, it is served by the home at `export_port`, and `generation` counts attachments. `sealed_key` is its key,
    sealed by the master key.
    """

    __tablename__ = "volumes"
    __table_args__ = (
        Index("ix_volumes_account_id_id", "account_id", "id"),
        Index("ix_volumes_instance_id", "instance_id"),
        Index("ix_volumes_host_id", "host_id"),
        Index("ix_volumes_snapshot_id", "snapshot_id"),
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
    image_id: Mapped[str | None] = mapped_column(ResourceId)
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
    attached_host_id: Mapped[str | None] = mapped_column(ResourceId, index=True)
    export_port: Mapped[int | None] = mapped_column(Integer)
    generation: Mapped[int] = mapped_column(BigInteger, default=0, server_default="0")
