"""Forecasts what days to come will amount to, by those that are over; pure.

Each day is expected to be the mean of the days that are known, independently of others. Of so many days to come the sum
then has that many times the mean, and the variance s²(h + h²/n): that of h days, and of the mean of n ones.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from math import sqrt
from statistics import NormalDist, fmean, stdev
from typing import Final

LEAST_DAYS: Final = 3
"""How many days must be known."""


@dataclass(frozen=True, slots=True)
class Forecast:
    """What some time will amount to, and the bounds between which it will lie with the asked probability."""

    mean: float
    lower: float
    upper: float


def of_days(known: Sequence[float], days: float, level: int) -> Forecast:
    """Forecast the sum of so many days; `level` is the probability of the interval in percent."""
    mean = fmean(known)
    spread = stdev(known) * sqrt(days + days**2 / len(known))
    reach = NormalDist().inv_cdf(0.5 + level / 200) * spread
    return Forecast(mean * days, max(0.0, mean * days - reach), mean * days + reach)
