"""The controller's only source of wall-clock time, so that tests can set it; and what notices that somebody set it."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Final

type Clock = Callable[[], datetime]

_LEAST_STEP: Final = timedelta(seconds=3)  # less is what clocks and busy machines differ by, and harms nobody


def now() -> datetime:
    """Give the present time, aware, in UTC, in whole milliseconds as the database keeps it."""
    present = datetime.now(UTC)
    return present.replace(microsecond=present.microsecond // 1000 * 1000)


@dataclass(frozen=True, slots=True)
class Look:
    """What both clocks say at once.

    `step` is by how much the wall clock was set since the last look that was `taken`, zero if it was not; `since` is
    what it would have said then, had it been so already.
    """

    now: datetime
    moment: float
    step: timedelta
    since: datetime


class ClockSteps:
    """Notices that the wall clock was set, by one that nobody sets; to be used on one event loop.

    A machine that slept is a step as well: the other clock does not count that.
    """

    def __init__(self, clock: Clock, monotonic: Callable[[], float] = time.monotonic) -> None:
        """Begin with what both clocks say now."""
        self._clock = clock
        self._monotonic = monotonic
        self._seen = (clock(), monotonic())
        self._forward: list[tuple[float, timedelta]] = []

    def look(self) -> Look:
        """Look at both clocks; the same step is found again until the look is taken."""
        present, moment = self._clock(), self._monotonic()
        since = present - timedelta(seconds=moment - self._seen[1])
        step = since - self._seen[0]
        return Look(present, moment, step if abs(step) >= _LEAST_STEP else timedelta(), since)

    def take(self, look: Look) -> None:
        """Go on from this look: what follows from its step is done."""
        self._seen = (look.now, look.moment)
        if look.step > timedelta():
            self._forward.append((look.moment, look.step))

    def forward_within(self, period: timedelta) -> timedelta:
        """Tell by how much in all the clock was set forward in a period that ends with the last look taken."""
        begin = self._seen[1] - period.total_seconds()
        self._forward = [(moment, step) for moment, step in self._forward if moment >= begin]
        return sum((step for _, step in self._forward), timedelta())
