"""The block device mappings of images."""

from sqlalchemy import BigInteger, ForeignKey, Index, Integer, String
from sqlalchemy.orm import Mapped, mapped_column

from stead_controller.db.tables.base import Base
from stead_controller.db.types import ResourceId


class ImageBlockDevice(Base):
    """A disk for instances of an image: from a snapshot, blank (`volume_size` alone), or of the instance store.

    With `virtual_name` (such as `ephemeral0`) it is of the instance store, with `no_device` it is omitted.
    """

    __tablename__ = "image_block_devices"

    image_id: Mapped[str] = mapped_column(ForeignKey("images.id", ondelete="CASCADE"), primary_key=True)
    device_name: Mapped[str] = mapped_column(String(32), primary_key=True)
    snapshot_id: Mapped[str | None] = mapped_column(ResourceId, index=True)
    volume_size: Mapped[int | None] = mapped_column(BigInteger)  # GiB
    volume_type: Mapped[str] = mapped_column(String(16), default="gp3")
    iops: Mapped[int | None] = mapped_column(Integer)
    throughput: Mapped[int | None] = mapped_column(Integer)
    delete_on_termination: Mapped[bool] = mapped_column(default=True)
    encrypted: Mapped[bool] = mapped_column(default=False)
    virtual_name: Mapped[str | None] = mapped_column(String(16))
    no_device: Mapped[bool] = mapped_column(default=False)


class ImagePermission(Base):
    """Permission for another account to launch an image."""

    __tablename__ = "image_permissions"
    __table_args__ = (Index("ix_image_permissions_account_id_image_id", "account_id", "image_id", unique=True),)

    image_id: Mapped[str] = mapped_column(ForeignKey("images.id", ondelete="CASCADE"), primary_key=True)
    account_id: Mapped[str] = mapped_column(String(12), primary_key=True)
