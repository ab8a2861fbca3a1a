"""Where months begin, in UTC; pure. Times are whole seconds since 1970."""

import calendar
from datetime import UTC, datetime
from typing import Final

from stead_controller.errors import InvalidParameter

_DAY: Final = 86400
_MOST: Final = 1200
LATEST: Final = 253402300799
"""The end of the year 9999."""


def require_time(moment: int) -> None:
    """Raise InvalidParameter for what is no time of a calendar."""
    if not 0 <= moment <= LATEST:
        raise InvalidParameter(f"{moment} is no time: it must lie between the years 1970 and 9999.")


def begin_of(moment: int) -> int:
    """Return when the month of a time began."""
    day = datetime.fromtimestamp(moment, UTC)
    return int(datetime(day.year, day.month, 1, tzinfo=UTC).timestamp())


def seconds_of(moment: int) -> int:
    """Return how long the month of a time is."""
    day = datetime.fromtimestamp(moment, UTC)
    return calendar.monthrange(day.year, day.month)[1] * _DAY


def begins_within(begin: int, end: int) -> list[int]:
    """List where months begin after one time and before another; raises InvalidParameter for more than a century."""
    found = []
    moment = begin_of(begin) + seconds_of(begin)
    while moment < end:
        found.append(moment)
        moment += seconds_of(moment)
        if len(found) > _MOST:
            raise InvalidParameter("A bill can be of a hundred years at most.")
    return found
