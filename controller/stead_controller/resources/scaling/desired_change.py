"""From a policy's wish to a group's desired capacity: warm-up, the group's bounds, and metric values to targets. Pure.

See https://docs.aws.amazon.com/autoscaling/ec2/userguide/as-scaling-target-tracking.html and
https://docs.aws.amazon.com/autoscaling/ec2/userguide/ec2-auto-scaling-default-instance-warmup.html.
"""

import math
from dataclasses import dataclass
from typing import Final

_TOLERANCE: Final = 1e-9  # what floating point adds to a ratio is no instance


@dataclass(frozen=True, slots=True)
class Size:
    """A group's desired capacity and bounds, and what of it counts for metrics already.

    `counted` is the capacity in service whose warm-up is over. The rest of `desired` is `warming` if instances were
    launched for it; if not, it is missing, because launches fail.
    """

    desired: int
    minimum: int
    maximum: int
    counted: int
    warming: bool = False

    def bounded(self, capacity: int) -> int:
        """Return the capacity that is nearest to one within the group's bounds."""
        return min(max(capacity, self.minimum), self.maximum)


def with_warm_up(size: Size, wanted: int) -> int | None:
    """Return the new desired capacity if a policy wants so much, computed from `counted`; None if it stays.

    What is desired already counts towards what is to be added, so one breach adds instances once. Nothing is removed
    while instances warm up.
    """
    wanted = size.bounded(wanted)
    if wanted > size.desired or (wanted < size.desired and not size.warming):
        return wanted
    return None


def tracked(size: Size, value: float, target: float, *, scale_in: bool) -> int | None:
    """Return the new desired capacity that brings a metric to its target; None if it stays.

    The capacity is in proportion to the metric and rounded up; one instance is counted of a group that is to have
    none. What scales out never removes, and the contrary.
    """
    capacity = size.counted if size.desired else max(size.counted, 1)
    new = with_warm_up(size, math.ceil(capacity * value / target - _TOLERANCE))
    return new if new is not None and (new < size.desired) == scale_in else None
