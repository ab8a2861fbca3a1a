"""The times that Cost Explorer's operations take: checked, and divided by hours, days or months; pure."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from stead_controller.aws.ce import words
from stead_controller.errors import InvalidParameter
from stead_controller.metering import months

HOURLY, DAILY, MONTHLY = "HOURLY", "DAILY", "MONTHLY"
_STEPS: Final = {HOURLY: 3600, DAILY: 86400}
_DAY: Final = "%Y-%m-%d"
_HOUR: Final = "%Y-%m-%dT%H:%M:%SZ"
_FORMS: Final = {10: _DAY, 20: _HOUR}  # by their lengths
_MONTHS: Final = 14
_DAYS_OF_HOURS: Final = 14


@dataclass(frozen=True, slots=True)
class Times:
    """Where the parts of the asked time begin, and where the last ends: seconds since 1970."""

    granularity: str
    edges: tuple[int, ...]

    def shown(self, part: int) -> dict[str, str]:
        """Show one part as answers do."""
        return {"Start": self._text(self.edges[part]), "End": self._text(self.edges[part + 1])}

    def _text(self, edge: int) -> str:
        return f"{datetime.fromtimestamp(edge, UTC):{_HOUR if self.granularity == HOURLY else _DAY}}"


def read(period: Mapping[str, Any], granularity: str, now: datetime) -> Times:
    """Read a time in the past, to the end of this month; raises InvalidParameter as AWS does."""
    words.require(granularity, "Granularity", "granularity")
    begin, end = require_past(*bounds(period, hours=granularity == HOURLY), now)
    if granularity == HOURLY:
        require_recent(begin, now)
    return Times(granularity, parts(begin, end, granularity))


def require_past(begin: int, end: int, now: datetime) -> tuple[int, int]:
    """Return a time that lies between 14 months ago and the end of this month; raises InvalidParameter."""
    present = int(now.timestamp())
    if end > months.begin_of(present) + months.seconds_of(present):
        raise InvalidParameter("end date past the beginning of next month")
    earliest = months.begin_of(present)
    for _ in range(_MONTHS):
        earliest = months.begin_of(earliest - 1)
    if begin < earliest:
        raise InvalidParameter("You haven't enabled historical data beyond 14 months")
    return begin, end


def require_recent(begin: int, now: datetime) -> None:
    """Raise InvalidParameter for a time of which no hours, or resources, are told any more."""
    today = now.replace(hour=0, minute=0, second=0, microsecond=0)
    if begin < (today - timedelta(days=_DAYS_OF_HOURS)).timestamp():
        raise InvalidParameter(
            f"start date is too old for hourly, the max supported days for hourly granularity is {_DAYS_OF_HOURS} days."
        )


def bounds(period: Mapping[str, Any], *, hours: bool = False) -> tuple[int, int]:
    """Read both ends of a time, which are days unless `hours` are allowed too; raises InvalidParameter."""
    begin, end = (_moment(period[name], hours=hours) for name in ("Start", "End"))
    if begin >= end:
        raise InvalidParameter("Start date (and hour) should be before end date (and hour)")
    return begin, end


def parts(begin: int, end: int, granularity: str) -> tuple[int, ...]:
    """Divide a time by hours, days or months."""
    if granularity == MONTHLY:
        return (begin, *months.begins_within(begin, end), end)
    return (*range(begin, end, _STEPS[granularity]), end)


def _moment(text: str, *, hours: bool) -> int:
    form = _FORMS.get(len(text))
    try:
        found = datetime.strptime(text, form).replace(tzinfo=UTC) if form else None
    except ValueError:
        found = None
    if found is None:
        raise InvalidParameter(
            f"The time {text} is no date such as 2026-11-30, nor an hour such as 2026-11-30T00:00:00Z."
        )
    if form == _HOUR and not hours:
        raise InvalidParameter("Hourly timePeriod is not supported for this request")
    if found.minute or found.second:
        raise InvalidParameter(f"The time {text} must be of a whole hour.")
    if found.year < 1970:
        raise InvalidParameter(f"The time {text} is before 1970.")
    return int(found.timestamp())
