"""The periods of budgets, and their limits."""

from datetime import UTC, datetime
from itertools import islice, pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stead_controller.metering.usage_sums import Period
from stead_controller.resources.budgets import periods
from stead_controller.resources.budgets.periods import ANNUALLY, CUSTOM, DAILY, MONTHLY, NEVER, QUARTERLY


def second(*of: int) -> int:
    return int(datetime(*of, tzinfo=UTC).timestamp())  # type: ignore[misc, arg-type]  # as many as there are


NOON = second(2026, 11, 29, 12)
WHOLE = {
    DAILY: (second(2026, 11, 29), second(2026, 11, 30)),
    MONTHLY: (second(2026, 11, 1), second(2026, 12, 1)),
    QUARTERLY: (second(2026, 10, 1), second(2027, 1, 1)),
    ANNUALLY: (second(2026, 1, 1), second(2027, 1, 1)),
    CUSTOM: (0, NEVER),
}
units = st.sampled_from([DAILY, MONTHLY, QUARTERLY, ANNUALLY])
moments = st.integers(0, NEVER - 1)


@pytest.mark.parametrize("unit", WHOLE)
def test_a_period_is_the_whole_unit(unit: str) -> None:
    assert periods.at(unit, 0, NEVER, NOON) == Period(*WHOLE[unit])


@pytest.mark.parametrize("unit", WHOLE)
def test_a_period_lies_within_the_budgets_time(unit: str) -> None:
    begins, ends = NOON - 5, NOON + 5
    assert periods.at(unit, begins, ends, NOON) == Period(begins, ends)
    assert periods.at(unit, begins, ends, 0) == Period(begins, ends)
    assert periods.at(unit, begins, ends, NEVER) == Period(begins, ends)


def test_the_last_period_ends_with_the_budget() -> None:
    begins, ends = WHOLE[DAILY]
    assert periods.at(DAILY, begins - 86400, ends, NEVER) == Period(begins, ends)


@given(units, moments, moments)
def test_periods_follow_each_other_without_gaps(unit: str, begins: int, moment: int) -> None:
    found = list(islice(periods.before(unit, begins, NEVER, moment), 20))
    assert bool(found) == (moment >= begins)
    for later, earlier in pairwise(found):
        assert earlier.end == later.begin
    for first in found[:1]:
        assert first.begin <= moment < first.end
    for period in found:
        assert period == periods.at(unit, begins, NEVER, period.begin)
        assert period == periods.at(unit, begins, NEVER, period.end - 1)
    if found and len(found) < 20:
        assert found[-1].begin == begins


def test_a_budget_begins_with_its_first_period() -> None:
    assert [periods.first_begin(unit, NOON) for unit in WHOLE] == [
        WHOLE[DAILY][0],
        WHOLE[MONTHLY][0],
        WHOLE[QUARTERLY][0],
        WHOLE[ANNUALLY][0],
        WHOLE[DAILY][0],  # of a custom time
    ]


def test_a_year_is_planned_by_months_or_quarters() -> None:
    months = periods.planned(MONTHLY, NOON)
    assert (len(months), months[0], months[1], months[-1]) == (
        12,
        second(2026, 11, 1),
        second(2026, 12, 1),
        second(2027, 10, 1),
    )
    quarters = [second(2026, 10, 1), second(2027, 1, 1), second(2027, 4, 1), second(2027, 7, 1)]
    assert periods.planned(QUARTERLY, NOON) == quarters


def test_the_limit_is_that_of_the_periods_begin() -> None:
    limits = [(10, "1"), (20, "2"), (30, "3")]
    found = {begin: periods.limit(limits, Period(begin, 99)) for begin in (5, 10, 19, 20, 29, 40)}
    assert found == {5: "1", 10: "1", 19: "1", 20: "2", 29: "2", 40: "3"}
