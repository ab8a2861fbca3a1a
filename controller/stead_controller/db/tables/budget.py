"""Budgets, their notifications, their actions, and what actions did."""

from datetime import datetime

from sqlalchemy import BigInteger, Float, ForeignKeyConstraint, Index, Integer, String, Text
from sqlalchemy.orm import Mapped, mapped_column

from stead_controller.db.tables.base import Base
from stead_controller.db.types import AccountId

BudgetName = String(100)
Id = String(36)
Word = String(32)


class Budget(Base):
    """A budget; times are whole seconds since 1970, but for `created`, `updated` and `due`.

    `limits` is JSON: the amounts by the time from which each is valid; `planned` tells whether they were given so.
    `filter` is JSON, see `metering/cost_filter.py`; `named` whether it was given by old names (CostFilters). Periods
    until `settled` are judged for good; `due` is when it is looked at next. `revision` changes with every change of it.
    """

    __tablename__ = "budgets"
    __table_args__ = (Index("ix_budgets_due_account_id_name", "due", "account_id", "name"),)

    account_id: Mapped[str] = mapped_column(AccountId, primary_key=True)
    name: Mapped[str] = mapped_column(BudgetName, primary_key=True)
    kind: Mapped[str] = mapped_column(Word)
    time_unit: Mapped[str] = mapped_column(Word)
    begins: Mapped[int] = mapped_column(BigInteger)
    ends: Mapped[int] = mapped_column(BigInteger)
    unit: Mapped[str] = mapped_column(Word)
    limits: Mapped[str] = mapped_column(Text)
    planned: Mapped[bool]
    metric: Mapped[str] = mapped_column(Word)
    filter: Mapped[str | None] = mapped_column(Text)
    named: Mapped[bool]
    tags: Mapped[str] = mapped_column(Text)
    created: Mapped[datetime]
    updated: Mapped[datetime]
    settled: Mapped[int] = mapped_column(BigInteger)
    revision: Mapped[int] = mapped_column(Integer)
    due: Mapped[datetime]


class BudgetNotification(Base):
    """A threshold of a budget, and the `topic` (an ARN) that is told when it is crossed.

    `told` is when the period began of which it was told, None if it was never.
    """

    __tablename__ = "budget_notifications"
    __table_args__ = (
        ForeignKeyConstraint(["account_id", "budget"], ["budgets.account_id", "budgets.name"], ondelete="CASCADE"),
        Index("ix_budget_notifications_account_id_budget_id", "account_id", "budget", "id"),
        Index("ix_budget_notifications_account_id_id", "account_id", "id", unique=True),
    )

    id: Mapped[str] = mapped_column(Id, primary_key=True)
    account_id: Mapped[str] = mapped_column(AccountId)
    budget: Mapped[str] = mapped_column(BudgetName)
    kind: Mapped[str] = mapped_column(Word)
    comparison: Mapped[str] = mapped_column(Word)
    threshold: Mapped[float] = mapped_column(Float)
    threshold_type: Mapped[str] = mapped_column(Word)
    topic: Mapped[str] = mapped_column(Text)
    state: Mapped[str] = mapped_column(Word)
    told: Mapped[int | None] = mapped_column(BigInteger)


class BudgetAction(Base):
    """What is done when a budget's threshold is exceeded; `definition` is JSON, see `resources/budgets/execution.py`.

    `acted` is when the period began for which it was begun, None if it never was. `topic` is told of each step.
    """

    __tablename__ = "budget_actions"
    __table_args__ = (
        ForeignKeyConstraint(["account_id", "budget"], ["budgets.account_id", "budgets.name"], ondelete="CASCADE"),
        Index("ix_budget_actions_status_id", "status", "id"),
        Index("ix_budget_actions_account_id_budget_id", "account_id", "budget", "id"),
        Index("ix_budget_actions_account_id_id", "account_id", "id", unique=True),
    )

    id: Mapped[str] = mapped_column(Id, primary_key=True)
    account_id: Mapped[str] = mapped_column(AccountId)
    budget: Mapped[str] = mapped_column(BudgetName)
    kind: Mapped[str] = mapped_column(Word)
    threshold: Mapped[float] = mapped_column(Float)
    threshold_type: Mapped[str] = mapped_column(Word)
    type: Mapped[str] = mapped_column(Word)
    definition: Mapped[str] = mapped_column(Text)
    role: Mapped[str] = mapped_column(Text)
    approval: Mapped[str] = mapped_column(Word)
    topic: Mapped[str] = mapped_column(Text)
    tags: Mapped[str] = mapped_column(Text)
    status: Mapped[str] = mapped_column(Word)
    acted: Mapped[int | None] = mapped_column(BigInteger)


class BudgetActionEvent(Base):
    """Something that happened to an action: its `status` then, and `action`, JSON of what it was."""

    __tablename__ = "budget_action_events"
    __table_args__ = (
        ForeignKeyConstraint(["action_id"], ["budget_actions.id"], ondelete="CASCADE"),
        Index("ix_budget_action_events_at_number", "at", "number"),
        Index("ix_budget_action_events_action_id_number", "action_id", "number"),
    )

    number: Mapped[int] = mapped_column(primary_key=True, autoincrement=True)
    action_id: Mapped[str] = mapped_column(Id)
    at: Mapped[datetime]
    status: Mapped[str] = mapped_column(Word)
    kind: Mapped[str] = mapped_column(Word)
    message: Mapped[str] = mapped_column(Text)
    action: Mapped[str] = mapped_column(Text)
