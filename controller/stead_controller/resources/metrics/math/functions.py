"""What the functions of metric math do. Pure.

See https://docs.aws.amazon.com/AmazonCloudWatch/latest/monitoring/using-metric-math.html#metric-math-syntax-functions-list.
"""

import math
import statistics
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from itertools import pairwise
from typing import Final

from stead_controller.errors import InvalidParameter
from stead_controller.resources.metrics.math.series import Given, Series, Value, listed, merged, number, single

type Function = Callable[[Given, Sequence[Value]], Value]

WORDS: Final = ("REPEAT", "LINEAR", "ASC", "DESC", "AVG", "SUM", "MIN", "MAX", "STDDEV", "DATAPOINT_COUNT")
"""Words in capitals that functions take as arguments."""

_TIMES: Final[Mapping[str, Callable[[datetime], float]]] = {
    "MINUTE": lambda at: float(at.minute),
    "HOUR": lambda at: float(at.hour),
    "DAY": lambda at: float(at.isoweekday()),
    "DATE": lambda at: float(at.day),
    "MONTH": lambda at: float(at.month),
    "YEAR": lambda at: float(at.year),
    "EPOCH": lambda at: at.timestamp(),
}


def _mean(values: Sequence[float]) -> float:
    return math.fsum(values) / len(values)


AGGREGATES: Final[Mapping[str, Callable[[Sequence[float]], float]]] = {
    "AVG": _mean,
    "SUM": math.fsum,
    "MIN": min,
    "MAX": max,
    "STDDEV": statistics.pstdev,
    "DATAPOINT_COUNT": lambda values: float(len(values)),
}


def _aggregate(name: str) -> Function:
    """Make a function that gives a number of one series, and a series of several."""
    combine = AGGREGATES[name]

    def function(given: Given, arguments: Sequence[Value]) -> Value:
        del given
        [value] = _exactly(name, arguments, 1)
        if isinstance(value, list):
            return merged(value, combine)
        values = list(single(value, name).points.values())
        if not values and name not in ("SUM", "DATAPOINT_COUNT"):
            return Series({}, single(value, name).period)
        return combine(values)

    return function


def _each(name: str, of: Callable[[float], float | None]) -> Function:
    """Make a function of each value."""

    def function(given: Given, arguments: Sequence[Value]) -> Value:
        del given
        [value] = _exactly(name, arguments, 1)
        if isinstance(value, float):
            found = of(value)
            if found is None:
                raise InvalidParameter(f"{name}({value}) is no number.")
            return found
        if isinstance(value, Series):
            return value.mapped(of)
        return [one.mapped(of) for one in listed(value, name)]

    return function


def _steps(name: str, of: Callable[[tuple[int, float], tuple[int, float]], float]) -> Function:
    """Make a function of each data point and the one before it; the first has none."""

    def steps(series: Series) -> Series:
        return replace(
            series, points={after[0]: of(before, after) for before, after in pairwise(series.points.items())}
        )

    def function(given: Given, arguments: Sequence[Value]) -> Value:
        del given
        [value] = _exactly(name, arguments, 1)
        return steps(value) if isinstance(value, Series) else [steps(one) for one in listed(value, name)]

    return function


def _time(name: str) -> Function:
    """Make a function of each data point's time, in UTC."""
    of = _TIMES[name]

    def function(given: Given, arguments: Sequence[Value]) -> Value:
        del given
        [value] = _exactly(name, arguments, 1)
        series = single(value, name)
        return replace(series, points={at: of(datetime.fromtimestamp(at / 1000, UTC)) for at in series.points})

    return function


def _running_sum(given: Given, arguments: Sequence[Value]) -> Value:
    del given
    [value] = _exactly("RUNNING_SUM", arguments, 1)

    def summed(series: Series) -> Series:
        total, points = 0.0, {}
        for at, one in series.points.items():
            total += one
            points[at] = total
        return replace(series, points=points)

    return summed(value) if isinstance(value, Series) else [summed(one) for one in listed(value, "RUNNING_SUM")]


def _fill(given: Given, arguments: Sequence[Value]) -> Value:
    value, filler = _exactly("FILL", arguments, 2)
    if isinstance(value, list):
        return [_filled(given, one, filler) for one in value]
    return _filled(given, single(value, "FILL"), filler)


def _filled(given: Given, series: Series, filler: Value) -> Series:
    grid = sorted({*given.span.grid(series.period), *series.points})
    if isinstance(filler, Series):
        return replace(
            series, points={at: one for at in grid if (one := series.points.get(at, filler.points.get(at))) is not None}
        )
    if isinstance(filler, float):
        return replace(series, points={at: series.points.get(at, filler) for at in grid})
    if filler not in ("REPEAT", "LINEAR"):
        raise InvalidParameter("FILL needs a number, REPEAT or LINEAR.")
    points: dict[int, float] = {}
    known = list(series.points.items())
    index = -1
    for at in grid:
        while index + 1 < len(known) and known[index + 1][0] <= at:
            index += 1
        if index < 0:
            continue
        before, value = known[index]
        points[at] = value
        if filler == "LINEAR":
            if index + 1 == len(known):
                continue
            after, next_value = known[index + 1]
            points[at] = value + (next_value - value) * (at - before) / (after - before)
    return replace(series, points=points)


