"""Which unit of work is next: none twice at a time, failing ones later and later, waiting ones when others have run.

Knows no clock and no threads: the caller gives the time in seconds and says what became of each unit it took.
"""

import heapq
import random
from collections import deque
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from stead_agent.wanted import Key

if TYPE_CHECKING:
    from stead_proto.v1.desired_pb2 import Kind

FIRST_RETRY_SECONDS: Final = 0.5
LAST_RETRY_SECONDS: Final = 60.0
FALLBACK_SECONDS: Final = 30.0
"""A unit that waits for another looks again after this time, even if nothing seems to have moved."""


@dataclass(slots=True)
class _Unit:
    """What is known of a unit that is not settled, or once failed."""

    ready: bool = False
    running: bool = False
    touched: bool = False  # while it ran
    noticed: bool = False  # while it ran
    due: bool = False  # its timer came while it ran
    look_only: bool = False
    failures: int = 0
    timer: int = 0  # number of the valid timer, 0 = none


@dataclass(frozen=True, slots=True)
class Turn:
    """A unit whose turn it is. With `look_only` it failed not long ago: report what is seen, change nothing."""

    unit: Key
    look_only: bool = False


class Schedule:
    """The units that have work to do."""

    def __init__(self, limits: Mapping["Kind.ValueType", int], randomness: random.Random | None = None) -> None:
        """Take at most so many units of a kind at a time; kinds come first in the order of `limits`."""
        self._limits = dict(limits)
        self._random = randomness or random.Random()
        self._units: dict[Key, _Unit] = {}
        self._ready: dict[Kind.ValueType, deque[Key]] = {kind: deque() for kind in limits}
        self._running = dict.fromkeys(limits, 0)
        self._timers: list[tuple[float, int, Key]] = []
        self._timer_number = 0
        self._waiters: dict[Key, set[Key]] = {}

    @property
    def running(self) -> int:
        """How many units were taken and are not finished."""
        return sum(self._running.values())

    def touch(self, unit: Key) -> None:
        """What the unit must be has changed: it runs as soon as possible, and its failures are forgotten."""
        entry = self._units.setdefault(unit, _Unit())
        if entry.running:
            entry.touched = True
        else:
            entry.failures = 0
            self._make_ready(unit, entry, look_only=False)

    def notice(self, unit: Key) -> None:
        """Something happened to the unit by itself: it runs soon, but if it is failing, only to look."""
        entry = self._units.setdefault(unit, _Unit())
        if entry.running:
            entry.noticed = True
        else:
            self._make_ready(unit, entry, look_only=entry.failures > 0)

    def take(self, now: float) -> Turn | None:
        """Give the next unit, or None while none may run; say what became of it by `settle`, `wait` or `fail`."""
        while self._timers and self._timers[0][0] <= now:
            _, number, unit = heapq.heappop(self._timers)
            entry = self._units.get(unit)
            if entry is not None and entry.timer == number:
                entry.timer = 0
                if entry.running:
                    entry.due = True
                else:
                    self._make_ready(unit, entry, look_only=False)
        for kind, queue in self._ready.items():
            if queue and self._running[kind] < self._limits[kind]:
                unit = queue.popleft()
                entry = self._units[unit]
                entry.ready = False
                entry.running = True
                self._running[kind] += 1
                turn = Turn(unit, entry.look_only)
                entry.look_only = False
                return turn
        return None

    def settle(self, unit: Key) -> None:
        """The unit is as it must be."""
        entry = self._finish(unit)
        entry.failures = 0
        entry.timer = 0
        if not self._run_again(unit, entry):
            del self._units[unit]

    def wait(self, unit: Key, on: Iterable[Key], until: float) -> None:
        """The unit goes on when one of those units has run, or at `until` at the latest."""
        entry = self._finish(unit)
        entry.failures = 0
        if not self._run_again(unit, entry):
            for other in on:
                self._waiters.setdefault(other, set()).add(unit)
            self._set_timer(unit, entry, until)

    def fail(self, unit: Key, now: float) -> float:
        """The unit could not be made as it must be; returns the seconds until it is tried again."""
        entry = self._finish(unit)
        if entry.touched:
            self._run_again(unit, entry)
            return 0.0
        delay = min(LAST_RETRY_SECONDS, FIRST_RETRY_SECONDS * 2.0 ** min(entry.failures, 16))
        delay *= self._random.uniform(0.8, 1.2)
        entry.failures += 1
        self._set_timer(unit, entry, now + delay)
        self._run_again(unit, entry)  # only to look, if it was noticed: a failing try may itself cause what we notice
        return delay

    def looked(self, unit: Key) -> None:
        """The unit only looked, as it was told; its next try comes when it would have come."""
        self._run_again(unit, self._finish(unit))

    def next_time(self) -> float | None:
        """Tell when `take` may give something again without any `touch`, `notice` or finished unit."""
        while self._timers:
            time, number, unit = self._timers[0]
            entry = self._units.get(unit)
            if entry is not None and entry.timer == number:
                return time
            heapq.heappop(self._timers)
        return None

    def _make_ready(self, unit: Key, entry: _Unit, *, look_only: bool) -> None:
        if not entry.ready:
            entry.ready = True
            entry.look_only = look_only
            self._ready[unit.kind].append(unit)
        entry.look_only = entry.look_only and look_only
        if not look_only:
            entry.timer = 0

    def _run_again(self, unit: Key, entry: _Unit) -> bool:
        """Make a unit ready that was touched or noticed, or became due, while it ran."""
        if not (entry.touched or entry.noticed or entry.due):
            return False
        if entry.touched:
            entry.failures = 0
        self._make_ready(unit, entry, look_only=entry.failures > 0 and not entry.due)
        entry.touched = entry.noticed = entry.due = False
        return True

    def _finish(self, unit: Key) -> _Unit:
        """Note that the unit no longer runs, and let those that waited for it look again."""
        entry = self._units[unit]
        assert entry.running, unit
        entry.running = False
        self._running[unit.kind] -= 1
        for waiter in self._waiters.pop(unit, ()):
            if waiter in self._units and waiter != unit:
                self.notice(waiter)
        return entry

    def _set_timer(self, unit: Key, entry: _Unit, when: float) -> None:
        self._timer_number += 1
        entry.timer = self._timer_number
        heapq.heappush(self._timers, (when, self._timer_number, unit))
