"""Which budgets are due, what they amount to, and what follows when thresholds are crossed.

Each budget is looked at every few minutes. A period that has ended is looked at once more, so that what was crossed in
its last minutes, or while no controller ran, is told as well. Amounts are added up in a transaction that reads; what
follows from them is written in another, if the budget is still the same.
"""

import json
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from fractions import Fraction
from typing import Final

from sqlalchemy import bindparam, exists, select

from stead_controller.db.due_rows import DueRows
from stead_controller.db.tables import Budget
from stead_controller.metering.usage_sums import Period
from stead_controller.request.transaction import Transaction
from stead_controller.resources.budgets import (
    actions,
    budget_notifications,
    budgets,
    notices,
    periods,
    spending,
    thresholds,
)
from stead_controller.resources.budgets.thresholds import Spent

EACH: Final = timedelta(minutes=5)
EACH_BY_LINES: Final = timedelta(hours=1)
"""How often budgets are looked at, and those that read each line of the ledger, since two tag keys filter them."""
_UNTIL_DONE: Final = timedelta(seconds=30)


@dataclass(frozen=True, slots=True)
class Judged:
    """What a budget amounts to in the oldest period that is not judged for good."""

    account_id: str
    name: str
    revision: int
    period: Period
    spent: Spent
    reads_lines: bool


DUE: Final = DueRows(exists().where(Budget.due <= bindparam("now")))
"""Whether a budget is due."""


def judge_next(tx: Transaction, region: str, now: datetime) -> Judged | None:
    """Add up the budget that has been due for longest; None if none is due."""
    query = select(Budget).where(Budget.due <= now).order_by(Budget.due, Budget.account_id, Budget.name).limit(1)
    budget = tx.session.scalar(query)
    if budget is None:
        return None
    period = periods.at(budget.time_unit, budget.begins, budget.ends, budget.settled)
    spent = spending.spent(tx, region, budget, period, now)
    return Judged(budget.account_id, budget.name, budget.revision, period, spent, spending.reads_lines(budget))


def settle(tx: Transaction, judged: Judged, now: datetime) -> None:
    """Write what follows from a judgement: states, messages, actions that begin, and when it is due next."""
    budget = tx.session.get(Budget, (judged.account_id, judged.name))
    if budget is None or budget.revision != judged.revision:
        return
    period, spent = judged.period, judged.spent
    limit = Fraction(periods.limit(json.loads(budget.limits), period))
    for row in budget_notifications.of_budget(tx, budget):
        threshold = thresholds.amount(row.threshold, row.threshold_type, limit)
        amount = spent.of(row.kind)
        crossed = thresholds.crossed(row.comparison, amount, threshold)
        if budget_notifications.settle(row, period.begin, crossed=crossed) and amount is not None:
            notices.tell_crossed(tx, budget, row, limit, amount, period.begin, now)
    running = actions.settle(tx, budget, period.begin, spent, limit, now)
    moment = int(now.timestamp())
    if moment >= period.end:
        budget.settled = period.end
        budget.due = now
        if period.end >= budget.ends and not running:  # as in AWS, a budget whose time is over is deleted
            budgets.delete(tx, budget)
        elif period.end >= budget.ends:
            budget.due = now + _UNTIL_DONE
    else:
        each = EACH_BY_LINES if judged.reads_lines else EACH
        budget.due = min(now + each, datetime.fromtimestamp(period.end, UTC))
    tx.session.flush()


def put_off(tx: Transaction, now: datetime) -> None:
    """Let the budget that has been due for longest wait: it could not be judged."""
    query = select(Budget).where(Budget.due <= now).order_by(Budget.due, Budget.account_id, Budget.name).limit(1)
    budget = tx.session.scalar(query)
    if budget is not None:
        budget.due = now + EACH
