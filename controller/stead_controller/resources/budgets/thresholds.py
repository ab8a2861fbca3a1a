"""Whether an amount crosses a threshold of a budget; pure."""

from dataclasses import dataclass
from fractions import Fraction

ACTUAL, FORECASTED = "ACTUAL", "FORECASTED"
PERCENTAGE, ABSOLUTE = "PERCENTAGE", "ABSOLUTE_VALUE"
GREATER, LESS, EQUAL = "GREATER_THAN", "LESS_THAN", "EQUAL_TO"


@dataclass(frozen=True, slots=True)
class Spent:
    """What a budget's period amounts to until now, and what it will at its end, None if that cannot be told yet."""

    actual: Fraction
    forecast: Fraction | None

    def of(self, kind: str) -> Fraction | None:
        """Return the amount that a notification of this type is about."""
        return self.actual if kind == ACTUAL else self.forecast


def amount(threshold: float, threshold_type: str, limit: Fraction) -> Fraction:
    """Return the amount of a threshold, which may be given in percent of the limit."""
    given = Fraction(str(threshold))
    return limit * given / 100 if threshold_type == PERCENTAGE else given


def crossed(comparison: str, spent: Fraction | None, threshold: Fraction) -> bool:
    """Tell whether an amount lies where somebody is to be told; one that is not known does not."""
    if spent is None:
        return False
    if comparison == EQUAL:
        return spent == threshold
    return spent > threshold if comparison == GREATER else spent < threshold
