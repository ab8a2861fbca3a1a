"""The times that Cost Explorer takes, and how they are divided."""

from datetime import UTC, datetime

import pytest

from stead_controller.aws.ce import time_periods
from stead_controller.errors import InvalidParameter

NOW = datetime(2026, 11, 17, 12, 30, tzinfo=UTC)


def read(start, end, granularity="DAILY"):
    return time_periods.read({"Start": start, "End": end}, granularity, NOW)


def shown(times):
    return [tuple(times.shown(part).values()) for part in range(len(times.edges) - 1)]


def test_months_are_whole_but_for_the_first_and_the_last():
    assert shown(read("2026-09-10", "2026-11-05", "MONTHLY")) == [
        ("2026-09-10", "2026-10-01"),
        ("2026-10-01", "2026-11-01"),
        ("2026-11-01", "2026-11-05"),
    ]
    assert shown(read("2026-10-01", "2026-11-01", "MONTHLY")) == [("2026-10-01", "2026-11-01")]


def test_days_and_hours():
    assert shown(read("2026-10-30", "2026-11-01")) == [("2026-10-30", "2026-10-31"), ("2026-10-31", "2026-11-01")]
    assert shown(read("2026-11-03T22:00:00Z", "2026-11-04", "HOURLY")) == [
        ("2026-11-03T22:00:00Z", "2026-11-03T23:00:00Z"),
        ("2026-11-03T23:00:00Z", "2026-11-04T00:00:00Z"),
    ]


@pytest.mark.parametrize(
    ("start", "end", "granularity", "words"),
    [
        ("2026-11-02", "2026-11-02", "DAILY", r"Start date \(and hour\) should be before end date"),
        ("2026-11-03", "2026-11-02", "MONTHLY", r"Start date \(and hour\) should be before end date"),
        ("2026-11-02", "2026-12-02", "DAILY", "end date past the beginning of next month"),
        ("2025-08-31", "2026-12-01", "MONTHLY", "beyond 14 months"),
        ("2026-11-02T23:00:00Z", "2026-11-04", "HOURLY", "max supported days for hourly granularity is 14"),
        ("2026-11-02T00:00:00Z", "2026-11-04", "DAILY", "Hourly timePeriod is not supported"),
        ("2026-11-10T00:30:00Z", "2026-11-11", "HOURLY", "whole hour"),
        ("2026-11-10T00:00:30Z", "2026-11-11", "HOURLY", "whole hour"),
        ("1969-12-31", "2026-11-11", "DAILY", "before 1970"),
        ("2026-11-31", "2026-12-01", "DAILY", "no date such as"),
        ("2026-1-1", "2026-12-01", "DAILY", "no date such as"),
        ("-2026-11-0", "2026-12-01", "DAILY", "no date such as"),
        ("99999-01-01", "2026-12-01", "DAILY", "no date such as"),
        ("2026-11-01", "9999-12-31", "DAILY", "end date past"),
        ("2026-11-01", "2026-11-02", "YEARLY", "enum value set"),
    ],
)
def test_other_times_are_refused(start, end, granularity, words):
    with pytest.raises(InvalidParameter, match=words):
        read(start, end, granularity)


def test_the_ends_of_what_is_told():
    assert read("2025-09-01", "2026-12-01", "MONTHLY").edges
    assert len(read("2026-11-03", "2026-11-04", "HOURLY").edges) == 25
