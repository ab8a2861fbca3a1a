"""What a budget amounts to is what Cost Explorer's sums are, and its forecast follows from the same days."""

from datetime import UTC, datetime, timedelta
from fractions import Fraction

import pytest

from stead_controller.db.tables import Budget, UsageLine
from stead_controller.metering import cost_sums
from stead_controller.metering.cost_sums import Query, Sums
from stead_controller.metering.usage_sums import Period
from stead_controller.resources.budgets import periods, spending
from tests.support.world import database, run, world, world_file

__all__ = ["database", "run", "world", "world_file"]

MINE = "1" * 12
NOW = datetime(2026, 11, 6, 7, 8, 9, tzinfo=UTC)
NAT = Fraction("0.004")


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
        [whole] = cost_sums.run(tx, Query(MINE, "r", (period.begin, period.end)), NOW)
        known = cost_sums.known_days(tx, MINE, "r", None, NOW)
        return spending.spent(tx, "r", budget, period, NOW), whole.get((), Sums()), known

    spent, whole, known = run(live)
    assert spent.actual == whole.costs["USD"] > 0
    assert len(known) == 28
    left = Fraction(period.end - int(NOW.timestamp()), 86400)
    assert float(spent.forecast - spent.actual) == pytest.approx(float(left * NAT * Fraction(11, 2)))


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
