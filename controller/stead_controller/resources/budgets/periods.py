"""The periods of budgets, and the limits that are valid in them; pure. Times are whole seconds since 1970, in UTC."""

from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from typing import Final

from stead_controller.metering.usage_sums import Period

DAILY, MONTHLY, QUARTERLY, ANNUALLY, CUSTOM = "DAILY", "MONTHLY", "QUARTERLY", "ANNUALLY", "CUSTOM"
NEVER: Final = 3706473600
"""The end of a budget that has none: 2087-06-15, as in AWS."""

_DAY: Final = 86400
_MONTHS: Final = {MONTHLY: 1, QUARTERLY: 3, ANNUALLY: 12}

type Limits = Sequence[tuple[int, str]]
"""Amounts, each with the time from which it is valid; they ascend."""


def at(time_unit: str, begins: int, ends: int, moment: int) -> Period:
    """Return the period of a budget in which a moment lies: its first for an earlier one, its last for a later one."""
    if time_unit == CUSTOM:
        return Period(begins, ends)
    begin, end = _whole(time_unit, min(max(moment, begins), ends - 1))
    return Period(max(begin, begins), min(end, ends))


def before(time_unit: str, begins: int, ends: int, moment: int) -> Iterator[Period]:
    """Yield the period in which a moment lies, and those before it, the latest first."""
    while moment >= begins:
        found = at(time_unit, begins, ends, moment)
        yield found
        moment = found.begin - 1


def first_begin(time_unit: str, moment: int) -> int:
    """Return when the day, the month, the quarter or the year of a moment began; a custom one begins with its day."""
    return _whole(DAILY if time_unit == CUSTOM else time_unit, moment)[0]


def planned(time_unit: str, moment: int) -> list[int]:
    """Return when the months of a year, or its quarters, begin that are planned, from that of a moment on."""
    step = _MONTHS[time_unit]
    year, month = divmod(_month_of(moment) // step * step, 12)
    return [_begin(year * 12 + month + number * step) for number in range(12 // step)]


def limit(limits: Limits, period: Period) -> str:
    """Return the amount that is valid in a period: the last from its begin or before, or else the first."""
    valid = [amount for since, amount in limits if since <= period.begin]
    return valid[-1] if valid else limits[0][1]


def _whole(time_unit: str, moment: int) -> tuple[int, int]:
    if time_unit == DAILY:
        day = moment // _DAY * _DAY
        return day, day + _DAY
    step = _MONTHS[time_unit]
    month = _month_of(moment) // step * step
    return _begin(month), _begin(month + step)


def _month_of(moment: int) -> int:
    """Return the number of a moment's month, counted from the year 0."""
    day = datetime.fromtimestamp(moment, UTC)
    return day.year * 12 + day.month - 1


def _begin(month: int) -> int:
    return int(datetime(month // 12, month % 12 + 1, 1, tzinfo=UTC).timestamp())
