"""Cores of hosts that instances may have alone."""

from sqlalchemy import JSON, ForeignKey, Index, Integer
from sqlalchemy.orm import Mapped, mapped_column

from stead_controller.db.tables.base import Base
from stead_controller.db.types import ResourceId


class HostCore(Base):
    """A core that a host has set apart, by its lowest thread, and the instance that has it; one at most.

    `huge_pages` are those of its node that this instance has: with the first of its cores, so that a sum over cores is
    right. One that its host no longer sets apart is removed, or if an instance has it, `gone` until that gives it back.
    """

    __tablename__ = "host_cores"
    __table_args__ = (Index("ix_host_cores_instance", "instance_id"),)

    host_id: Mapped[str] = mapped_column(ForeignKey("hosts.id", ondelete="CASCADE"), primary_key=True)
    number: Mapped[int] = mapped_column(Integer, primary_key=True)
    numa_node: Mapped[int] = mapped_column(Integer)
    threads: Mapped[list[int]] = mapped_column(JSON)
    gone: Mapped[bool] = mapped_column(default=False)
    instance_id: Mapped[str | None] = mapped_column(ResourceId, ForeignKey("instances.id", ondelete="SET NULL"))
    huge_pages: Mapped[int] = mapped_column(Integer, default=0)
