"""PCI devices of hosts that instances may have."""

from sqlalchemy import ForeignKey, Index, Integer, String
from sqlalchemy.orm import Mapped, mapped_column

from stead_controller.db.tables.base import Base
from stead_controller.db.types import ResourceId


class HostDevice(Base):
    """A function of a PCI device as its host last reported it, and the instance that has it; one at most.

    All of one `iommu_group` go to the same instance. `refusal` says why no instance can have it now. One that its host
    no longer reports is removed, or if an instance or a capacity reservation has it, when that gives it back. All
    devices with one `reserved_slot` of a capacity reservation are for the same instance.
    """

    __tablename__ = "host_devices"
    __table_args__ = (
        Index("ix_host_devices_instance", "instance_id"),
        Index("ix_host_devices_model", "model"),
        Index("ix_host_devices_reservation", "capacity_reservation_id"),
    )

    host_id: Mapped[str] = mapped_column(ForeignKey("hosts.id", ondelete="CASCADE"), primary_key=True)
    address: Mapped[str] = mapped_column(String(16), primary_key=True)  # such as 0000:01:00.0
    model: Mapped[str] = mapped_column(String(9))  # vendor:device
    class_code: Mapped[int] = mapped_column(Integer, default=0)
    iommu_group: Mapped[int] = mapped_column(Integer, default=0)
    driver: Mapped[str] = mapped_column(String(64), default="")
    numa_node: Mapped[int] = mapped_column(Integer, default=-1)
    reset: Mapped[str] = mapped_column(String(64), default="")
    refusal: Mapped[str] = mapped_column(String(255), default="")
    instance_id: Mapped[str | None] = mapped_column(ResourceId, ForeignKey("instances.id", ondelete="SET NULL"))
    capacity_reservation_id: Mapped[str | None] = mapped_column(ResourceId)
    reserved_slot: Mapped[int | None] = mapped_column(Integer)
