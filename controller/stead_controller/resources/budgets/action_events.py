"""What happened to actions of budgets: kept for a year, or until the action is deleted."""

import json
from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any, Final

from sqlalchemy import delete, select

from stead_controller.db.tables import BudgetAction, BudgetActionEvent
from stead_controller.request.transaction import Transaction

SYSTEM, CREATED, UPDATED, EXECUTED = "SYSTEM", "CREATE_ACTION", "UPDATE_ACTION", "EXECUTE_ACTION"
LASTING: Final = timedelta(days=365)

_AT_ONCE: Final = 1000
_FACTS: Final = ("budget", "kind", "threshold", "threshold_type", "type", "definition", "role", "approval", "topic")

type ShownEvent = BudgetActionEvent
"""An event as it is shown."""


def add(tx: Transaction, action: BudgetAction, kind: str, message: str, now: datetime) -> None:
    """Note what happened to an action, with what it is now."""
    facts = {name: getattr(action, name) for name in _FACTS}
    row = BudgetActionEvent(action_id=action.id, at=now, status=action.status, kind=kind, message=message)
    row.action = json.dumps(facts, sort_keys=True)
    tx.session.add(row)


def was(row: BudgetActionEvent) -> BudgetAction:
    """Return the action as it was at an event."""
    facts: Mapping[str, Any] = json.loads(row.action)
    return BudgetAction(id=row.action_id, status=row.status, **facts)


def page(
    tx: Transaction,
    action: BudgetAction,
    since: datetime | None,
    until: datetime | None,
    *,
    before: int | None,
    limit: int,
) -> list[BudgetActionEvent]:
    """List what happened to an action, the newest first, from the one before a number on."""
    row = BudgetActionEvent
    query = select(row).where(row.action_id == action.id).order_by(row.number.desc()).limit(limit)
    if since is not None:
        query = query.where(row.at >= since)
    if until is not None:
        query = query.where(row.at < until)
    if before is not None:
        query = query.where(row.number < before)
    return list(tx.session.scalars(query))


def forget(tx: Transaction, now: datetime) -> bool:
    """Delete events that are too old; tells whether there may be more."""
    row = BudgetActionEvent
    old = select(row.number).where(row.at < now - LASTING).order_by(row.at, row.number).limit(_AT_ONCE)
    numbers = list(tx.session.scalars(old))
    tx.session.execute(delete(row).where(row.number.in_(numbers)))
    return len(numbers) == _AT_ONCE
