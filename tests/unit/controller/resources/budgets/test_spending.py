"""What a budget amounts to is what Cost Explorer's sums are, and its forecast follows from the same days."""

import json
from datetime import UTC, datetime, timedelta
from fractions import Fraction

import pytest

from stead_controller.db.tables import Budget, UsageLine
from stead_controller.metering import cost_filter, cost_sums
from stead_controller.metering.cost_filter import Branch, Leaf
from stead_controller.metering.cost_sums import Query, Sums
from stead_controller.metering.usage_sums import Period
from stead_controller.resources.budgets import periods, spending
from tests.support.world import database, run, world, world_file

__all__ = ["database", "run", "world", "world_file"]

MINE = "1" * 12
NOW = datetime(2026, 11, 6, 7, 8, 9, tzinfo=UTC)


def fill(tx, days):
    """Five and a half hours of a NAT gateway each day, from noon on, of so many days and of today."""
    midnight = NOW.replace(hour=0, minute=0, second=0)
    for ago in range(days + 1):
        began = int((midnight - timedelta(days=ago, hours=0 if ago else 12) + timedelta(hours=12)).timestamp())
        about = {"account_id": MINE, "resource_id": "nat-1", "usage": "NatGateway-Hours", "operation": "NatGateway"}
        tx.session.add(UsageLine(**about, zone="", quantity=1, began=began, ended=began + 19800))
    tx.session.flush()


def budget_of(unit, begins=0, ends=periods.NEVER, *, kind="COST", measure="USD"):
    return Budget(account_id=MINE, name="b", kind=kind, time_unit=unit, unit=measure, begins=begins, ends=ends)


@pytest.mark.parametrize("unit", ["DAILY", "MONTHLY", "QUARTERLY", "ANNUALLY", "CUSTOM"])
@pytest.mark.parametrize("begins", [0, int((NOW - timedelta(days=3, hours=13)).timestamp())])
def test_it_is_what_cost_explorer_says(run, unit, begins):
    ends = int((NOW + timedelta(days=300)).timestamp())
    budget = budget_of(unit, max(begins, ends - 10**8), ends)
    period = spending.period_at(budget, NOW)

    def live(tx):
        fill(tx, 40)
        first = cost_sums.known_edges(NOW)[0]
        about = {"account_id": MINE, "resource_id": "nat-2", "usage": "NatGateway-Hours", "operation": "NatGateway"}
        tx.session.add(UsageLine(**about, zone="", quantity=1, began=first, ended=first + 7200))
        tx.session.flush()
        [whole] = cost_sums.run(tx, Query(MINE, "r", (period.begin, period.end)), NOW)
        known = cost_sums.known_days(tx, MINE, "r", None, NOW)
        return spending.spent(tx, "r", budget, period, NOW), whole.get((), Sums()), known

    spent, whole, known = run(live)
    assert spent.actual == whole.costs["USD"] > 0
    assert len(known) == 28
    left = Fraction(period.end - int(NOW.timestamp()), 86400)
    mean = sum(day.costs["USD"] for day in known) / 28
    assert float(spent.forecast - spent.actual) == pytest.approx(float(left * mean))


def test_too_few_days_have_no_forecast_and_the_past_is_what_it_was(run):
    budget = budget_of("MONTHLY", kind="USAGE", measure="Hrs")

    def live(tx):
        fill(tx, 2)
        past = Period(int(datetime(2026, 11, 5, tzinfo=UTC).timestamp()), int(NOW.timestamp()))
        to_come = Period(int(NOW.timestamp()) + 1, int(NOW.timestamp()) + 2)
        return [spending.spent(tx, "r", budget, each, NOW) for each in (spending.period_at(budget, NOW), past, to_come)]

    now, past, to_come = run(live)
    assert (now.actual, now.forecast) == (Fraction(33, 2), None)
    assert (past.actual, past.forecast) == (11, 11)
    assert (to_come.actual, to_come.forecast) == (0, None)


def test_three_days_are_enough_for_a_forecast(run):
    def live(tx):
        fill(tx, 3)
        budget = budget_of("DAILY")
        return spending.spent(tx, "r", budget, spending.period_at(budget, NOW), NOW)

    assert run(live).forecast is not None


def test_a_period_that_begins_now_is_forecast(run):
    moment = int(NOW.timestamp())
    budget = budget_of("CUSTOM", moment, moment + 86400)

    def live(tx):
        fill(tx, 5)
        return spending.spent(tx, "r", budget, Period(moment, moment + 86400), NOW)

    spent = run(live)
    assert (spent.actual, float(spent.forecast)) == (0, pytest.approx(0.022))


@pytest.mark.parametrize(
    ("chosen", "actual", "reads_lines"),
    [
        (None, Fraction("0.022"), False),
        (Leaf("DIMENSION", "OPERATION", frozenset({"NatGateway"})), Fraction("0.022"), False),
        (Leaf("DIMENSION", "OPERATION", frozenset({"other"})), 0, False),
        (Leaf("TAG", "team", frozenset({"web"})), 0, False),
        (Branch("Or", tuple(Leaf("TAG", key, frozenset({"web"})) for key in ("team", "env"))), 0, True),
    ],
    ids=str,
)
def test_what_counts_is_filtered(run, chosen, actual, reads_lines):
    budget = budget_of("CUSTOM", int((NOW - timedelta(days=1, hours=7)).timestamp()))
    budget.filter = None if chosen is None else json.dumps(cost_filter.to_json(chosen))
    midnight = int(NOW.replace(hour=0, minute=0, second=0).timestamp())

    def live(tx):
        fill(tx, 3)
        return spending.amounts(tx, "r", budget, (midnight - 86400, midnight), NOW)

    assert run(live) == [actual]
    assert spending.reads_lines(budget) is reads_lines
