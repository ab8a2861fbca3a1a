"""Scheduled events of instances."""

from datetime import datetime

from sqlalchemy import Index, String
from sqlalchemy.orm import Mapped, mapped_column

from stead_controller.db.tables.base import Base
from stead_controller.db.types import AccountId, ResourceId


class InstanceEvent(Base):
    """What an operator has scheduled for an instance; after its end it is shown for a week.

    `host_id` is the host that is to be drained then: on another host the instance is not concerned any more. Without a
    deadline its user cannot choose another time.
    """

    __tablename__ = "instance_events"
    __table_args__ = (
        # With the id none of them is narrower than the account's, so SQLite never prefers it (FAULTS 40).
        Index("ix_instance_events_instance_id", "instance_id", "id"),
        Index("ix_instance_events_state_not_before", "state", "not_before", "id"),
        Index("ix_instance_events_host_id", "host_id", "state"),
        Index("ix_instance_events_account_id_id", "account_id", "id", unique=True),
    )

    id: Mapped[str] = mapped_column(ResourceId, primary_key=True)
    account_id: Mapped[str] = mapped_column(AccountId)
    instance_id: Mapped[str] = mapped_column(ResourceId)
    host_id: Mapped[str] = mapped_column(ResourceId)
    code: Mapped[str] = mapped_column(String(32))  # EC2's: instance-stop
    description: Mapped[str] = mapped_column(String(255))
    not_before: Mapped[datetime]
    not_before_deadline: Mapped[datetime | None]
    state: Mapped[str] = mapped_column(String(16))  # active, completed, canceled
    ended: Mapped[datetime | None]
