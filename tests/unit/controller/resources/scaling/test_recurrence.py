"""Expressions of cron and the times that they mean, also where clocks change."""

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stead_controller.errors import InvalidParameter
from stead_controller.resources.scaling.recurrence import check_zone, parse


def at(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


@pytest.mark.parametrize(
    ("expression", "after", "following"),
    [
        ("* * * * *", "2026-11-28 20:00", "2026-11-28 20:01"),
        ("30 9 * * *", "2026-11-28 09:29", "2026-11-28 09:30"),
        ("30 9 * * *", "2026-11-28 09:30", "2026-11-29 09:30"),
        ("*/15 * * * *", "2026-11-28 20:14", "2026-11-28 20:15"),
        ("5/20 * * * *", "2026-11-28 20:26", "2026-11-28 20:45"),
        ("10-20/5 8 * * *", "2026-11-28 08:15", "2026-11-28 08:20"),
        ("0 0,12 1 */2 *", "2026-11-28 20:00", "2027-01-01 00:00"),
        ("0 22 * * 1-5", "2026-11-28 20:00", "2026-11-30 22:00"),
        ("0 22 * * MON-FRI", "2026-11-28 20:00", "2026-11-30 22:00"),
        ("0 0 * * 7", "2026-11-28 20:00", "2026-11-29 00:00"),
        ("0 0 * * 0", "2026-11-28 20:00", "2026-11-29 00:00"),
        ("0 0 * * 5-7", "2026-11-28 20:00", "2026-11-29 00:00"),
        ("0 0 * feb *", "2026-11-28 20:00", "2027-02-01 00:00"),
        ("0 0 13 * fri", "2026-11-28 20:00", "2026-12-04 00:00"),
        ("0 0 13 * fri", "2026-12-11 20:00", "2026-12-13 00:00"),
        ("0 0 */2 * *", "2026-11-28 20:00", "2026-11-29 00:00"),
        ("0 0 */2 * mon", "2026-11-29 00:00", "2026-12-07 00:00"),
        ("0 0 13 * */3", "2026-11-28 20:00", "2026-12-13 00:00"),
        ("0 0 14 * */3", "2026-11-28 20:00", "2027-02-14 00:00"),
        ("0 0 29 2 */7", "2088-03-01 00:00", "2128-02-29 00:00"),
        ("0 0 1-31 * mon", "2026-11-28 20:00", "2026-11-29 00:00"),
        ("0 0 29 2 *", "2026-11-28 20:00", "2028-02-29 00:00"),
        ("0 0 29 2 *", "2096-03-01 00:00", "2104-02-29 00:00"),
        ("0 0 31 * *", "2026-11-28 20:00", "2026-12-31 00:00"),
    ],
)
def test_the_next_time(expression: str, after: str, following: str) -> None:
    assert parse(expression).next(at(after), "Etc/UTC") == at(following)


@pytest.mark.parametrize(
    ("expression", "after", "following"),
    [
        ("0 9 * * *", "2026-11-28 08:00", "2026-11-29 08:00"),
        ("0 9 * * *", "2026-06-28 07:00", "2026-06-29 07:00"),
        ("0 23 * * *", "2026-11-28 22:30", "2026-11-29 22:00"),
        ("30 2 * * *", "2026-03-28 12:00", "2026-03-29 01:30"),
        ("30 2 * * *", "2026-03-29 01:30", "2026-03-30 00:30"),
        ("30 2 * * *", "2026-10-24 12:00", "2026-10-25 00:30"),
        ("30 2 * * *", "2026-10-25 00:30", "2026-10-26 01:30"),
        ("0 0 * * *", "2026-11-28 22:30", "2026-11-28 23:00"),
    ],
)
def test_clocks_of_a_time_zone(expression: str, after: str, following: str) -> None:
    assert parse(expression).next(at(after), "Europe/Berlin") == at(following)


def test_a_time_of_yesterday_by_the_clock_may_be_the_next() -> None:
    """Samoa skipped 30 December 2011; what was due there then happens when it has been skipped."""
    assert parse("0 12 30 12 *").next(at("2011-12-30 10:30"), "Pacific/Apia") == at("2011-12-30 22:00")


@pytest.mark.parametrize(
    "expression",
    ["", "* * * *", "* * * * * *", "60 * * * *", "* 24 * * *", "* * 0 * *", "* * 32 * *", "* * * 0 *", "* * * 13 *",
     "* * * * 8", "5-1 * * * *", "*/0 * * * *", "a * * * *", "mon * * * *", "* * * * mond", "* * * xyz *", "1, * * * *",
     "-1 * * * *", "1-* * * * *", "@daily", "0 0 30 2 *", "0 0 31 4,6 *", "\u0661 * * * *"],
)  # fmt: skip
def test_what_is_no_expression(expression: str) -> None:
    with pytest.raises(InvalidParameter):
        parse(expression)


@pytest.mark.parametrize("expression", ["0 0 31 4 mon", "0 0 31 4,5 *", "0 0 30,29 2 *"])
def test_days_that_there_are(expression: str) -> None:
    assert parse(expression).next(at("2026-11-28 20:00"), "Etc/UTC") is not None


def test_time_zones_are_those_of_iana() -> None:
    check_zone("Etc/UTC")
    check_zone("Pacific/Tahiti")
    for zone in ("", "Mars/Base", "../etc/passwd"):
        with pytest.raises(InvalidParameter, match="IANA"):
            check_zone(zone)


@given(
    st.integers(0, 59), st.integers(0, 23), st.integers(946_684_800, 2_051_222_400),
    st.sampled_from(["Etc/UTC", "Europe/Berlin", "America/St_Johns", "Australia/Lord_Howe", "Pacific/Kiritimati"]),
)  # fmt: skip
def test_a_daily_time_comes_once_a_day(minute: int, hour: int, seconds: int, zone: str) -> None:
    after = datetime.fromtimestamp(seconds, UTC)
    daily = parse(f"{minute} {hour} * * *")
    first = daily.next(after, zone)
    assert first is not None
    second = daily.next(first, zone)
    assert second is not None
    clock = ZoneInfo(zone)
    assert after < first <= after + timedelta(hours=26)
    assert second.astimezone(clock).date() == first.astimezone(clock).date() + timedelta(days=1)
