"""What a guest has saved of the rate that all its volumes together may have, and what that lets it do now: pure.

What it does not use of its baseline is saved, and spent on rates above that, up to the most. Nothing more is saved than
half an hour at the most spends (https://docs.aws.amazon.com/ebs/latest/userguide/ebs-optimization-performance.html).
With EC2's figures that is what most of its types save in a day in which they do nothing.

What is saved is a part of all that can be: from 0 to 1, and below 0 of a guest that has used too much.
"""

from dataclasses import dataclass
from typing import Final

from stead_proto.limits import EBS_BURST_SECONDS

EASE_SECONDS: Final = 10
"""A guest may spend so fast that what it has would last for so long: so it slows down gradually, and never overspends.

It is looked at far more often, once it has no more than that."""
_LEAST: Final = -0.01


@dataclass(frozen=True, slots=True)
class Terms:
    """A rate: what is always allowed, and what is allowed as long as something is saved."""

    baseline: int
    most: int

    @property
    def capacity(self) -> int:
        """The most that is saved, in bytes or operations; 0 when there is nothing to save for."""
        return (self.most - self.baseline) * EBS_BURST_SECONDS


def after(saved: float, terms: Terms, seconds: float, used: float) -> float:
    """Return what is saved after some time, in which the guest's volumes together did `used` bytes or operations."""
    if not terms.capacity:
        return 1.0
    return min(1.0, max(_LEAST, saved + (terms.baseline * seconds - used) / terms.capacity))


def allowed(saved: float, terms: Terms) -> int:
    """Return the rate that is allowed now."""
    return terms.baseline + min(terms.most - terms.baseline, int(max(0.0, saved) * terms.capacity / EASE_SECONDS))


def lasts(saved: float, terms: Terms, rate: int) -> float:
    """Return for how many seconds a rate is allowed before the guest begins to be slowed down; infinite if for ever."""
    above = min(rate, terms.most) - terms.baseline
    if above <= 0:
        return float("inf")
    return max(0.0, saved * terms.capacity - EASE_SECONDS * (terms.most - terms.baseline)) / above
