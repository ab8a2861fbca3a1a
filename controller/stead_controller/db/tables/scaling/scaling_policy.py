"""What changes a group's size: scaling policies and scheduled actions; and which metrics of it are collected."""

from datetime import datetime

from sqlalchemy import JSON, ForeignKey, String, Text
from sqlalchemy.orm import Mapped, mapped_column

from stead_controller.db.tables.base import Base
from stead_controller.db.tables.scaling.scaling_group import GroupName, ScalingId


class ScalingPolicy(Base):
    """A scaling policy of a group: `definition` is JSON of `resources/scaling/policy.py`, `token` a part of its ARN.

    `alarms` are the names of those that a target tracking policy has made.
    """

    __tablename__ = "scaling_policies"

    group_id: Mapped[str] = mapped_column(
        ScalingId, ForeignKey("scaling_groups.id", ondelete="CASCADE"), primary_key=True
    )
    name: Mapped[str] = mapped_column(GroupName, primary_key=True)
    token: Mapped[str] = mapped_column(ScalingId)
    kind: Mapped[str] = mapped_column(String(32))
    enabled: Mapped[bool]
    definition: Mapped[str] = mapped_column(Text)
    alarms: Mapped[list[str]] = mapped_column(JSON)


class ScheduledAction(Base):
    """What a group's size will be at a time, once or again and again; `due` is the next time, None when it is over."""

    __tablename__ = "scheduled_actions"

    group_id: Mapped[str] = mapped_column(
        ScalingId, ForeignKey("scaling_groups.id", ondelete="CASCADE"), primary_key=True
    )
    name: Mapped[str] = mapped_column(GroupName, primary_key=True)
    token: Mapped[str] = mapped_column(ScalingId)
    start: Mapped[datetime | None]
    end: Mapped[datetime | None]
    recurrence: Mapped[str | None] = mapped_column(String(255))
    time_zone: Mapped[str | None] = mapped_column(String(255))
    min_size: Mapped[int | None]
    max_size: Mapped[int | None]
    desired: Mapped[int | None]
    due: Mapped[datetime | None] = mapped_column(index=True)


class ScalingMetric(Base):
    """A metric of a group that is collected each minute."""

    __tablename__ = "scaling_metrics"

    group_id: Mapped[str] = mapped_column(
        ScalingId, ForeignKey("scaling_groups.id", ondelete="CASCADE"), primary_key=True
    )
    name: Mapped[str] = mapped_column(String(64), primary_key=True)


class ScalingNotification(Base):
    """What a group publishes to a topic, by the topic's ARN, which may not be there any more."""

    __tablename__ = "scaling_notifications"

    group_id: Mapped[str] = mapped_column(
        ScalingId, ForeignKey("scaling_groups.id", ondelete="CASCADE"), primary_key=True
    )
    topic: Mapped[str] = mapped_column(String(320), primary_key=True)
    type: Mapped[str] = mapped_column(String(64), primary_key=True)
