"""Instance refreshes, by which groups replace their instances."""

from datetime import datetime

from sqlalchemy import ForeignKey, Index, String, Text
from sqlalchemy.orm import Mapped, mapped_column

from stead_controller.db.tables.base import Base
from stead_controller.db.tables.scaling.scaling_group import ScalingId


class InstanceRefresh(Base):
    """A refresh of a group; it stays for six weeks.

    `preferences` and `wanted` (the desired configuration) are JSON. `targets` are the ids of the instances to be
    replaced, as JSON, which the first step finds; `left` of `total` still are, and of the others `unready` do not serve
    yet. The same of the warm pool. `checkpoint` is the number of those that were reached, and `resumes` when a pause
    at one ends, or the rest after all. `progressed` is when the last instance was replaced. `rollback` is JSON of what
    was done when it was rolled back.
    """

    __tablename__ = "instance_refreshes"
    __table_args__ = (
        Index("ix_instance_refreshes_group_id_started_id", "group_id", "started", "id"),
        Index("ix_instance_refreshes_started_id", "started", "id"),
    )

    id: Mapped[str] = mapped_column(ScalingId, primary_key=True)
    group_id: Mapped[str] = mapped_column(ScalingId, ForeignKey("scaling_groups.id", ondelete="CASCADE"))
    status: Mapped[str] = mapped_column(String(32))
    reason: Mapped[str] = mapped_column(Text)
    started: Mapped[datetime]
    ended: Mapped[datetime | None]
    preferences: Mapped[str] = mapped_column(Text)
    wanted: Mapped[str | None] = mapped_column(Text)
    targets: Mapped[str | None] = mapped_column(Text)
    total: Mapped[int]
    left: Mapped[int]
    unready: Mapped[int]
    warm_targets: Mapped[str | None] = mapped_column(Text)
    warm_total: Mapped[int]
    warm_left: Mapped[int]
    checkpoint: Mapped[int]
    resumes: Mapped[datetime | None]
    progressed: Mapped[datetime]
    rollback: Mapped[str | None] = mapped_column(Text)
