"""Cron expressions as EventBridge writes them: `cron(minutes hours day-of-month month day-of-week year)`. Pure.

See https://docs.aws.amazon.com/eventbridge/latest/userguide/eb-cron-expressions.html. Times are UTC. `W` and `#` are
not understood.
"""

import calendar
import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from typing import Final

from stead_controller.errors import InvalidParameter

_WHOLE: Final = re.compile(r"cron\(([^()\n]+)\)\Z")
_MONTHS: Final = {name.upper(): number for number, name in enumerate(calendar.month_abbr) if name}
_DAYS: Final = {name: number for number, name in enumerate(("SUN", "MON", "TUE", "WED", "THU", "FRI", "SAT"), 1)}
_ANY: Final = "?"
_LAST: Final = "L"
_SEARCHED_DAYS: Final = 8 * 366 + 1  # a 29 February comes at least once in so many


@dataclass(frozen=True, slots=True)
class Cron:
    """The times of a schedule; `last_day` is the last day of a month. An empty set of days is no condition."""

    minutes: tuple[int, ...]
    hours: tuple[int, ...]
    days: frozenset[int]
    last_day: bool
    months: frozenset[int]
    weekdays: frozenset[int]
    years: frozenset[int]

    def next_after(self, moment: datetime) -> datetime | None:
        """Return the first time after a moment; None when there is none in the next eight years."""
        day = moment.date()
        for _ in range(_SEARCHED_DAYS):
            if self._has(day):
                for hour in self.hours:
                    for minute in self.minutes:
                        found = datetime(day.year, day.month, day.day, hour, minute, tzinfo=UTC)
                        if found > moment:
                            return found
            day += timedelta(days=1)
        return None

    def _has(self, day: date) -> bool:
        if day.month not in self.months or day.year not in self.years:
            return False
        if self.weekdays:
            return day.isoweekday() % 7 + 1 in self.weekdays
        is_last = day.day == calendar.monthrange(day.year, day.month)[1]
        return day.day in self.days or (self.last_day and is_last)


def parse(text: str) -> Cron:
    """Read an expression; raises InvalidParameter."""
    whole = _WHOLE.match(text)
    fields = whole[1].split() if whole else []
    if len(fields) != 6:
        raise InvalidParameter(
            f"'{text}' is no cron expression: cron(minutes hours day-of-month month day-of-week year)"
        )
    minutes, hours, days, months, weekdays, years = (field.upper() for field in fields)
    if (days == _ANY) == (weekdays == _ANY):
        raise InvalidParameter("One of day-of-month and day-of-week must be '?', and only one.")
    last_day = days == _LAST
    return Cron(
        minutes=tuple(sorted(_values(minutes, range(60)))),
        hours=tuple(sorted(_values(hours, range(24)))),
        days=frozenset() if days in (_ANY, _LAST) else _values(days, range(1, 32)),
        last_day=last_day,
        months=_values(months, range(1, 13), _MONTHS),
        weekdays=frozenset() if weekdays == _ANY else _values(weekdays, range(1, 8), _DAYS),
        years=_values(years, range(1970, 2200)),
    )


def _values(field: str, known: Sequence[int], names: dict[str, int] | None = None) -> frozenset[int]:
    """Read one field: a list of values, ranges and steps."""
    found: set[int] = set()
    for part in field.split(","):
        base, slash, step_text = part.partition("/")
        first, dash, last = base.partition("-")
        if base == "*":
            begin, end = known[0], known[-1]
        else:
            begin = _value(first, known, names)
            end = _value(last, known, names) if dash else (known[-1] if slash else begin)
        step = 1
        if slash:
            if not (step_text.isascii() and step_text.isdigit()) or int(step_text) == 0:
                raise InvalidParameter(f"'{part}' has no step in a cron expression.")
            step = int(step_text)
        if begin > end:
            raise InvalidParameter(f"'{part}' is no range in a cron expression.")
        found.update(range(begin, end + 1, step))
    return frozenset(found)


def _value(text: str, known: Sequence[int], names: dict[str, int] | None) -> int:
    value = (names or {}).get(text)
    if value is None and text.isascii() and text.isdigit() and len(text) <= 4:
        value = int(text)
    if value is None or value not in known:
        raise InvalidParameter(f"'{text}' is not a value of its field in a cron expression.")
    return value
