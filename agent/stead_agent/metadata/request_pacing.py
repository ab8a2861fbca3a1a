"""When each request of a guest may be answered, so that one flooding guest cannot starve another.

A token bucket kept as one number: the moment at which the bucket would be full of turns again (GCRA). Requests above
the pace are not refused but wait for their turn; TCP then slows the sender, at no cost to us.

Turns that are waited for come in bunches, at moments that all guests have in common, as timers do that have a slack:
to wake up for each of a flood's questions costs its neighbours more than to answer it.
"""

import math


class Pace:
    """The turns of one guest: `burst` at once, then `rate` per second, those of `bunch` seconds together.

    Who asks one question after the other keeps its rate if `burst` is more than the turns of a bunch.
    """

    __slots__ = ("_bunch", "_next", "_slack", "_step")

    def __init__(self, rate: float, burst: int, bunch: float) -> None:
        self._bunch = bunch
        self._step = 1 / rate
        self._slack = (burst - 1) * self._step
        self._next = float("-inf")

    def next_in(self, now: float) -> float:
        """Tell in how many seconds the next turn comes; 0 = now (monotonic seconds)."""
        return max(0.0, self._next - now)

    def wait(self, now: float) -> float:
        """Take the next turn and return the seconds until it comes."""
        turn = max(self._next, now - self._slack)
        self._next = turn + self._step
        return max(0.0, math.ceil(turn / self._bunch) * self._bunch - now) if turn > now else 0.0

    def hold(self, until: float) -> None:
        """Give no turn before this moment, and then one after the other: what goes by until then fills no bucket."""
        self._next = max(self._next, until)

    def rested(self, now: float) -> bool:
        """Tell whether the guest has asked so little lately that its pace may be forgotten."""
        return self._next <= now - self._slack
