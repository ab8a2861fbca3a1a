"""Warm pools of groups."""

from datetime import datetime

from sqlalchemy import ForeignKey, String
from sqlalchemy.orm import Mapped, mapped_column

from stead_controller.db.tables.base import Base
from stead_controller.db.tables.scaling.scaling_group import ScalingId


class WarmPool(Base):
    """Has instances ready beside a group, in a `state`: Stopped, Running or Hibernated.

    They are as many as are missing from the group's desired capacity to `max_prepared`, or to its maximum, and at least
    `min_size`. With `reuse` instances return to it when the group shrinks. After `failures` launches that failed, one
    after the other, the next is not before `retry_at`. One that is `deleting` stays until its last instance is gone.
    """

    __tablename__ = "warm_pools"

    group_id: Mapped[str] = mapped_column(
        ScalingId, ForeignKey("scaling_groups.id", ondelete="CASCADE"), primary_key=True
    )
    min_size: Mapped[int]
    max_prepared: Mapped[int | None]
    state: Mapped[str] = mapped_column(String(16))
    reuse: Mapped[bool | None]
    deleting: Mapped[bool]
    failures: Mapped[int]
    retry_at: Mapped[datetime | None]
