"""When an event window is open: time ranges or a cron expression become hours of the week, in UTC.

An hour of the week is its number since Sunday 00:00. See
https://docs.aws.amazon.com/AWSEC2/latest/UserGuide/event-windows.html.
"""

from collections.abc import Iterable, Mapping
from datetime import UTC, datetime, timedelta
from typing import Final

from stead_controller.errors import InvalidParameter

DAYS: Final = ("sunday", "monday", "tuesday", "wednesday", "thursday", "friday", "saturday")
WEEK: Final = 7 * 24
"""The hours of a week."""

_LONGEST: Final = 255
_HOUR: Final = timedelta(hours=1)
_LEAST_OF_RANGE: Final = 2
_LEAST_OF_WEEK: Final = 4
_FIELDS: Final = 5
_DAY_NUMBERS: Final[Mapping[str, int]] = {
    name: number for number, day in enumerate(DAYS) for name in (str(number), day[:3].upper())
}
_HOUR_NUMBERS: Final[Mapping[str, int]] = {str(hour): hour for hour in range(24)}


def of_ranges(ranges: Iterable[tuple[int, int]]) -> frozenset[int]:
    """Return the hours of ranges, each an hour of the week and the one at which it ends, perhaps in the next week.

    Raises InvalidParameter for a range of less than two hours, or less than four in all.
    """
    return _long_enough((start, (end - start) % WEEK) for start, end in ranges)


def of_cron(expression: str) -> frozenset[int]:
    """Return the hours of a cron expression, as `* 0-4,20-23 * * 1,5`; raises InvalidParameter as EC2 documents.

    Hours are ranges, of which the last hour is the end; days are one or several of 0 to 6 or SUN to SAT, or all.
    """
    fields = expression.split(" ")
    if len(expression) > _LONGEST or len(fields) != _FIELDS or [fields[0], *fields[2:4]] != ["*"] * 3:
        raise _bad_cron(expression, "it has five fields, of which only hour and day of the week may differ from *")
    try:
        days = range(7) if fields[4] == "*" else [_DAY_NUMBERS[day] for day in fields[4].split(",")]
    except KeyError:
        raise _bad_cron(expression, "days of the week are 0 to 6 or SUN to SAT") from None
    hours = [_hours(expression, part) for part in fields[1].split(",")]
    return _long_enough((day * 24 + start, end - start) for day in days for start, end in hours)


def first_time(hours: frozenset[int], earliest: datetime) -> datetime:
    """Return the first time from `earliest` on that is in some hours of the week: that itself, or when one begins."""
    moment = earliest.astimezone(UTC)
    while _hour_of_week(moment) not in hours:
        moment = moment.replace(minute=0, second=0, microsecond=0) + _HOUR
    return moment


def _hours(expression: str, part: str) -> tuple[int, int]:
    """Return the bounds of a range of hours of a day; raises InvalidParameter for what is none."""
    start, end = (_HOUR_NUMBERS.get(bound) for bound in part.partition("-")[::2])
    if start is None or end is None or end <= start:
        raise _bad_cron(expression, "hours are one or several ranges, as 0-4,20-23")
    return start, end


def _hour_of_week(moment: datetime) -> int:
    return moment.isoweekday() % 7 * 24 + moment.hour


def _long_enough(ranges: Iterable[tuple[int, int]]) -> frozenset[int]:
    """Return the hours of ranges that are given by start and length."""
    hours: set[int] = set()
    for start, length in ranges:
        if length < _LEAST_OF_RANGE:
            raise InvalidParameter("Each time range of an event window must be at least 2 hours long.")
        hours.update((start + hour) % WEEK for hour in range(length))
    if len(hours) < _LEAST_OF_WEEK:
        raise InvalidParameter("The time ranges of an event window must be at least 4 hours a week in all.")
    return frozenset(hours)


def _bad_cron(expression: str, why: str) -> InvalidParameter:
    return InvalidParameter(f"Value ({expression}) for parameter cronExpression is invalid: {why}.")
