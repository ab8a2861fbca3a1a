"""What the operators of metric math do between numbers, series and lists of series. Pure."""

import math
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Final

from stead_controller.errors import InvalidParameter
from stead_controller.resources.metrics.math.series import Series, Value

type Of = Callable[[float, float], float | None]


def _divide(left: float, right: float) -> float | None:
    return left / right if right else None


def _power(left: float, right: float) -> float | None:
    try:
        found = left**right
    except (OverflowError, ZeroDivisionError):
        return None
    return found if isinstance(found, float) else None  # a complex number is none


BINARY: Final[Mapping[str, Of]] = {
    "+": lambda left, right: left + right,
    "-": lambda left, right: left - right,
    "*": lambda left, right: left * right,
    "/": _divide,
    "^": _power,
    "==": lambda left, right: float(left == right),
    "!=": lambda left, right: float(left != right),
    "<": lambda left, right: float(left < right),
    ">": lambda left, right: float(left > right),
    "<=": lambda left, right: float(left <= right),
    ">=": lambda left, right: float(left >= right),
    "AND": lambda left, right: float(bool(left) and bool(right)),
    "OR": lambda left, right: float(bool(left) or bool(right)),
}


def apply(operator: str, left: Value, right: Value) -> Value:
    """Apply an operator: to each data point of a series, to each series of a list. Raises InvalidParameter."""
    of = BINARY[operator]
    if isinstance(left, str) or isinstance(right, str):
        raise InvalidParameter(f"The operator {operator} cannot be applied to texts.")

    def flipped(one: float, other: float) -> float | None:
        return of(other, one)

    if isinstance(left, list):
        if isinstance(right, list):
            raise InvalidParameter(f"The operator {operator} cannot be applied to two lists of time series.")
        return [_between(one, right, of) for one in left]
    if isinstance(right, list):
        return [_between(one, left, flipped) for one in right]
    if isinstance(left, Series):
        return _between(left, right, of)
    if isinstance(right, Series):
        return _between(right, left, flipped)
    found = finite(of, left, right)
    if found is None:
        raise InvalidParameter(f"The result of {left} {operator} {right} is no number.")
    return found


def negative(value: Value) -> Value:
    """Return the negative of a value."""
    return apply("-", 0.0, value)


def _between(left: Series, right: float | Series, of: Of) -> Series:
    if not isinstance(right, Series):
        return left.mapped(_with_right(of, right))
    both = ((at, finite(of, value, right.points[at])) for at, value in left.points.items() if at in right.points)
    points = {at: value for at, value in both if value is not None}
    return replace(left, points=points, period=max(left.period, right.period))


def _with_right(of: Of, bound: float) -> Callable[[float], float | None]:
    return lambda value: finite(of, value, bound)


def finite(of: Of, left: float, right: float) -> float | None:
    """Return the result if it is a number that can be shown."""
    try:
        found = of(left, right)
    except OverflowError:
        return None
    return found if found is not None and math.isfinite(found) else None
