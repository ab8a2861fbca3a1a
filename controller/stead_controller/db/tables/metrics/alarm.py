"""Alarms of CloudWatch: what they watch, their history, and actions that are still to be carried out."""

from datetime import datetime

from sqlalchemy import ForeignKeyConstraint, Index, String, Text
from sqlalchemy.orm import Mapped, mapped_column

from stead_controller.db.tables.base import Base
from stead_controller.db.types import AccountId

AlarmName = String(255)


class Alarm(Base):
    """An alarm on metrics or, if it has a `rule`, on other alarms.

    `definition` (of `resources/metrics/alarm_definition.py`), `actions` (lists of ARNs by state) and `tags` are JSON.
    `due` is when it is evaluated next; None while its state cannot change without new data. `watched` is the digest of
    the one metric of an alarm without expressions. `updated` is when the state or its reason changed, `transitioned`
    when the state did. `acted` is when scaling policies were last asked to act, which they are again and again.
    """

    __tablename__ = "alarms"
    __table_args__ = (Index("ix_alarms_account_id_watched", "account_id", "watched"),)

    account_id: Mapped[str] = mapped_column(AccountId, primary_key=True)
    name: Mapped[str] = mapped_column(AlarmName, primary_key=True)
    description: Mapped[str | None] = mapped_column(String(1024))
    definition: Mapped[str] = mapped_column(Text)
    rule: Mapped[str | None] = mapped_column(Text)
    actions_enabled: Mapped[bool]
    actions: Mapped[str] = mapped_column(Text)
    tags: Mapped[str] = mapped_column(Text)
    watched: Mapped[str | None] = mapped_column(String(64))
    state: Mapped[str] = mapped_column(String(20))
    reason: Mapped[str] = mapped_column(String(1023))
    reason_data: Mapped[str | None] = mapped_column(Text)
    configured: Mapped[datetime]
    updated: Mapped[datetime]
    transitioned: Mapped[datetime]
    due: Mapped[datetime | None] = mapped_column(index=True)
    acted: Mapped[datetime | None]


class AlarmPolicy(Base):
    """A scaling policy that an alarm's actions name, by the token of its ARN; it may not be there."""

    __tablename__ = "alarm_policies"
    __table_args__ = (
        ForeignKeyConstraint(["account_id", "alarm"], ["alarms.account_id", "alarms.name"], ondelete="CASCADE"),
        Index("ix_alarm_policies_account_id_token", "account_id", "token"),
    )

    account_id: Mapped[str] = mapped_column(AccountId, primary_key=True)
    alarm: Mapped[str] = mapped_column(AlarmName, primary_key=True)
    token: Mapped[str] = mapped_column(String(36), primary_key=True)


class AlarmMetric(Base):
    """A metric that an alarm watches, by its digest: data of it make the alarm due."""

    __tablename__ = "alarm_metrics"
    __table_args__ = (
        ForeignKeyConstraint(["account_id", "alarm"], ["alarms.account_id", "alarms.name"], ondelete="CASCADE"),
        Index("ix_alarm_metrics_digest", "digest"),
    )

    account_id: Mapped[str] = mapped_column(AccountId, primary_key=True)
    alarm: Mapped[str] = mapped_column(AlarmName, primary_key=True)
    digest: Mapped[str] = mapped_column(String(64), primary_key=True)


class AlarmChild(Base):
    """An alarm that a composite alarm's rule names; it may not be there."""

    __tablename__ = "alarm_children"
    __table_args__ = (
        ForeignKeyConstraint(["account_id", "alarm"], ["alarms.account_id", "alarms.name"], ondelete="CASCADE"),
        Index("ix_alarm_children_account_id_child", "account_id", "child"),
    )

    account_id: Mapped[str] = mapped_column(AccountId, primary_key=True)
    alarm: Mapped[str] = mapped_column(AlarmName, primary_key=True)
    child: Mapped[str] = mapped_column(AlarmName, primary_key=True)


class AlarmHistoryItem(Base):
    """What happened to an alarm; it stays for 30 days, also when the alarm is deleted."""

    __tablename__ = "alarm_history"
    __table_args__ = (
        Index("ix_alarm_history_account_id_alarm_at", "account_id", "alarm", "at"),
        Index("ix_alarm_history_account_id_at", "account_id", "at"),
    )

    number: Mapped[int] = mapped_column(primary_key=True, autoincrement=True)
    account_id: Mapped[str] = mapped_column(AccountId)
    alarm: Mapped[str] = mapped_column(AlarmName)
    composite: Mapped[bool]
    at: Mapped[datetime] = mapped_column(index=True)
    kind: Mapped[str] = mapped_column(String(40))
    summary: Mapped[str] = mapped_column(String(255))
    text: Mapped[str] = mapped_column(Text)


class AlarmAction(Base):
    """An action that an alarm's state asks for, until it is carried out, or has failed; `instance_id` may be empty.

    `reason_data` is what the alarm told then, JSON; `again` is whether the state has asked for it before.
    """

    __tablename__ = "alarm_actions"

    number: Mapped[int] = mapped_column(primary_key=True, autoincrement=True)
    account_id: Mapped[str] = mapped_column(AccountId)
    alarm: Mapped[str] = mapped_column(AlarmName)
    arn: Mapped[str] = mapped_column(String(1024))
    instance_id: Mapped[str] = mapped_column(String(40))
    state: Mapped[str | None] = mapped_column(String(20))
    reason_data: Mapped[str | None] = mapped_column(Text)
    again: Mapped[bool | None]
    since: Mapped[datetime]
