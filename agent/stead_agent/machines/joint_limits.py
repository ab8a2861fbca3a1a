"""Divides what all volumes of a guest together may do among them: pure.

A figure is a rate: bytes per second, or operations per second. Each is divided for itself, so a volume of long requests
and one of many short ones leave each other what they do not need.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

_FLOORS: Final = 25
"""One part in so many is kept for volumes that do nothing, so that these can begin before they get their share."""
_HEADROOM: Final = 1.125
"""So much of what it uses a volume may use that does not use its whole share, when others want more."""
_SATURATED: Final = 0.92
"""A volume that uses so much of its share would use more of it: above 1 / `_HEADROOM`."""
_NOTABLE: Final = 0.05  # shares that differ by no more than that stay as they are


@dataclass(frozen=True, slots=True)
class Want:
    """A volume: its own limit (0 = none), the share that it has (0 = not known), and the rate at which it used that."""

    own: int
    share: int = 0
    used: float = 0.0

    @property
    def is_saturated(self) -> bool:
        """Whether it would use more than its share, as far as is known."""
        return self.used >= _SATURATED * self.share


def total(limit: int, wants: Sequence[Want]) -> int:
    """Return what the volumes' own limits allow together; without one of its own a volume has all."""
    return sum(_caps(limit, wants))


def divide(limit: int, wants: Sequence[Want]) -> tuple[int, ...]:
    """Return the share of each volume: at least 1, at most its own limit, and together at most `limit`.

    `limit` must be at least the number of volumes. If their own limits are within it, these are the shares. If not, a
    volume that does not use its share keeps somewhat more than it uses, and no less than a small part; the rest is for
    those that want more, alike. What nobody wants is for all alike.
    """
    caps = _caps(limit, wants)
    least = max(1, limit // (_FLOORS * len(wants)))
    wishes = [
        cap if want.is_saturated else min(cap, max(least, int(_HEADROOM * want.used)))
        for cap, want in zip(caps, wants, strict=True)
    ]
    shares = _filled(limit, wishes)
    more = _filled(limit - sum(shares), [cap - share for cap, share in zip(caps, shares, strict=True)])
    return tuple(share + added for share, added in zip(shares, more, strict=True))


def is_worth_it(limit: int, wants: Sequence[Want], shares: Sequence[int]) -> bool:
    """Tell whether shares that were computed anew are to replace those that the volumes have.

    That is so when a volume has too much or they have together, when one wants more and gets it, and when one that does
    not would begin with less than half of its new share. Own limits that are within the limit together are exact.
    """
    caps, has = _caps(limit, wants), [want.share for want in wants]
    if sum(caps) <= limit:
        return has != caps
    if sum(has) > limit or any(not 0 < share <= cap for share, cap in zip(has, caps, strict=True)):
        return True
    return any(
        share - want.share > (_NOTABLE if want.is_saturated else 1.0) * want.share
        for want, share in zip(wants, shares, strict=True)
    )


def _caps(limit: int, wants: Sequence[Want]) -> list[int]:
    return [min(want.own or limit, limit) for want in wants]


def _filled(amount: int, wishes: Sequence[int]) -> list[int]:
    """Give all wishes alike until they are met or the amount is gone; small ones are met first."""
    given = [0] * len(wishes)
    left = len(wishes)
    for number in sorted(range(len(wishes)), key=lambda each: wishes[each]):
        given[number] = min(wishes[number], amount // left)
        amount -= given[number]
        left -= 1
    return given
