"""Auto Scaling groups, their instances, tags and activities."""

from datetime import datetime

from sqlalchemy import JSON, ForeignKey, Index, String, Text
from sqlalchemy.orm import Mapped, mapped_column

from stead_controller.db.tables.base import Base
from stead_controller.db.types import AccountId, ResourceId

ScalingId = String(36)
"""A UUID."""

GroupName = String(255)


class ScalingGroup(Base):
    """An Auto Scaling group, until its last instance has ended after its deletion.

    `launch` is the JSON of what its instances are launched by, as the request gave it: a launch template, the name of a
    launch configuration, or a mixed instances policy; `refreshing` is it while a refresh goes on that wants another.
    Without `subnets` its instances are in the default subnets of its `zones`. `suspended` has the reasons by process.
    `why` tells of the changes of `desired` that no activity has told yet. `scaled` is when the last scaling activity
    ended, with which the cooldown begins. After `failures` launches that failed, one after the other, the next is not
    before `retry_at`; after one that was to balance zones the next such one not before `balance_at`. `due` is when the
    group is looked at next; None while nothing can change without somebody's doing.
    """

    __tablename__ = "scaling_groups"
    __table_args__ = (
        Index("ix_scaling_groups_account_id_name", "account_id", "name", unique=True),
        Index("ix_scaling_groups_due_id", "due", "id"),
        Index("ix_scaling_groups_account_id_id", "account_id", "id", unique=True),
    )

    id: Mapped[str] = mapped_column(ScalingId, primary_key=True)
    account_id: Mapped[str] = mapped_column(AccountId)
    name: Mapped[str] = mapped_column(GroupName)
    created: Mapped[datetime]
    launch: Mapped[str] = mapped_column(Text)
    refreshing: Mapped[str | None] = mapped_column(Text)
    zones: Mapped[list[str]] = mapped_column(JSON)
    subnets: Mapped[list[str]] = mapped_column(JSON)
    min_size: Mapped[int]
    max_size: Mapped[int]
    desired: Mapped[int]
    cooldown: Mapped[int]  # seconds
    health_type: Mapped[str] = mapped_column(String(64))
    health_grace: Mapped[int]  # seconds
    warmup: Mapped[int | None]  # seconds
    max_lifetime: Mapped[int | None]  # seconds
    min_healthy: Mapped[int | None]  # percent of desired, with max_healthy
    max_healthy: Mapped[int | None]
    protect_new: Mapped[bool]
    termination_policies: Mapped[list[str]] = mapped_column(JSON)
    suspended: Mapped[dict[str, str]] = mapped_column(JSON)
    placement_group: Mapped[str | None] = mapped_column(String(255))
    context: Mapped[str | None] = mapped_column(String(255))
    deleting: Mapped[bool]
    why: Mapped[str] = mapped_column(Text)
    scaled: Mapped[datetime | None]
    failures: Mapped[int]
    retry_at: Mapped[datetime | None]
    balance_at: Mapped[datetime | None]
    due: Mapped[datetime | None]

    @property
    def launching(self) -> str:
        """What instances are launched by now."""
        return self.refreshing or self.launch


class ScalingInstance(Base):
    """An instance of a group, from its launch until it has ended or was detached.

    `lifecycle_state` is in AWS's words, since `since`. It was launched by a version of a launch template or by a launch
    configuration; one that was attached by neither. `activity_id` is the activity that is under way with it. `until` is
    when its state ends by time alone.
    """

    __tablename__ = "scaling_instances"
    __table_args__ = (
        Index("ix_scaling_instances_group_id_instance_id", "group_id", "instance_id"),
        Index("ix_scaling_instances_account_id_instance_id", "account_id", "instance_id"),
    )

    instance_id: Mapped[str] = mapped_column(ResourceId, primary_key=True)
    group_id: Mapped[str] = mapped_column(ScalingId, ForeignKey("scaling_groups.id", ondelete="CASCADE"))
    account_id: Mapped[str] = mapped_column(AccountId)
    zone: Mapped[str] = mapped_column(String(64))
    instance_type: Mapped[str] = mapped_column(String(32))
    lifecycle_state: Mapped[str] = mapped_column(String(32))
    since: Mapped[datetime]
    until: Mapped[datetime | None]
    healthy: Mapped[bool]
    protected: Mapped[bool]
    weight: Mapped[int]
    spot: Mapped[bool]
    template_id: Mapped[str | None] = mapped_column(ResourceId)
    template_name: Mapped[str | None] = mapped_column(String(128))
    template_version: Mapped[int | None]
    configuration: Mapped[str | None] = mapped_column(GroupName)
    launched: Mapped[datetime]
    in_service: Mapped[datetime | None]  # since when, the first time
    activity_id: Mapped[str | None] = mapped_column(ScalingId)


class ScalingTag(Base):
    """A tag of a group, which instances launched later get too if it is to `propagate`."""

    __tablename__ = "scaling_tags"
    __table_args__ = (Index("ix_scaling_tags_account_id_key", "account_id", "key"),)

    group_id: Mapped[str] = mapped_column(
        ScalingId, ForeignKey("scaling_groups.id", ondelete="CASCADE"), primary_key=True
    )
    key: Mapped[str] = mapped_column(String(128), primary_key=True)
    account_id: Mapped[str] = mapped_column(AccountId)
    value: Mapped[str] = mapped_column(String(256))
    propagate: Mapped[bool]


class ScalingActivity(Base):
    """What a group did, in AWS's words; it stays for six weeks, also when the group is deleted."""

    __tablename__ = "scaling_activities"
    __table_args__ = (
        Index("ix_scaling_activities_group_id_started_id", "group_id", "started", "id"),
        Index("ix_scaling_activities_account_id_started_id", "account_id", "started", "id"),
        Index("ix_scaling_activities_started_id", "started", "id"),
        Index("ix_scaling_activities_account_id_id", "account_id", "id", unique=True),
    )

    id: Mapped[str] = mapped_column(ScalingId, primary_key=True)
    account_id: Mapped[str] = mapped_column(AccountId)
    group_id: Mapped[str] = mapped_column(ScalingId)
    group_name: Mapped[str] = mapped_column(GroupName)
    instance_id: Mapped[str | None] = mapped_column(ResourceId)
    description: Mapped[str] = mapped_column(Text)
    cause: Mapped[str] = mapped_column(Text)
    status: Mapped[str] = mapped_column(String(40))
    message: Mapped[str | None] = mapped_column(Text)
    details: Mapped[str] = mapped_column(Text)
    progress: Mapped[int]
    started: Mapped[datetime]
    ended: Mapped[datetime | None]
