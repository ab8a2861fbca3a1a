"""Rate limit of a guest's requests, so that one flooding guest cannot starve another.

A token bucket stored as one number: the moment at which the bucket would be full again (GCRA). A token is called a
turn. Requests above the rate are not refused but wait for their turn; TCP then slows the sender, at no cost to us.

Waits end in groups, at moments that are the same for all guests, like timers with slack: a wake-up for each request
of a flood would cost its neighbours more than the answer.
"""

import math


class RequestPacing:
    """The turns of one guest: `burst` at once, then `rate` per second, those of `bunch` seconds together.

    A client that sends one request after the other reaches the rate if `burst` is more than the turns of a bunch.
    """

    __slots__ = ("_bunch", "_next", "_slack", "_step")

    def __init__(self, rate: float, burst: int, bunch: float) -> None:
        self._bunch = bunch
        self._step = 1 / rate
        self._slack = (burst - 1) * self._step
        self._next = float("-inf")

    def next_in(self, now: float) -> float:
        """Return the seconds until the next turn; 0 = now (monotonic seconds)."""
        return max(0.0, self._next - now)

    def wait(self, now: float) -> float:
        """Take the next turn and return the seconds until it comes."""
        token_time = max(self._next, now - self._slack)
        self._next = token_time + self._step
        return max(0.0, math.ceil(token_time / self._bunch) * self._bunch - now) if token_time > now else 0.0

    def hold(self, until: float) -> None:
        """Grant no turn before this moment, and then one after the other: the time until then refills no tokens."""
        self._next = max(self._next, until)

    def rested(self, now: float) -> bool:
        """Tell whether the guest has sent so few requests lately that this object may be discarded."""
        return self._next <= now - self._slack
