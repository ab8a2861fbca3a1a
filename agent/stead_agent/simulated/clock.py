"""The time of a simulated host: real seconds on an event loop, or seconds that a test advances."""

import asyncio
import heapq
import itertools
from collections.abc import Callable
from typing import Protocol


class Clock(Protocol):
    """Returns the time and calls back later."""

    def now(self) -> float:
        """Return the time in seconds."""

    def call_at(self, when: float, callback: Callable[[], None]) -> None:
        """Call back at that time, or soon if it has passed; may be called from any thread."""


class RealClock:
    """Seconds of an event loop, on which it also calls back."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop

    def now(self) -> float:
        """Return the loop's time."""
        return self._loop.time()

    def call_at(self, when: float, callback: Callable[[], None]) -> None:
        """Call back on the loop."""
        self._loop.call_soon_threadsafe(self._loop.call_at, when, callback)


class SteppedClock:
    """A clock that advances only by `step`."""

    def __init__(self) -> None:
        self._now = 0.0
        self._calls: list[tuple[float, int, Callable[[], None]]] = []
        self._numbers = itertools.count()

    def now(self) -> float:
        """Return the seconds stepped so far."""
        return self._now

    @property
    def is_quiet(self) -> bool:
        """Tell whether no callback is pending."""
        return not self._calls

    def call_at(self, when: float, callback: Callable[[], None]) -> None:
        """Call back within the `step` that reaches that time."""
        heapq.heappush(self._calls, (max(when, self._now), next(self._numbers), callback))

    def step(self, seconds: float) -> None:
        """Advance the time, calling back in order."""
        end = self._now + seconds
        while self._calls and self._calls[0][0] <= end:
            self._now, _, callback = heapq.heappop(self._calls)
            callback()
        self._now = end
