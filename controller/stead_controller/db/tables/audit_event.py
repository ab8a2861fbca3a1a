"""The audit trail for LookupEvents: calls, and the resources they refer to."""

from datetime import datetime

from sqlalchemy import BigInteger, Index, Integer, String
from sqlalchemy.orm import Mapped, mapped_column

from stead_controller.db.tables.base import Base
from stead_controller.db.types import AccountId

EventNumber = BigInteger().with_variant(Integer, "sqlite")  # SQLite stores rows in the order of a plain INTEGER key


class AuditEventRow(Base):
    """One call, numbered in the order of writing; `event` is CloudTrail's record as JSON, compressed with zlib."""

    __tablename__ = "audit_events"
    __table_args__ = (
        Index("ix_audit_events_event_id", "event_id"),
        Index("ix_audit_events_time", "time", "id"),
        Index("ix_audit_events_account_time", "account_id", "time", "id"),
        Index("ix_audit_events_account_name", "account_id", "name", "time", "id"),
        Index("ix_audit_events_account_user", "account_id", "user_name", "time", "id"),
        Index("ix_audit_events_account_key", "account_id", "access_key_id", "time", "id"),
        Index("ix_audit_events_account_source", "account_id", "source", "time", "id"),
        Index("ix_audit_events_account_read_only", "account_id", "read_only", "time", "id"),
    )

    id: Mapped[int] = mapped_column(EventNumber, primary_key=True, autoincrement=False)
    event_id: Mapped[str] = mapped_column(String(36))
    account_id: Mapped[str] = mapped_column(AccountId)
    time: Mapped[datetime]
    name: Mapped[str] = mapped_column(String(128))
    source: Mapped[str] = mapped_column(String(64))
    user_name: Mapped[str] = mapped_column(String(128))
    access_key_id: Mapped[str] = mapped_column(String(128))
    read_only: Mapped[bool]
    event: Mapped[bytes]


class AuditEventResource(Base):
    """A resource that a call refers to; `event` is the call's number."""

    __tablename__ = "audit_event_resources"
    __table_args__ = (
        Index("ix_audit_event_resources_name", "account_id", "name", "time", "event"),
        Index("ix_audit_event_resources_type", "account_id", "type", "time", "event"),
    )

    event: Mapped[int] = mapped_column(EventNumber, primary_key=True)
    place: Mapped[int] = mapped_column(Integer, primary_key=True)
    account_id: Mapped[str] = mapped_column(AccountId)
    type: Mapped[str] = mapped_column(String(64))
    name: Mapped[str] = mapped_column(String(2048))
    time: Mapped[datetime]
