"""Prices by tiers: what a unit costs depends on how many of the month's come before it; pure.

Tiers are those of AWS's price lists: each counts from `begin` until `end` of what an account uses of a kind in a month.
"""

from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal
from fractions import Fraction
from functools import cache
from itertools import pairwise

from stead_controller.errors import InvalidParameter


@dataclass(frozen=True, slots=True)
class Tier:
    """The price of one of the units from `begin` until `end`, which is not part of it; no end is None."""

    begin: Decimal
    end: Decimal | None
    price: Decimal


type Tiers = tuple[Tier, ...]
"""One or more, without gaps, from zero on and without an end."""


def flat(price: Decimal) -> Tiers:
    """Return the only tier of a price that is the same for all units."""
    return (Tier(Decimal(0), None, price),)


def require_whole(tiers: Sequence[Tier], where: str) -> None:
    """Raise InvalidParameter unless each unit has one price: no gap, no overlap, from 0 until Inf."""
    if not tiers:
        raise InvalidParameter(f"tiers of {where} has none.")
    if tiers[0].begin != 0:
        raise InvalidParameter(f"The first tier of {where} begins at {tiers[0].begin:f}, not at 0.")
    for tier in tiers:
        if tier.end is not None and tier.end <= tier.begin:
            raise InvalidParameter(
                f"A tier of {where} begins at {tier.begin:f} and ends at {tier.end:f}, not after it."
            )
    for one, following in pairwise(tiers):
        if one.end != following.begin:
            end = "Inf" if one.end is None else f"{one.end:f}"
            raise InvalidParameter(
                f"A tier of {where} ends at {end}, and the one after it begins at {following.begin:f}: "
                "each must begin where the one before it ends."
            )
    if tiers[-1].end is not None:
        raise InvalidParameter(f'The last tier of {where} ends at {tiers[-1].end:f}: its end must be "Inf".')


def shares(ends: Sequence[Fraction], before: int, amount: int) -> tuple[Fraction, ...]:
    """Return which share of an amount, more than none, is in each tier, if so much came before it; the sum is 1.

    `ends` are those of all tiers but the last one, in the same unit.
    """
    place, after = bisect_right(ends, before), before + amount
    if place == len(ends) or after <= ends[place]:
        return _all_in(place, len(ends) + 1)
    first, last = Fraction(before), Fraction(after)
    bounds = [first, *(min(max(end, first), last) for end in ends), last]
    return tuple((end - begin) / amount for begin, end in pairwise(bounds))


@cache
def _all_in(place: int, count: int) -> tuple[Fraction, ...]:
    return tuple(Fraction(number == place) for number in range(count))
