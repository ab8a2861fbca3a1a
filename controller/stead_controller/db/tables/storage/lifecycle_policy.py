"""Policies of the Data Lifecycle Manager: their schedules, and the snapshots they made."""

from datetime import datetime

from sqlalchemy import ForeignKey, Index, String, Text
from sqlalchemy.orm import Mapped, mapped_column

from stead_controller.db.tables.base import Base
from stead_controller.db.types import AccountId, ResourceId


class LifecyclePolicy(Base):
    """A policy; `details` and `tags` are JSON in the API's form."""

    __tablename__ = "lifecycle_policies"
    __table_args__ = (Index("ix_lifecycle_policies_account_id_id", "account_id", "id", unique=True),)

    id: Mapped[str] = mapped_column(ResourceId, primary_key=True)
    account_id: Mapped[str] = mapped_column(AccountId)
    description: Mapped[str] = mapped_column(String(500))
    enabled: Mapped[bool]
    execution_role_arn: Mapped[str] = mapped_column(String(2048))
    details: Mapped[str] = mapped_column(Text)
    tags: Mapped[str] = mapped_column(Text)
    created: Mapped[datetime]
    modified: Mapped[datetime]


class LifecycleSchedule(Base):
    """When a schedule of a policy is due: to make snapshots, and to check for older snapshots to delete.

    `cursor` is the target that the present run has reached.
    """

    __tablename__ = "lifecycle_schedules"

    policy_id: Mapped[str] = mapped_column(ForeignKey("lifecycle_policies.id", ondelete="CASCADE"), primary_key=True)
    name: Mapped[str] = mapped_column(String(120), primary_key=True)
    next_run: Mapped[datetime | None] = mapped_column(index=True)
    next_check: Mapped[datetime | None] = mapped_column(index=True)
    cursor: Mapped[str | None] = mapped_column(ResourceId)


class LifecycleSnapshot(Base):
    """A snapshot made by a schedule of a policy, which will delete it."""

    __tablename__ = "lifecycle_snapshots"
    __table_args__ = (Index("ix_lifecycle_snapshots_schedule", "policy_id", "schedule_name"),)

    snapshot_id: Mapped[str] = mapped_column(ForeignKey("snapshots.id", ondelete="CASCADE"), primary_key=True)
    policy_id: Mapped[str] = mapped_column(ForeignKey("lifecycle_policies.id", ondelete="CASCADE"))
    schedule_name: Mapped[str] = mapped_column(String(120))
