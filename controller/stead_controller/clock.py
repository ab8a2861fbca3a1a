"""The controller's only source of wall-clock time, so that tests can set it; and detection that the clock was set."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Final

type Clock = Callable[[], datetime]

_LEAST_STEP: Final = timedelta(seconds=3)  # smaller differences occur between clocks on busy machines and are harmless


def now() -> datetime:
    """Return the present time, aware, in UTC, in whole milliseconds as the database stores it."""
    present = datetime.now(UTC)
    return present.replace(microsecond=present.microsecond // 1000 * 1000)


@dataclass(frozen=True, slots=True)
class Look:
    """A reading of both clocks at the same moment.

    `step` is by how much the wall clock was set since the last reading passed to `take`, zero if it was not; `since` is
    what the wall clock would have shown at that last reading, had it been set already.
    """

    now: datetime
    moment: float
    step: timedelta
    since: datetime


class ClockSteps:
    """Detects that the wall clock was set, by comparing it with a monotonic clock; to be used on one event loop.

    Time that the machine was suspended counts as a step as well: the monotonic clock does not include it.
    """

    def __init__(self, clock: Clock, monotonic: Callable[[], float] = time.monotonic) -> None:
        """Start from the present readings of both clocks."""
        self._clock = clock
        self._monotonic = monotonic
        self._seen = (clock(), monotonic())
        self._forward: list[tuple[float, timedelta]] = []

    def look(self) -> Look:
        """Read both clocks; the same step is reported again until the reading is passed to `take`."""
        present, moment = self._clock(), self._monotonic()
        since = present - timedelta(seconds=moment - self._seen[1])
        step = since - self._seen[0]
        return Look(present, moment, step if abs(step) >= _LEAST_STEP else timedelta(), since)

    def take(self, look: Look) -> None:
        """Make this reading the new reference: its step has been handled."""
        self._seen = (look.now, look.moment)
        if look.step > timedelta():
            self._forward.append((look.moment, look.step))

    def forward_within(self, period: timedelta) -> timedelta:
        """Return by how much in total the clock was set forward in a period that ends with the last reading taken."""
        begin = self._seen[1] - period.total_seconds()
        self._forward = [(moment, step) for moment, step in self._forward if moment >= begin]
        return sum((step for _, step in self._forward), timedelta())
