"""CloudWatch's statistics by name, and those that need each value computed from values with weights.

Source: "CloudWatch statistics definitions" of the user guide. CloudWatch does not say how it interpolates; here, as in
Prometheus, the value at a share between two measurements lies linearly between them.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

SIMPLE: Final = frozenset({"Sum", "Average", "Minimum", "Maximum", "SampleCount"})

_PERCENTILE: Final = re.compile(r"p(\d{1,2}(?:\.\d{0,10})?|100)", re.IGNORECASE)
_SHORT: Final = re.compile(r"(tm|wm|tc|ts)(\d{1,2}(?:\.\d{0,10})?|100)", re.IGNORECASE)
_RANGE: Final = re.compile(r"(TM|WM|TC|TS|PR)\(([^:()]*):([^:()]*)\)", re.IGNORECASE)
_NUMBER: Final = re.compile(r"-?\d+(?:\.\d{1,10})?")

type Weighted = Sequence[tuple[float, float]]
"""Pairs of value and weight, the number of measurements that had this value."""


@dataclass(frozen=True, slots=True)
class Statistic:
    """A statistic that is taken apart: `kind` is in capitals, a name of SIMPLE, or P.

    Bounds are shares of the measurements, from 0 to 1, if `by_share`, else values; None is no bound.
    """

    kind: str
    low: float | None = None
    high: float | None = None
    by_share: bool = True


def parse(text: str) -> Statistic:
    """Take a statistic's name apart; raises ValueError."""
    if text in SIMPLE:
        return Statistic(text)
    if match := _PERCENTILE.fullmatch(text):
        return Statistic("P", high=float(match[1]) / 100)
    if text.upper() == "IQM":
        return Statistic("TM", 0.25, 0.75)
    if match := _SHORT.fullmatch(text):
        return Statistic(match[1].upper(), high=float(match[2]) / 100)
    if match := _RANGE.fullmatch(text):
        return _with_range(match[1].upper(), match[2].strip(), match[3].strip())
    raise ValueError(f"{text} is no statistic")


def _with_range(kind: str, low: str, high: str) -> Statistic:
    given = [bound for bound in (low, high) if bound]
    by_share = all(bound.endswith("%") for bound in given)
    if not given or (not by_share and any(bound.endswith("%") for bound in given)) or (by_share and kind == "PR"):
        raise ValueError(f"{kind}({low}:{high}) needs bounds of one kind")
    if not all(_NUMBER.fullmatch(bound.removesuffix("%")) for bound in given):
        raise ValueError(f"{kind}({low}:{high}) has a bound that is no number")
    bounds = [float(bound.removesuffix("%")) / (100 if by_share else 1) if bound else None for bound in (low, high)]
    first, last = bounds
    if first is not None and last is not None and first >= last:
        raise ValueError(f"{kind}({low}:{high}) has its bounds the wrong way round")
    if by_share and not all(bound is None or 0 <= bound <= 1 for bound in bounds):
        raise ValueError(f"{kind}({low}:{high}) has a bound outside of 0 to 100 %")
    return Statistic(kind, first, last, by_share)


def compute(statistic: Statistic, values: Weighted) -> float | None:
    """Return a statistic of values, of which there is at least one; None if none lies between the bounds.

    Only for kinds that need each value: P, TM, WM, TC, TS and PR.
    """
    ordered = sorted(values)
    if statistic.kind == "P":
        return _percentile(ordered, statistic.high or 0.0)
    low, high = _value_bounds(statistic, ordered)
    inside = [(value, weight) for value, weight in ordered if low <= value <= high]
    count = sum(weight for _, weight in inside)
    every = sum(weight for _, weight in ordered)
    if statistic.kind == "TC":
        return count
    if statistic.kind == "PR":
        return 100 * count / every
    if statistic.kind == "TS":
        return sum(value * weight for value, weight in inside)
    if statistic.kind == "WM":
        return sum(min(max(value, low), high) * weight for value, weight in ordered) / every
    return sum(value * weight for value, weight in inside) / count if count else None


def _value_bounds(statistic: Statistic, ordered: Weighted) -> tuple[float, float]:
    low, high = statistic.low, statistic.high
    if statistic.by_share:
        low = None if low is None else _percentile(ordered, low)
        high = None if high is None else _percentile(ordered, high)
    return ordered[0][0] if low is None else low, ordered[-1][0] if high is None else high


def _percentile(ordered: Weighted, share: float) -> float:
    """Return the value below which this share of the measurements lies; `ordered` are sorted by value."""
    rank = share * (sum(weight for _, weight in ordered) - 1)
    passed = 0.0
    before = ordered[0][0]
    for value, weight in ordered:
        if rank < passed:  # between the last measurement of the value before and the first of this one
            return before + (value - before) * (rank - passed + 1)
        passed += weight
        if rank <= passed - 1:
            return value
        before = value
    return ordered[-1][0]
