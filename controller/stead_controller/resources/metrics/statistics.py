"""The names of statistics: `Average`, `p99.9`, `tm10%:90%`. Pure.

See https://docs.aws.amazon.com/AmazonCloudWatch/latest/monitoring/Statistics-definitions.html.
"""

import re
from dataclasses import dataclass
from typing import Final

SIMPLE: Final = ("SampleCount", "Average", "Sum", "Minimum", "Maximum")

_PERCENTILE: Final = re.compile(r"p(\d{1,2}(?:\.\d{0,10})?|100)\Z")
_SHORT: Final = re.compile(r"(tm|wm|tc|ts)(\d{1,2}(?:\.\d{0,10})?|100)\Z")
_NUMBER: Final = r"-?\d+(?:\.\d+)?(?:[eE][+-]?\d+)?"
_RANGE: Final = re.compile(rf"(TM|WM|TC|TS|PR)\(({_NUMBER})?(%)?:({_NUMBER})?(%)?\)\Z", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Range:
    """A statistic of the values from `low` to `high`: percent if `percent`, else values; None is without a bound.

    `kind` is `tm` (trimmed mean), `wm` (winsorized mean), `tc` (trimmed count), `ts` (trimmed sum) or `pr` (percentile
    rank).
    """

    kind: str
    low: float | None
    high: float | None
    percent: bool


@dataclass(frozen=True, slots=True)
class Percentile:
    """The value below which this many percent of all values are."""

    rank: float


type Statistic = str | Percentile | Range


def parse(name: str) -> Statistic | None:
    """Return the statistic of a name, one of `SIMPLE` as it is; None if it is none."""
    if name in SIMPLE:
        return name
    if name.upper() == "IQM":
        return Range("tm", 25.0, 75.0, percent=True)
    if found := _PERCENTILE.match(name):
        return Percentile(float(found[1]))
    if found := _SHORT.match(name):
        return Range(found[1], None, float(found[2]), percent=True)
    if found := _RANGE.match(name):
        return _range(found)
    return None


def _range(found: re.Match[str]) -> Range | None:
    kind, low, low_percent, high, high_percent = found.groups()
    if low is None and high is None:
        return None
    percents = {bool(sign) for bound, sign in ((low, low_percent), (high, high_percent)) if bound is not None}
    stray = (low is None and low_percent) or (high is None and high_percent)
    if len(percents) != 1 or stray:
        return None
    percent = percents.pop()
    bounds = [None if bound is None else float(bound) for bound in (low, high)]
    if kind.lower() == "pr" and percent:
        return None
    if percent and any(bound is not None and not 0 <= bound <= 100 for bound in bounds):
        return None
    if bounds[0] is not None and bounds[1] is not None and bounds[0] >= bounds[1]:
        return None
    return Range(kind.lower(), bounds[0], bounds[1], percent)
