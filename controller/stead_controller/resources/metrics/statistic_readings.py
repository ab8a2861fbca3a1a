"""Reads the statistics of one metric as GetMetricStatistics answers them.

See https://docs.aws.amazon.com/AmazonCloudWatch/latest/APIReference/API_GetMetricStatistics.html.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Final

from stead_controller.errors import BadRequest, InvalidParameter
from stead_controller.metrics.datum import Store, Wanted
from stead_controller.resources.metrics import readings
from stead_controller.resources.metrics.measures import Measure, is_period

MAX_POINTS: Final = 1440

_INVALID: Final = "InvalidParameterValue"


@dataclass(slots=True)
class Point:
    """Statistics by name of the data of one unit in one period, which starts at `at`, in milliseconds."""

    at: int
    unit: str
    values: dict[str, float] = field(default_factory=dict)


def check(measures: Sequence[Measure], times: tuple[datetime, datetime]) -> None:
    """Raise InvalidParameter, or BadRequest with another code, unless this may be asked."""
    start, end = times
    period = measures[0].period
    if not is_period(period):
        raise InvalidParameter("The parameter Period must be 1, 5, 10, 20, 30 or a multiple of 60.", code=_INVALID)
    for measure in measures:
        try:
            measure.check_statistic()
        except InvalidParameter as error:
            raise InvalidParameter(error.message, code=_INVALID) from None
    if start >= end:
        message = "The parameter StartTime must be less than the parameter EndTime."
        raise BadRequest(message, code="InvalidParameterValue")
    if (end - start).total_seconds() / period > MAX_POINTS:
        message = f"You have requested more than {MAX_POINTS} data points: reduce the time, or choose a longer Period."
        raise BadRequest(message, code="InvalidParameterCombination")


async def read(
    store: Store, account_id: str, measures: Sequence[Measure], times: tuple[datetime, datetime], now: datetime
) -> list[Point]:
    """Return the statistics by time and unit; periods begin at the start, to the minute."""
    start, end = times
    period = measures[0].period
    if not readings.is_kept(period, start, now):
        return []
    unit = min(period, 60) * 1000
    first = int(start.timestamp() * 1000) // unit * unit
    last = first + -(-(int(end.timestamp() * 1000) - first) // (period * 1000)) * period * 1000
    wanted = [Wanted(one.metric.of(account_id), one.statistic, first, last, period, one.unit) for one in measures]
    points: dict[tuple[int, str], Point] = {}
    for measure, found in zip(measures, await store.read(wanted), strict=True):
        for of_unit in found:
            for at, value in of_unit.points:
                point = points.setdefault((at, of_unit.unit), Point(at, of_unit.unit))
                point.values[measure.statistic] = value
    return [points[key] for key in sorted(points)]
