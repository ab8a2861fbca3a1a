"""When an event window is open, and the first time that is in it."""

from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stead_controller.errors import InvalidParameter
from stead_controller.resources.instances.event_window_times import WEEK, first_time, of_cron, of_ranges

SUNDAY = datetime(2026, 11, 29, tzinfo=UTC)
MONDAY = 24
HOUR = timedelta(hours=1)


@pytest.mark.parametrize(
    ("expression", "hours"),
    [
        ("* 0-4 * * 0", {0, 1, 2, 3}),
        ("* 20-23,0-2 * * 1", {24, 25, 44, 45, 46}),
        ("* 21-23 * * TUE,3", {69, 70, 93, 94}),
        ("* 1-3 * * *", {day * 24 + hour for day in range(7) for hour in (1, 2)}),
        ("* 0-2,1-4 * * SAT", {144, 145, 146, 147}),
    ],
)
def test_a_cron_expression_is_hours_of_days(expression: str, hours: set[int]) -> None:
    assert of_cron(expression) == hours


@pytest.mark.parametrize(
    "expression",
    [
        "",
        "* 0-4 * *",
        "* 0-4 * * 1 *",
        "0 0-4 * * 1",
        "* 0-4 1 * 1",
        "* 0-4 * 1 1",
        "*  0-4 * * 1",
        "* * * * 1",
        "* 4 * * 1",
        "* 4-0 * * 1",
        "* 4-4 * * 1",
        "* 0-24 * * 1",
        "* 0-4-6 * * 1",
        "* -4 * * 1",
        "* 0-4, * * 1",
        "* 0-4 * * 7",
        "* 0-4 * * 1-5",
        "* 0-4 * * MONDAY",
        "* 0-4 * * 1,",
        "* " + ",".join(["0-4"] * 63) + " * * 1",  # 256 characters
    ],
)
def test_what_is_no_expression_is_refused(expression: str) -> None:
    with pytest.raises(InvalidParameter, match="cronExpression"):
        of_cron(expression)


def test_the_longest_expression() -> None:
    text = "* " + ",".join(["0-4"] * 60) + " * * 1"
    assert of_cron(text + ",1" * ((255 - len(text)) // 2)) == {24, 25, 26, 27}


def test_ranges_have_two_hours_each_and_four_in_all() -> None:
    assert of_ranges([(0, 2), (5, 7)]) == {0, 1, 5, 6}
    assert of_ranges([(166, 2)]) == {166, 167, 0, 1}
    for too_short in ([(0, 1), (4, 10)], [(5, 5), (0, 4)], [(167, 0), (0, 4)]):
        with pytest.raises(InvalidParameter, match="at least 2 hours"):
            of_ranges(too_short)
    for too_few in ([], [(0, 3)], [(0, 2), (1, 3)], [(0, 2), (0, 2)]):
        with pytest.raises(InvalidParameter, match="4 hours a week"):
            of_ranges(too_few)
    with pytest.raises(InvalidParameter, match="4 hours a week"):
        of_cron("* 0-3 * * 1")
    with pytest.raises(InvalidParameter, match="at least 2 hours"):
        of_cron("* 0-1,4-9 * * 1")


@pytest.mark.parametrize(
    ("earliest", "first"),
    [
        (SUNDAY + 3 * HOUR, SUNDAY + 26 * HOUR),
        (SUNDAY + 26 * HOUR, SUNDAY + 26 * HOUR),
        (SUNDAY + 27.5 * HOUR, SUNDAY + 27.5 * HOUR),
        (SUNDAY + 25.7 * HOUR, SUNDAY + 26 * HOUR),
        (SUNDAY + 30 * HOUR, SUNDAY + (26 + WEEK) * HOUR),
        (SUNDAY + 30 * HOUR - timedelta(milliseconds=1), SUNDAY + 30 * HOUR - timedelta(milliseconds=1)),
    ],
)
def test_the_first_time_is_at_once_or_when_it_opens(earliest: datetime, first: datetime) -> None:
    hours = of_ranges([(MONDAY + 2, MONDAY + 6)])
    assert first_time(hours, earliest) == first
    assert first_time(hours, earliest.astimezone(timezone(5.5 * HOUR))) == first


@given(st.sets(st.integers(0, WEEK - 1), min_size=1), st.timedeltas(timedelta(), 400 * 24 * HOUR))
def test_no_earlier_time_is_in_the_window(hours: set[int], later: timedelta) -> None:
    earliest = SUNDAY + later

    def open_at(moment: datetime) -> bool:
        return int((moment - SUNDAY) / HOUR // 1) % WEEK in hours

    first = first_time(frozenset(hours), earliest)
    assert earliest <= first < earliest + WEEK * HOUR
    assert open_at(first)
    passed = first
    while passed > earliest:
        passed = max(passed - HOUR, earliest)
        assert not open_at(passed)
