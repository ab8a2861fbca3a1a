"""Lifecycle hooks of groups, and instances that wait for one."""

from datetime import datetime

from sqlalchemy import ForeignKey, Index, String
from sqlalchemy.orm import Mapped, mapped_column

from stead_controller.db.tables.base import Base
from stead_controller.db.tables.scaling.scaling_group import GroupName, ScalingId
from stead_controller.db.types import ResourceId


class LifecycleHook(Base):
    """Has instances wait when they are launched or when they end; `launching` says which.

    It publishes to a topic with a role, both by their ARNs; neither may be there any more.
    """

    __tablename__ = "lifecycle_hooks"

    group_id: Mapped[str] = mapped_column(
        ScalingId, ForeignKey("scaling_groups.id", ondelete="CASCADE"), primary_key=True
    )
    name: Mapped[str] = mapped_column(GroupName, primary_key=True)
    launching: Mapped[bool]
    heartbeat: Mapped[int]  # seconds
    default_result: Mapped[str] = mapped_column(String(16))
    details: Mapped[str | None] = mapped_column(String(4000))  # NotificationMetadata
    topic: Mapped[str | None] = mapped_column(String(320))
    role: Mapped[str | None] = mapped_column(String(2048))


class LifecycleAction(Base):
    """An instance's wait for a hook, until it has a result; `latest` is until when heartbeats can extend `until`."""

    __tablename__ = "lifecycle_actions"
    __table_args__ = (Index("ix_lifecycle_actions_instance_id_hook", "instance_id", "hook", unique=True),)

    token: Mapped[str] = mapped_column(ScalingId, primary_key=True)
    instance_id: Mapped[str] = mapped_column(
        ResourceId, ForeignKey("scaling_instances.instance_id", ondelete="CASCADE")
    )
    hook: Mapped[str] = mapped_column(GroupName)
    heartbeat: Mapped[int]  # seconds
    default_result: Mapped[str] = mapped_column(String(16))
    result: Mapped[str | None] = mapped_column(String(16))
    until: Mapped[datetime]
    latest: Mapped[datetime]
