"""Where months begin: in UTC, with their true lengths, and for a hundred years at most."""

from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stead_controller.errors import InvalidParameter
from stead_controller.metering import months
from stead_controller.metering.months import LATEST


def at(year: int, month: int, day: int = 1) -> int:
    return int(datetime(year, month, day, tzinfo=UTC).timestamp())


@pytest.mark.parametrize("moment", [0, 1, LATEST])
def test_times_of_a_calendar_are_taken(moment: int) -> None:
    months.require_time(moment)


@pytest.mark.parametrize("moment", [-1, LATEST + 1])
def test_other_times_are_refused(moment: int) -> None:
    with pytest.raises(InvalidParameter, match=f"^{moment} is no time"):
        months.require_time(moment)


@pytest.mark.parametrize(("year", "month", "days"), [(2024, 2, 29), (2026, 2, 28), (2100, 2, 28), (2026, 12, 31)])
def test_a_month_is_as_long_as_in_the_calendar(year: int, month: int, days: int) -> None:
    end = at(year, month) + days * 86400
    for moment in (at(year, month), end - 1):
        assert (months.begin_of(moment), months.seconds_of(moment)) == (at(year, month), days * 86400)
    assert months.begin_of(end) == end


@given(st.integers(0, at(2100, 1)), st.integers(0, 3 * 366 * 86400))
def test_the_months_within_a_time_begin_after_its_begin_and_before_its_end(begin: int, length: int) -> None:
    year = datetime.fromtimestamp(begin, UTC).year
    all_begins = [at(year + more, month) for more in range(5) for month in range(1, 13)]
    assert months.begins_within(begin, begin + length) == [
        moment for moment in all_begins if begin < moment < begin + length
    ]


def test_the_edges_of_a_time_are_not_within_it() -> None:
    assert months.begins_within(at(2026, 1), at(2026, 3)) == [at(2026, 2)]


def test_more_than_a_hundred_years_are_refused() -> None:
    century = at(2070, 2)
    assert len(months.begins_within(at(1970, 1), century)) == 1200
    with pytest.raises(InvalidParameter, match="a hundred years at most"):
        months.begins_within(at(1970, 1), century + 1)
