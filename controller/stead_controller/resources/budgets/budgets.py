"""Budgets: made, found, changed and deleted.

See https://docs.aws.amazon.com/aws-cost-management/latest/APIReference/API_budgets_CreateBudget.html.
"""

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from fractions import Fraction
from typing import Final

from sqlalchemy import func, select

from stead_controller.db.tables import Budget
from stead_controller.errors import AlreadyExists, InvalidParameter, LimitExceeded, NotFound
from stead_controller.metering import cost_filter, cost_sums, uses
from stead_controller.metering.cost_filter import Filter
from stead_controller.request.caller import Caller
from stead_controller.request.cloud import Cloud
from stead_controller.request.transaction import Transaction
from stead_controller.resources.budgets import budget_notifications, periods, spending, tagged
from stead_controller.resources.budgets.periods import CUSTOM, NEVER, Limits

MOST: Final = 1000
"""Budgets of an account; AWS has 20,000."""

_NAME: Final = re.compile(r"(?!.*/action/)(?!.*<script>.*</script>)[^:\\\n]{1,100}\Z", re.IGNORECASE)
_AMOUNT: Final = re.compile(r"(?:[0-9]{0,15}\.)?[0-9]{1,15}\Z")
_KEPT_LIMITS: Final = 100
_LONGEST_CUSTOM: Final = 3653 * 86400

type ShownBudget = Budget
"""A budget as it is shown."""


@dataclass(frozen=True, slots=True)
class BudgetRequest:
    """What a budget is to be: `begins` and `ends` are None where they are not given.

    `limits` has one amount, valid at all times, or those of planned periods by their begin. `named` is whether the
    filter was given by old names.
    """

    name: str
    kind: str
    time_unit: str
    begins: int | None
    ends: int | None
    unit: str
    limits: Limits
    planned: bool
    metric: str
    filter: Filter | None
    named: bool


def arn_of(cloud: Cloud, account_id: str, name: str) -> str:
    """Return the ARN of a budget, which is of no region."""
    return f"arn:{cloud.partition}:budgets::{account_id}:budget/{name}"


def create(tx: Transaction, caller: Caller, asked: BudgetRequest, tags: Mapping[str, str], now: datetime) -> Budget:
    """Make a budget; raises InvalidParameter, AlreadyExists, LimitExceeded."""
    name = asked.name
    if not _NAME.match(name):
        raise InvalidParameter("A budget's name has 1 to 100 characters, without : and \\ and without /action/.")
    account_id = caller.account_id
    if tx.session.get(Budget, (account_id, name)) is not None:
        raise AlreadyExists("budget", f"Error creating budget: {name} - the budget already exists.")
    mine = select(func.count()).select_from(Budget).where(Budget.account_id == account_id)
    if tx.session.scalars(mine).one() >= MOST:
        raise LimitExceeded(f"Error creating budget: {name} - an account can have {MOST} budgets at most.")
    _check(tx, asked, now)
    moment = int(now.timestamp())
    begins = periods.first_begin(asked.time_unit, moment) if asked.begins is None else asked.begins
    ends = NEVER if asked.ends is None else asked.ends
    _check_times(asked.time_unit, begins, ends, now)
    tagged.check(tags)
    budget = Budget(
        account_id=account_id,
        name=name,
        kind=asked.kind,
        time_unit=asked.time_unit,
        begins=begins,
        ends=ends,
        unit=asked.unit,
        limits=json.dumps(_limits([], asked, 0)),
        planned=asked.planned,
        metric=asked.metric,
        filter=_stored(asked.filter),
        named=asked.named,
        tags=json.dumps(dict(tags), sort_keys=True),
        created=now,
        updated=now,
        settled=periods.at(asked.time_unit, begins, ends, moment).begin,
        revision=1,
        due=max(now, datetime.fromtimestamp(begins, UTC)),
    )
    tx.session.add(budget)
    tx.session.flush()
    return budget


