"""When a scheduled action happens: five fields of cron, in a time zone. Pure.

The fields are minute, hour, day of the month, month and day of the week. As in Unix's cron, an action with both days
restricted happens on either; a field that begins with * restricts nothing. A time that clocks skip in spring happens
when they have skipped it, and one that they show twice in autumn happens the first time. See crontab(5) and
https://docs.aws.amazon.com/autoscaling/ec2/userguide/ec2-auto-scaling-scheduled-scaling.html.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from functools import cache
from typing import Final
from zoneinfo import ZoneInfo, available_timezones

from stead_controller.errors import InvalidParameter

_MONTHS: Final = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")
_DAYS: Final = ("sun", "mon", "tue", "wed", "thu", "fri", "sat")
_FIELDS: Final[Sequence[tuple[str, int, int, Mapping[str, int]]]] = (
    ("minute", 0, 59, {}),
    ("hour", 0, 23, {}),
    ("day of the month", 1, 31, {}),
    ("month", 1, 12, {name: number for number, name in enumerate(_MONTHS, 1)}),
    ("day of the week", 0, 7, {name: number for number, name in enumerate(_DAYS)}),
)
_PART: Final = re.compile(
    r"(?:(?P<all>\*)|(?P<first>[a-z]{3}|[0-9]{1,2})(?:-(?P<last>[a-z]{3}|[0-9]{1,2}))?)(?:/(?P<step>[0-9]{1,2}))?\Z"
)
_FARTHEST_DAYS: Final = 41 * 366  # 29 February on a day of the week, past a century without
_LEAP_YEAR: Final = 2000


@dataclass(frozen=True, slots=True)
class Recurrence:
    """The times that an expression means; of `weekdays`, 0 is Sunday. A day is in both sets, or in `either`."""

    minutes: Sequence[int]
    hours: Sequence[int]
    days: frozenset[int]
    months: frozenset[int]
    weekdays: frozenset[int]
    either: bool

    def next(self, after: datetime, zone: str) -> datetime | None:
        """Return the first time after another, both in UTC; None if there is none within forty years."""
        clock = ZoneInfo(zone)
        day = after.astimezone(clock).date() - timedelta(days=1)
        for _ in range(_FARTHEST_DAYS):
            if self._is_on(day):
                found = [at for at in self._times(day, clock) if at > after]
                if found:
                    return min(found)
            day += timedelta(days=1)
        return None

    def _is_on(self, day: date) -> bool:
        if day.month not in self.months:
            return False
        by_month, by_week = day.day in self.days, day.isoweekday() % 7 in self.weekdays
        return (by_month or by_week) if self.either else (by_month and by_week)

    def _times(self, day: date, clock: ZoneInfo) -> list[datetime]:
        return [
            datetime.combine(day, time(hour, minute), clock).astimezone(UTC)
            for hour in self.hours
            for minute in self.minutes
        ]


def parse(text: str) -> Recurrence:
    """Read an expression; raises InvalidParameter, also if it means no day at all."""
    written = text.lower().split()
    if len(written) != len(_FIELDS):
        raise InvalidParameter(f"Recurrence must have {len(_FIELDS)} fields of cron: '{text[:100]}'.")
    minutes, hours, days, months, weekdays = (
        _values(part, *field) for part, field in zip(written, _FIELDS, strict=True)
    )
    either = not (written[2].startswith("*") or written[4].startswith("*"))
    weekdays = frozenset(day % 7 for day in weekdays)
    if not either and not _has_day(days, months):
        raise InvalidParameter(f"Recurrence means a day that no month has: '{text[:100]}'.")
    return Recurrence(sorted(minutes), sorted(hours), days, months, weekdays, either)


def check_zone(zone: str) -> None:
    """Raise InvalidParameter unless it is the name of a time zone."""
    if zone not in _zones():
        raise InvalidParameter(f"The time zone '{zone[:100]}' is not one of IANA's.")


def _has_day(days: frozenset[int], months: frozenset[int]) -> bool:
    """Tell whether one of these months has one of these days, in a leap year."""
    return any((date(_LEAP_YEAR, month, 1) + timedelta(days=min(days) - 1)).month == month for month in months)


@cache
def _zones() -> frozenset[str]:
    return frozenset(available_timezones())


def _values(text: str, name: str, lowest: int, highest: int, names: Mapping[str, int]) -> frozenset[int]:
    """Return the numbers that a field means."""
    found: set[int] = set()
    for part in text.split(","):
        match = _PART.match(part)
        if match is None:
            raise _invalid(part, name)
        step = int(match["step"] or 1)
        if match["all"]:
            first, last = lowest, highest
        else:
            first = _number(match["first"], name, names)
            last = _number(match["last"], name, names) if match["last"] else highest if match["step"] else first
        if not lowest <= first <= last <= highest or step < 1:
            raise _invalid(part, name)
        found.update(range(first, last + 1, step))
    return frozenset(found)


def _number(text: str, name: str, names: Mapping[str, int]) -> int:
    if text.isdigit():
        return int(text)
    if text not in names:
        raise _invalid(text, name)
    return names[text]


def _invalid(part: str, name: str) -> InvalidParameter:
    return InvalidParameter(f"'{part[:40]}' is no {name} of a Recurrence.")
