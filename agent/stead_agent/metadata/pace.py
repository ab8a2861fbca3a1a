"""When each request of a guest may be answered, so that one flooding guest cannot starve another.

A token bucket kept as one number: the moment at which the bucket would be full of turns again (GCRA). Requests above
the pace are not refused but wait for their turn; TCP then slows the sender, at no cost to us.
"""


class Pace:
    """The turns of one guest: `burst` at once, then `rate` per second."""

    __slots__ = ("_next", "_slack", "_step")

    def __init__(self, rate: float, burst: int) -> None:
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
        return max(0.0, turn - now)

    def hold(self, until: float) -> None:
        """Give no turn before this moment, and then one after the other: what goes by until then fills no bucket."""
        self._next = max(self._next, until)

    def rested(self, now: float) -> bool:
        """Tell whether the guest has asked so little lately that its pace may be forgotten."""
        return self._next <= now - self._slack
