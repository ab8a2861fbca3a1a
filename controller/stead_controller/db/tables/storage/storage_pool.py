"""Storage pools for volumes on hosts."""

from sqlalchemy import BigInteger, ForeignKey, String
from sqlalchemy.orm import Mapped, mapped_column

from stead_controller.db.tables.base import Base


class StoragePool(Base):
    """A pool of a host as its agent last reported it, in bytes, and how much of it is provisioned.

    `provisioned` is the sum of the sizes of its volumes: disks are thin, so it may exceed `total` by the overcommit.
    `shared_id` is the same for all hosts that have this same pool, if several can share it.
    """

    __tablename__ = "storage_pools"

    host_id: Mapped[str] = mapped_column(ForeignKey("hosts.id", ondelete="CASCADE"), primary_key=True)
    name: Mapped[str] = mapped_column(String(64), primary_key=True)
    backend: Mapped[str] = mapped_column(String(16))  # directory, lvm, rbd
    volume_types: Mapped[str] = mapped_column(String(64), default="")  # joined by spaces; empty = all
    is_default: Mapped[bool] = mapped_column(default=False)
    total: Mapped[int] = mapped_column(BigInteger, default=0)
    free: Mapped[int] = mapped_column(BigInteger, default=0)
    provisioned: Mapped[int] = mapped_column(BigInteger, default=0)
    shared_id: Mapped[str] = mapped_column(String(128), default="", server_default="")
