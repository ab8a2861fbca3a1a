"""What the period of a budget amounts to, by the same sums as Cost Explorer's."""

import json
from collections.abc import Sequence
from datetime import datetime
from fractions import Fraction
from statistics import fmean
from typing import Final

from stead_controller.db.tables import Budget
from stead_controller.metering import cost_filter, cost_sums, forecast
from stead_controller.metering.cost_filter import Filter
from stead_controller.metering.cost_sums import Query, Sums
from stead_controller.metering.usage_sums import Period
from stead_controller.request.transaction import Transaction
from stead_controller.resources.budgets import periods
from stead_controller.resources.budgets.thresholds import Spent

COST, USAGE = "COST", "USAGE"

_DAY: Final = 86400


def filter_of(budget: Budget) -> Filter | None:
    """Return which uses count."""
    return None if budget.filter is None else cost_filter.from_json(json.loads(budget.filter))


def reads_lines(budget: Budget) -> bool:
    """Tell whether each line of the ledger is read: those of two tags and more are not added up by day."""
    chosen = filter_of(budget)
    return chosen is not None and len(cost_filter.keys_of([chosen], "TAG")) > 1


def period_at(budget: Budget, now: datetime) -> Period:
    """Return the budget's period of a time."""
    return periods.at(budget.time_unit, budget.begins, budget.ends, int(now.timestamp()))


def spent(tx: Transaction, region: str, budget: Budget, period: Period, now: datetime) -> Spent:
    """Return what a period of a budget amounts to, and is expected to; what has ended amounts to what it does."""
    moment = int(now.timestamp())
    if not period.begin <= moment < period.end:
        [actual] = amounts(tx, region, budget, (period.begin, period.end), now)
        return Spent(actual, actual if moment >= period.end else None)
    days = cost_sums.known_edges(now)
    edges = sorted({period.begin, *days, days[-1] + _DAY})  # one question for both, and nothing is used after today
    query = Query(budget.account_id, region, tuple(edges), filter=filter_of(budget))
    parts = [part.get((), Sums()) for part in cost_sums.run(tx, query, now)]
    actual, of_days = Fraction(0), [Sums() for _ in days[1:]]
    for begin, part in zip(edges, parts, strict=False):
        if begin >= period.begin:
            actual += _amount(budget, part)
        if days[0] <= begin < days[-1]:
            of_days[(begin - days[0]) // _DAY].add(part)
    known = cost_sums.from_first_use(of_days)
    if len(known) < forecast.LEAST_DAYS:
        return Spent(actual, None)
    mean = Fraction(fmean(float(_amount(budget, day)) for day in known))
    return Spent(actual, actual + mean * Fraction(period.end - moment, _DAY))


def amounts(tx: Transaction, region: str, budget: Budget, edges: Sequence[int], now: datetime) -> list[Fraction]:
    """Add up what counts between each two edges, which ascend, until now."""
    query = Query(budget.account_id, region, tuple(edges), filter=filter_of(budget))
    return [_amount(budget, part.get((), Sums())) for part in cost_sums.run(tx, query, now)]


def _amount(budget: Budget, sums: Sums) -> Fraction:
    """Return what counts: costs in the budget's currency, or what is measured in its unit."""
    found = sums.costs if budget.kind == COST else sums.quantities
    return found.get(budget.unit, Fraction(0))
