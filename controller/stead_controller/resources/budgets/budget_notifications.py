"""Notifications of budgets, and who is told: each has one topic."""

import uuid
from dataclasses import dataclass
from typing import Final

from sqlalchemy import ColumnElement, func, select, update

from stead_controller.db.tables import Budget, BudgetNotification
from stead_controller.errors import AlreadyExists, InvalidParameter, LimitExceeded, NotFound
from stead_controller.request.caller import Caller
from stead_controller.request.cloud import Cloud
from stead_controller.request.transaction import Transaction
from stead_controller.resources.notifications import topics

MOST: Final = 10
"""Notifications of a budget."""
OK, ALARM = "OK", "ALARM"

type ShownNotification = BudgetNotification
"""A notification as it is shown."""


@dataclass(frozen=True, slots=True)
class Threshold:
    """By what a notification is known within its budget."""

    kind: str
    comparison: str
    value: float
    type: str


def create(tx: Transaction, budget: Budget, threshold: Threshold, topic: str) -> None:
    """Add a notification; raises AlreadyExists, LimitExceeded."""
    if _look_up(tx, budget, threshold) is not None:
        raise AlreadyExists("budget-notification", "Error creating notification: it already exists.")
    mine = select(func.count()).select_from(BudgetNotification).where(*_of(budget))
    if tx.session.scalars(mine).one() >= MOST:
        raise LimitExceeded(f"Error creating notification: a budget can have {MOST} notifications at most.")
    row = BudgetNotification(id=str(uuid.uuid4()), account_id=budget.account_id, budget=budget.name, topic=topic)
    row.state, row.told = OK, None
    _set(row, threshold)
    tx.session.add(row)
    tx.session.flush()


def change(tx: Transaction, budget: Budget, old: Threshold, new: Threshold) -> None:
    """Give a notification another threshold, of which it is told anew; raises NotFound, AlreadyExists."""
    row = find(tx, budget, old)
    if old == new:
        return
    if _look_up(tx, budget, new) is not None:
        raise AlreadyExists("budget-notification", "Error updating notification: there is such a one already.")
    _set(row, new)
    row.state, row.told = OK, None


def delete(tx: Transaction, budget: Budget, threshold: Threshold) -> None:
    """Delete a notification; raises NotFound."""
    tx.session.delete(find(tx, budget, threshold))
    tx.session.flush()


def find(tx: Transaction, budget: Budget, threshold: Threshold) -> BudgetNotification:
    """Return a notification; raises NotFound."""
    row = _look_up(tx, budget, threshold)
    if row is None:
        raise NotFound("budget-notification", budget.name, message="Unable to get notification: it doesn't exist.")
    return row


def of_budget(tx: Transaction, budget: Budget, *, after: str = "", limit: int = MOST) -> list[BudgetNotification]:
    """List the notifications of a budget by their ids, from the one after `after` on."""
    query = select(BudgetNotification).where(*_of(budget), BudgetNotification.id > after)
    return list(tx.session.scalars(query.order_by(BudgetNotification.id).limit(limit)))


def of_account(
    tx: Transaction, caller: Caller, *, after: str | None, limit: int
) -> list[tuple[str, list[BudgetNotification]]]:
    """List budgets with notifications, by name from the one after `after` on, each with these."""
    row = BudgetNotification
    mine = row.account_id == caller.account_id
    names = select(row.budget).where(mine).distinct().order_by(row.budget).limit(limit)
    if after is not None:
        names = names.where(row.budget > after)
    found: dict[str, list[BudgetNotification]] = {name: [] for name in tx.session.scalars(names)}
    if found:
        rows = select(row).where(mine, row.budget.in_(list(found))).order_by(row.budget, row.id)
        for each in tx.session.scalars(rows):
            found[each.budget].append(each)
    return list(found.items())


def begin_anew(tx: Transaction, budget: Budget) -> None:
    """Let notifications be told again of what they were told: their budget is another one now."""
    tx.session.execute(update(BudgetNotification).where(*_of(budget)).values(state=OK, told=None))


def require_topic(tx: Transaction, caller: Caller, cloud: Cloud, arn: str) -> str:
    """Return the ARN of a topic of the caller's account and region; raises InvalidParameter."""
    if topics.look_up(tx, caller, cloud, arn) is None:
        raise InvalidParameter(
            f"Unable to create/update subscribers: {arn[:300]} is no topic of this account and region, where budgets "
            "publish to."
        )
    return arn


def subscribe(row: BudgetNotification, topic: str) -> None:
    """Refuse a further subscriber: raises AlreadyExists, LimitExceeded."""
    if row.topic == topic:
        raise AlreadyExists("budget-subscriber", "Error creating subscriber: it already exists.")
    raise LimitExceeded("Error creating subscriber: a notification can have one SNS subscriber at most.")


def require_subscriber(row: BudgetNotification, topic: str) -> None:
    """Raise NotFound unless a topic is told."""
    if row.topic != topic:
        raise NotFound("budget-subscriber", topic, message="Unable to get subscriber: it doesn't exist.")


def touch_subscriber(row: BudgetNotification, old: str, new: str) -> None:
    """Tell another topic; raises NotFound, AlreadyExists."""
    require_subscriber(row, old)
    if new == row.topic:
        raise AlreadyExists("budget-subscriber", "Error updating subscriber: there is such a one already.")
    row.topic = new


def settle(row: BudgetNotification, period_begin: int, *, crossed: bool) -> bool:
    """Note whether a threshold is crossed in a period; tells whether somebody is to be told, once for each period."""
    row.state = ALARM if crossed else OK
    if not crossed or (row.told is not None and row.told >= period_begin):
        return False
    row.told = period_begin
    return True


def _of(budget: Budget) -> tuple[ColumnElement[bool], ColumnElement[bool]]:
    return BudgetNotification.account_id == budget.account_id, BudgetNotification.budget == budget.name


def _look_up(tx: Transaction, budget: Budget, threshold: Threshold) -> BudgetNotification | None:
    row = BudgetNotification
    return tx.session.scalar(
        select(row).where(
            *_of(budget),
            row.kind == threshold.kind,
            row.comparison == threshold.comparison,
            row.threshold == threshold.value,
            row.threshold_type == threshold.type,
        )
    )


def _set(row: BudgetNotification, threshold: Threshold) -> None:
    row.kind, row.comparison = threshold.kind, threshold.comparison
    row.threshold, row.threshold_type = threshold.value, threshold.type
