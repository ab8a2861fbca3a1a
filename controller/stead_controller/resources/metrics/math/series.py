"""Time series, and what expressions are made of. Pure."""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace

from stead_controller.errors import InvalidParameter


@dataclass(frozen=True)
class Series:
    """Values by time in milliseconds, sorted; `period` in seconds."""

    points: Mapping[int, float]
    period: int
    label: str = ""

    def mapped(self, function: Callable[[float], float | None]) -> "Series":
        """Return it with each value replaced; None leaves the data point out."""
        found = ((at, function(value)) for at, value in self.points.items())
        return replace(self, points={at: value for at, value in found if value is not None})


type Value = float | Series | list[Series] | str


@dataclass(frozen=True, slots=True)
class Span:
    """The times of a request in milliseconds: data points begin at `start` or later, and before `end`."""

    start: int
    end: int
    origin: int = 0  # a time at which periods of every length begin

    def grid(self, period: int) -> range:
        """Return the times at which series of a period may have data points."""
        step = period * 1000
        return range(self.start + (self.origin - self.start) % step, self.end, step)


@dataclass(frozen=True, slots=True)
class Given:
    """What an expression may use: the times, and the period of series that it makes of numbers."""

    span: Span
    period: int
    metrics: Mapping[str, Series | list[Series]] = field(default_factory=dict)  # those of measures, for METRICS()


def merged(series: Sequence[Series], combine: Callable[[Sequence[float]], float]) -> Series:
    """Return one series of several: at each time the combination of the values that there are then."""
    times = sorted({at for one in series for at in one.points})
    found = {at: combine([one.points[at] for one in series if at in one.points]) for at in times}
    period = max((one.period for one in series), default=60)
    return Series(found, period)


def listed(value: Value, function: str) -> list[Series]:
    """Return a list of series, of one as of several; raises InvalidParameter for anything else."""
    if isinstance(value, Series):
        return [value]
    if isinstance(value, list):
        return value
    raise InvalidParameter(f"{function} needs a time series.")


def finite_of(value: Value) -> Value:
    """Return a value without the data points that are no numbers; raises InvalidParameter if it is none itself."""
    if isinstance(value, float) and not math.isfinite(value):
        raise InvalidParameter("The result is no number.")
    if isinstance(value, Series):
        return value.mapped(lambda one: one if math.isfinite(one) else None)
    return (
        [one.mapped(lambda each: each if math.isfinite(each) else None) for one in value]
        if isinstance(value, list)
        else value
    )


def single(value: Value, function: str) -> Series:
    """Return a series; raises InvalidParameter for anything else."""
    if not isinstance(value, Series):
        raise InvalidParameter(f"{function} needs one time series.")
    return value


def number(value: Value, function: str) -> float:
    """Return a number; raises InvalidParameter for anything else."""
    if isinstance(value, float):
        return value
    raise InvalidParameter(f"{function} needs a number there.")