def _if(given: Given, arguments: Sequence[Value]) -> Value:
    del given
    if len(arguments) not in (2, 3):
        raise InvalidParameter("IF needs a condition, and one or two values.")
    condition, then = arguments[:2]
    other = arguments[2] if len(arguments) == 3 else None
    if isinstance(condition, float):
        if condition:
            return then
        return Series({}, then.period if isinstance(then, Series) else 60) if other is None else other
    series = single(condition, "IF")
    choices = [one for one in (then, other) if isinstance(one, Series)]
    points = {}
    for at, holds in series.points.items():
        chosen = then if holds else other
        if isinstance(chosen, float):
            points[at] = chosen
        elif isinstance(chosen, Series) and at in chosen.points:
            points[at] = chosen.points[at]
        elif chosen is not None and not isinstance(chosen, Series):
            raise InvalidParameter("IF needs numbers or single time series as its values.")
    return Series(points, max([series.period, *(one.period for one in choices)]), series.label)


def _metrics(given: Given, arguments: Sequence[Value]) -> Value:
    if len(arguments) > 1 or (arguments and not isinstance(arguments[0], str)):
        raise InvalidParameter("METRICS needs nothing, or a text that ids contain.")
    part = arguments[0] if arguments else ""
    found: list[Series] = []
    for name, series in given.metrics.items():
        if isinstance(part, str) and part in name:
            found += series if isinstance(series, list) else [series]
    return found


def _first_or_last(name: str, index: int) -> Function:
    def function(given: Given, arguments: Sequence[Value]) -> Value:
        del given
        [value] = _exactly(name, arguments, 1)
        found = listed(value, name)
        return found[index] if found else Series({}, 60)

    return function


def _sort(given: Given, arguments: Sequence[Value]) -> Value:
    del given
    if len(arguments) not in (3, 4):
        raise InvalidParameter("SORT needs time series, a function, ASC or DESC, and perhaps how many.")
    series, by, order = listed(arguments[0], "SORT"), arguments[1], arguments[2]
    if not isinstance(by, str) or by not in AGGREGATES or order not in ("ASC", "DESC"):
        raise InvalidParameter(f"SORT needs one of {', '.join(AGGREGATES)}, and ASC or DESC.")
    with_data = [one for one in series if one.points]
    ordered = sorted(with_data, key=lambda one: AGGREGATES[by](list(one.points.values())), reverse=order == "DESC")
    ordered += [one for one in series if not one.points]
    return ordered[: int(number(arguments[3], "SORT"))] if len(arguments) == 4 else ordered


def _slice(given: Given, arguments: Sequence[Value]) -> Value:
    del given
    if len(arguments) not in (2, 3):
        raise InvalidParameter("SLICE needs time series, a first index, and perhaps the one after the last.")
    series = listed(arguments[0], "SLICE")
    bounds = [int(number(one, "SLICE")) for one in arguments[1:]]
    if len(bounds) == 2:
        return series[bounds[0] : bounds[1]]
    return series[bounds[0]] if 0 <= bounds[0] < len(series) else Series({}, 60)


def _remove_empty(given: Given, arguments: Sequence[Value]) -> Value:
    del given
    [value] = _exactly("REMOVE_EMPTY", arguments, 1)
    return [one for one in listed(value, "REMOVE_EMPTY") if one.points]


def _metric_count(given: Given, arguments: Sequence[Value]) -> Value:
    del given
    [value] = _exactly("METRIC_COUNT", arguments, 1)
    return float(len(listed(value, "METRIC_COUNT")))


def _period(given: Given, arguments: Sequence[Value]) -> Value:
    del given
    [value] = _exactly("PERIOD", arguments, 1)
    return float(single(value, "PERIOD").period)


def _time_series(given: Given, arguments: Sequence[Value]) -> Value:
    [value] = _exactly("TIME_SERIES", arguments, 1)
    constant = number(value, "TIME_SERIES")
    return Series(dict.fromkeys(given.span.grid(given.period), constant), given.period)


def _exactly(name: str, arguments: Sequence[Value], count: int) -> Sequence[Value]:
    if len(arguments) != count:
        raise InvalidParameter(f"{name} needs {count} argument{'s' if count > 1 else ''}.")
    return arguments


FUNCTIONS: Final[Mapping[str, Function]] = {
    **{name: _aggregate(name) for name in AGGREGATES},
    **{name: _time(name) for name in _TIMES},
    "ABS": _each("ABS", abs),
    "CEIL": _each("CEIL", lambda value: float(math.ceil(value))),
    "FLOOR": _each("FLOOR", lambda value: float(math.floor(value))),
    "LOG": _each("LOG", lambda value: math.log(value) if value > 0 else None),
    "LOG10": _each("LOG10", lambda value: math.log10(value) if value > 0 else None),
    "DIFF": _steps("DIFF", lambda before, after: after[1] - before[1]),
    "DIFF_TIME": _steps("DIFF_TIME", lambda before, after: (after[0] - before[0]) / 1000),
    "RATE": _steps("RATE", lambda before, after: (after[1] - before[1]) / ((after[0] - before[0]) / 1000)),
    "RUNNING_SUM": _running_sum,
    "FILL": _fill,
    "IF": _if,
    "METRICS": _metrics,
    "METRIC_COUNT": _metric_count,
    "FIRST": _first_or_last("FIRST", 0),
    "LAST": _first_or_last("LAST", -1),
    "SORT": _sort,
    "SLICE": _slice,
    "REMOVE_EMPTY": _remove_empty,
    "PERIOD": _period,
    "TIME_SERIES": _time_series,
}

ABSENT: Final = ("ANOMALY_DETECTION_BAND", "DB_PERF_INSIGHTS", "INSIGHT_RULE_METRIC", "LAMBDA", "SERVICE_QUOTA")
"""Functions that AWS documents and that are not here."""