def change(tx: Transaction, budget: Budget, asked: BudgetRequest, now: datetime) -> None:
    """Give a budget other facts; its notifications are told anew of what they say. Raises InvalidParameter.

    Times that are not given stay. Periods that have ended keep the limit that they had.
    """
    _check(tx, asked, now)
    moment = int(now.timestamp())
    begins = budget.begins if asked.begins is None else asked.begins
    ends = budget.ends if asked.ends is None else asked.ends
    _check_times(asked.time_unit, begins, ends, now)
    period = periods.at(asked.time_unit, begins, ends, moment)
    before = _facts(budget)
    budget.limits = json.dumps(_limits(limits_of(budget), asked, period.begin))
    budget.kind, budget.time_unit, budget.begins, budget.ends = asked.kind, asked.time_unit, begins, ends
    budget.unit, budget.planned, budget.metric = asked.unit, asked.planned, asked.metric
    budget.filter, budget.named, budget.updated = _stored(asked.filter), asked.named, now
    if _facts(budget) != before:
        budget.settled = period.begin
        budget_notifications.begin_anew(tx, budget)
    touch(budget, now)
    tx.session.flush()


def touch(budget: Budget, now: datetime) -> None:
    """Let a budget that was changed be looked at soon."""
    budget.revision += 1
    budget.due = max(now, datetime.fromtimestamp(budget.begins, UTC))


def find(tx: Transaction, caller: Caller, name: str) -> Budget:
    """Return a budget of the caller's account; raises NotFound."""
    budget = tx.session.get(Budget, (caller.account_id, name))
    if budget is None:
        raise NotFound("budget", name, message=f"Unable to get budget: {name} - the budget doesn't exist.")
    return budget


def page(tx: Transaction, caller: Caller, *, after: str | None, limit: int) -> list[Budget]:
    """List the account's budgets by name, from the one after `after` on."""
    query = select(Budget).where(Budget.account_id == caller.account_id).order_by(Budget.name).limit(limit)
    if after is not None:
        query = query.where(Budget.name > after)
    return list(tx.session.scalars(query))


def delete(tx: Transaction, budget: Budget) -> None:
    """Delete a budget with its notifications and actions."""
    tx.session.delete(budget)
    tx.session.flush()


def limits_of(budget: Budget) -> list[tuple[int, str]]:
    """Return the amounts of a budget, each with the time from which it is valid."""
    return [(since, amount) for since, amount in json.loads(budget.limits)]


def _check(tx: Transaction, asked: BudgetRequest, now: datetime) -> None:
    """Raise InvalidParameter unless a budget may count so."""
    for _, amount in asked.limits:
        if not _AMOUNT.match(amount) or not Fraction(amount):
            raise InvalidParameter(f"The amount {amount[:50]} of the limit must be a number above zero.")
    moment = int(now.timestamp())
    if asked.kind == spending.COST:
        [valid] = cost_sums.currencies(tx, (moment, moment + 1))
        if asked.unit != valid:
            raise InvalidParameter(f"The unit of a cost budget is that of the prices of this cloud: {valid}.")
    elif asked.unit not in uses.UNITS:
        raise InvalidParameter(f"The unit of a usage budget is one of {', '.join(uses.UNITS)}.")
    if asked.planned and [since for since, _ in asked.limits] != periods.planned(asked.time_unit, moment):
        raise InvalidParameter(
            "PlannedBudgetLimits has the limits of the next 12 months, or of the next four quarters, from the present "
            "one on, each by the second since 1970 when it begins."
        )


def _check_times(time_unit: str, begins: int, ends: int, now: datetime) -> None:
    if not 0 <= begins < ends <= NEVER:
        raise InvalidParameter(
            "The begin of a budget's time must lie before its end, and that in the year 2087 at most."
        )
    if ends <= now.timestamp():
        raise InvalidParameter("The end of a budget's time must lie in the future.")
    if time_unit == CUSTOM and ends == NEVER:
        raise InvalidParameter("A budget of a custom time needs its Start and its End.")
    if time_unit == CUSTOM and ends - begins > _LONGEST_CUSTOM:
        raise InvalidParameter("A budget's custom time can be ten years long at most.")


def _limits(old: Limits, asked: BudgetRequest, begin: int) -> Limits:
    """Return what is valid from a time on, after what was valid before it."""
    new = asked.limits if asked.planned else [(begin, amount) for _, amount in asked.limits]
    kept: Sequence[tuple[int, str]] = [entry for entry in old if entry[0] < new[0][0]]
    if kept and not asked.planned and kept[-1][1] == new[0][1]:
        return kept
    return [*kept[-_KEPT_LIMITS:], *new]


def _facts(budget: Budget) -> tuple[object, ...]:
    """Return all that judges what is spent."""
    return (
        budget.kind,
        budget.time_unit,
        budget.begins,
        budget.ends,
        budget.unit,
        budget.limits,
        budget.metric,
        budget.filter,
    )


def _stored(found: Filter | None) -> str | None:
    return None if found is None else json.dumps(cost_filter.to_json(found))
