"""Cron expressions of EventBridge."""

from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stead_controller.errors import InvalidParameter
from stead_controller.resources.storage import cron_expressions


def at(*parts):
    return datetime(*parts, tzinfo=UTC)


@pytest.mark.parametrize(
    ("text", "after", "found"),
    [
        ("cron(0 10 * * ? *)", at(2026, 3, 4, 9, 59), at(2026, 3, 4, 10)),
        ("cron(0 10 * * ? *)", at(2026, 3, 4, 10), at(2026, 3, 5, 10)),
        ("cron(15 12 * * ? *)", at(2026, 12, 31, 13), at(2027, 1, 1, 12, 15)),
        ("cron(0 18 ? * MON-FRI *)", at(2026, 3, 6, 19), at(2026, 3, 9, 18)),
        ("cron(0 8 1 * ? *)", at(2026, 3, 1, 8, 0, 1), at(2026, 4, 1, 8)),
        ("cron(0/10 * ? * 2,4 *)", at(2026, 3, 3), at(2026, 3, 4)),
        ("cron(0/15 8-17 ? * mon-fri *)", at(2026, 3, 4, 17, 45), at(2026, 3, 5, 8)),
        ("cron(0 0 L * ? *)", at(2026, 2, 1), at(2026, 2, 28)),
        ("cron(30 6 29 FEB ? *)", at(2026, 1, 1), at(2028, 2, 29, 6, 30)),
        ("cron(0 0 1 1 ? 2030)", at(2026, 1, 1), at(2030, 1, 1)),
        ("cron(0 0 1 1 ? 2020-2022)", at(2026, 1, 1), None),
        ("cron(0 0 31 2 ? *)", at(2026, 1, 1), None),
    ],
)
def test_the_next_time(text, after, found):
    assert cron_expressions.parse(text).next_after(after) == found


@pytest.mark.parametrize(
    "text",
    [
        "",
        "cron()",
        "0 10 * * ? *",
        "cron(0 10 * * ?)",
        "cron(0 10 * * * *)",
        "cron(0 10 ? * ? *)",
        "cron(60 10 * * ? *)",
        "cron(0 24 * * ? *)",
        "cron(0 10 0 * ? *)",
        "cron(0 10 * 13 ? *)",
        "cron(0 10 ? * 8 *)",
        "cron(0 10 ? * FRI#2 *)",
        "cron(0 10 3W * ? *)",
        "cron(5-1 10 * * ? *)",
        "cron(*/0 10 * * ? *)",
        "cron(0,, 10 * * ? *)",
        "cron(0 10 * * ? 1969)",
        "cron(0 10 * * ? *)\n",
    ],
)
def test_what_is_none(text):
    with pytest.raises(InvalidParameter):
        cron_expressions.parse(text)


@given(
    minute=st.integers(0, 59),
    hour=st.integers(0, 23),
    moment=st.datetimes(at(2024, 1, 1).replace(tzinfo=None), at(2040, 1, 1).replace(tzinfo=None)),
)
def test_every_day_means_within_a_day(minute, hour, moment):
    moment = moment.replace(tzinfo=UTC)
    found = cron_expressions.parse(f"cron({minute} {hour} * * ? *)").next_after(moment)
    assert (found.hour, found.minute, found.second) == (hour, minute, 0)
    assert 0 < (found - moment).total_seconds() <= 86_400
