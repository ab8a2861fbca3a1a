"""From data points to the state of a metric alarm: M out of N, missing data, percentiles of few samples. Pure.

See https://docs.aws.amazon.com/AmazonCloudWatch/latest/monitoring/alarms-and-missing-data.html and
https://docs.aws.amazon.com/AmazonCloudWatch/latest/monitoring/percentiles-with-low-samples.html.
"""

import json
import operator
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final

from stead_controller.metrics.statistics import parse
from stead_controller.resources.metrics.alarm_definition import COMPARISONS, Definition
from stead_controller.resources.metrics.alarm_states import ALARM, INSUFFICIENT, OK, NewState

STEP: Final = 10
"""Seconds by which the evaluated time moves; it always ends at a multiple of them."""

MORE: Final = 2
"""Periods that are read beyond those evaluated, so that late data and a few missing ones do not count as missing."""

_WORDS: Final = (
    (operator.ge, "greater than or equal to"),
    (operator.gt, "greater than"),
    (operator.lt, "less than"),
    (operator.le, "less than or equal to"),
)
_TESTS: Final[Mapping[str, tuple[Callable[[float, float], bool], str]]] = dict(zip(COMPARISONS, _WORDS, strict=True))
_SHOWN: Final = 5  # data points in a reason
_SIGNIFICANT: Final = 10


@dataclass(frozen=True, slots=True)
class Window:
    """What an alarm is evaluated on: the last periods before `end`, in milliseconds; the oldest begins at `start`."""

    start: int
    end: int


@dataclass(frozen=True, slots=True)
class Point:
    """A data point: the start of its period in milliseconds, its value, and how many samples it is of, if known."""

    at: int
    value: float
    samples: float | None = None


def window(definition: Definition, now: datetime) -> Window:
    """Return which data decide at a time."""
    end = int(now.timestamp()) // STEP * STEP * 1000
    return Window(end - (definition.periods + MORE) * definition.period * 1000, end)


def evaluate(definition: Definition, points: Sequence[Point], state: str, span: Window) -> NewState | None:
    """Return the state by the data points of a window, sorted by time; None if it stays as it is.

    A returned state may be the one that there is.
    """
    needed = definition.periods if definition.to_alarm is None else definition.to_alarm
    recent = list(points)[-definition.periods :]
    if not _is_significant(definition, recent):
        return None
    breaching = sum(breaches(definition, one) for one in recent)
    filled = definition.periods - len(recent)
    new = _decide(definition, recent, breaching, filled, needed, span)
    if new is None or (new == state == INSUFFICIENT):
        return None
    return _told(definition, new, recent, breaching, filled, span)


def breaches(definition: Definition, point: Point) -> bool:
    """Tell whether a data point is beyond the threshold."""
    return _TESTS[definition.comparison][0](point.value, definition.threshold)


def _decide(  # noqa: PLR0917 - what a decision depends on
    definition: Definition, recent: Sequence[Point], breaching: int, filled: int, needed: int, span: Window
) -> str | None:
    policy = definition.missing or "missing"
    if policy == "breaching":
        return ALARM if breaching + filled >= needed else OK
    if breaching >= needed:
        return ALARM
    if policy == "notBreaching":
        return OK
    if not recent:
        return INSUFFICIENT if policy == "missing" else None
    if breaching < len(recent):
        return OK
    # All that is there breaches, and it is less than needed: enough if it is as old as what is needed.
    age = (span.end - recent[0].at) // (definition.period * 1000)
    return ALARM if policy == "missing" and age >= needed else None


def _is_significant(definition: Definition, recent: Sequence[Point]) -> bool:
    """Tell whether percentiles are of enough samples, if that is asked for."""
    if definition.low_samples != "ignore" or definition.measure is None:
        return True
    rank = parse(definition.measure.statistic).high or 0.0
    tail = min(rank, 1 - rank)
    if tail <= 0:
        return True
    return all(one.samples is None or one.samples * tail >= _SIGNIFICANT - 1e-9 for one in recent)


def _told(  # noqa: PLR0917 - what a reason tells
    definition: Definition, state: str, recent: Sequence[Point], breaching: int, filled: int, span: Window
) -> NewState:
    return NewState(state, _reason(definition, state, recent, breaching, filled), _data(definition, recent, span))


def _reason(definition: Definition, state: str, recent: Sequence[Point], breaching: int, filled: int) -> str:
    count = definition.periods
    if not recent:
        points = f"{count} datapoint{'s were' if count > 1 else ' was'}"
        if state == INSUFFICIENT:
            return f"Insufficient Data: {points} unknown."
        treated = "Breaching" if state == ALARM else "NonBreaching"
        return f"Threshold Crossed: no datapoints were received; {points} missing and treated as [{treated}]."
    shown = ", ".join(f"{one.value} ({_time(one.at)})" for one in [*reversed(recent)][:_SHOWN])
    number = breaching if state == ALARM else len(recent) - breaching
    words = _TESTS[definition.comparison][1]
    verb = ("was" if number == 1 else "were") + ("" if state == ALARM else " not")
    needed = definition.periods if definition.to_alarm is None else definition.to_alarm
    least = needed if state == ALARM else count - needed + 1
    before = OK if state == ALARM else ALARM
    missing = f" {filled} missing datapoints were filled in." if filled and definition.missing else ""
    return (
        f"Threshold Crossed: {number} out of the last {count} datapoints [{shown}] {verb} {words} the threshold "
        f"({definition.threshold}) (minimum {least} datapoint{'s' if least > 1 else ''} for {before} -> {state} "
        f"transition).{missing}"
    )


def _data(definition: Definition, recent: Sequence[Point], span: Window) -> str:
    measure = definition.measure
    found = {
        "version": "1.0",
        "queryDate": _iso(span.end),
        "startDate": _iso(recent[0].at if recent else span.start),
        "statistic": None if measure is None else measure.statistic,
        "unit": None if measure is None else measure.unit,
        "period": definition.period,
        "recentDatapoints": [one.value for one in recent[-50:]],
        "threshold": definition.threshold,
        "evaluatedDatapoints": [{"timestamp": _iso(one.at), "value": one.value} for one in [*reversed(recent)][:20]],
    }
    return json.dumps({name: value for name, value in found.items() if value is not None}, separators=(",", ":"))


def _time(at: int) -> str:
    return datetime.fromtimestamp(at / 1000, UTC).strftime("%d/%m/%y %H:%M:%S")


def _iso(at: int) -> str:
    return datetime.fromtimestamp(at / 1000, UTC).strftime("%Y-%m-%dT%H:%M:%S.000+0000")
