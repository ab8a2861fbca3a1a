"""How many instances a simple or a step scaling policy wants: adjustments, their rounding, and their intervals. Pure.

See https://docs.aws.amazon.com/autoscaling/ec2/userguide/as-scaling-simple-step.html.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Final

from stead_controller.errors import InvalidParameter

CHANGE: Final = "ChangeInCapacity"
EXACT: Final = "ExactCapacity"
PERCENT: Final = "PercentChangeInCapacity"
ADJUSTMENT_TYPES: Final = (CHANGE, EXACT, PERCENT)

MOST_STEPS: Final = 20


@dataclass(frozen=True, slots=True)
class Step:
    """An adjustment for metric values from `lower` to `upper` above the alarm's threshold; None is without end."""

    lower: float | None
    upper: float | None
    adjustment: int


def changed(capacity: int, kind: str, adjustment: int, magnitude: int = 0) -> int:
    """Return the capacity after an adjustment of this type, at least 0.

    A percentage is rounded towards zero, but never to zero; it changes the capacity by `magnitude` or more.
    """
    if kind == EXACT:
        return max(0, adjustment)
    if kind == CHANGE:
        return max(0, capacity + adjustment)
    assert kind == PERCENT
    by = abs(capacity * adjustment) // 100
    if capacity * adjustment:
        by = max(by, 1)
    by = max(by, magnitude)
    return max(0, capacity + int(math.copysign(by, adjustment)) if adjustment else capacity)


def step_of(steps: Sequence[Step], difference: float) -> Step | None:
    """Return the step of a metric value that differs from the threshold so; None if no step is for it.

    Above the threshold a step's lower bound belongs to it, and below the threshold its upper one.
    """
    for step in steps:
        lower = -math.inf if step.lower is None else step.lower
        upper = math.inf if step.upper is None else step.upper
        if lower <= difference < upper if difference >= 0 else lower < difference <= upper:
            return step
    return None


def check(steps: Sequence[Step], kind: str) -> None:
    """Raise InvalidParameter unless the steps are intervals without overlap or gap that end as they have to."""
    if len(steps) > MOST_STEPS:
        raise InvalidParameter(f"A step scaling policy has at most {MOST_STEPS} step adjustments.")
    if kind == EXACT and any(step.adjustment < 0 for step in steps):
        raise InvalidParameter("An exact capacity must not be negative.")
    for step in steps:
        if step.lower is None and step.upper is None:
            raise InvalidParameter("The lower and the upper bound of a step adjustment must not both be null.")
        if step.lower is not None and step.upper is not None and step.lower >= step.upper:
            raise InvalidParameter("The upper bound of a step adjustment must be greater than its lower bound.")
    _check_ends(steps)
    ordered = sorted(steps, key=lambda step: -math.inf if step.lower is None else step.lower)
    for before, after in pairwise(ordered):
        assert after.lower is not None, "at most one lower bound is null, and it is the first"
        if before.upper is None or before.upper > after.lower:
            raise InvalidParameter("Step adjustment intervals must not overlap.")
        if before.upper < after.lower:
            raise InvalidParameter("Step adjustment intervals must not have a gap between them.")


def _check_ends(steps: Sequence[Step]) -> None:
    lowers = [step.lower for step in steps if step.lower is not None]
    uppers = [step.upper for step in steps if step.upper is not None]
    if len(steps) - len(lowers) > 1 or len(steps) - len(uppers) > 1:
        raise InvalidParameter(
            "At most one step adjustment has a null lower bound, and at most one a null upper bound."
        )
    if min(lowers, default=0) < 0 and len(lowers) == len(steps):
        raise InvalidParameter("With a negative lower bound there must be a step adjustment with a null lower bound.")
    if max(uppers, default=0) > 0 and len(uppers) == len(steps):
        raise InvalidParameter("With a positive upper bound there must be a step adjustment with a null upper bound.")
