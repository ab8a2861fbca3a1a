"""Which unit is next: never one twice at a time, failing ones with backoff, waiting ones when others have run.

Uses no clock and no threads: the caller passes the time in seconds and reports the result of each unit it took.
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
"""A unit that waits for another runs again after this time, even if nothing seems to have changed."""


@dataclass(slots=True)
class _Unit:
    """The state of a unit that is not settled, or once failed."""

    ready: bool = False
    running: bool = False
    touched: bool = False  # while it ran
    noticed: bool = False  # while it ran
    due: bool = False  # its timer expired while it ran
    look_only: bool = False
    failures: int = 0
    timer: int = 0  # number of the valid timer; 0 = none


@dataclass(frozen=True, slots=True)
class ScheduledUnit:
    """A unit to run now. With `look_only` it failed recently: report the observed state, change nothing."""

    unit: Key
    look_only: bool = False


class Schedule:
    """The units that have work to do."""

    def __init__(self, limits: Mapping["Kind.ValueType", int], randomness: random.Random | None = None) -> None:
        """Take at most `limits` units of a kind at a time; the order of `limits` is the priority of kinds."""
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

    @property
    def is_quiet(self) -> bool:
        """Tell whether no unit runs or is to run as soon as possible."""
        return not self.running and not any(self._ready.values())

    def touch(self, unit: Key) -> None:
        """The unit's desired state has changed: it runs as soon as possible, and its failures are forgotten."""
        entry = self._units.setdefault(unit, _Unit())
        if entry.running:
            entry.touched = True
        else:
            entry.failures = 0
            self._make_ready(unit, entry, look_only=False)

    def notice(self, unit: Key) -> None:
        """The unit may have changed by itself: it runs soon, but if it is failing, only to observe."""
        entry = self._units.setdefault(unit, _Unit())
        if entry.running:
            entry.noticed = True
        else:
            self._make_ready(unit, entry, look_only=entry.failures > 0)

    def take(self, now: float) -> ScheduledUnit | None:
        """Return the next unit, or None while none may run; report its result by `settle`, `wait` or `fail`."""
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
                scheduled = ScheduledUnit(unit, entry.look_only)
                entry.look_only = False
                return scheduled
        return None

    def settle(self, unit: Key) -> bool:
        """The unit matches its desired state; tell whether that is so still, or it runs again."""
        entry = self._finish(unit)
        entry.failures = 0
        entry.timer = 0
        if self._run_again(unit, entry):
            return False
        del self._units[unit]
        return True

    def wait(self, unit: Key, on: Iterable[Key], until: float) -> None:
        """The unit runs again when one of those units has run, or at `until` at the latest."""
        entry = self._finish(unit)
        entry.failures = 0
        if not self._run_again(unit, entry):
            for other in on:
                self._waiters.setdefault(other, set()).add(unit)
            self._set_timer(unit, entry, until)

    def fail(self, unit: Key, now: float) -> float:
        """The unit failed; returns the seconds until it is tried again."""
        entry = self._finish(unit)
        if entry.touched:
            self._run_again(unit, entry)
            return 0.0
        delay = min(LAST_RETRY_SECONDS, FIRST_RETRY_SECONDS * 2.0 ** min(entry.failures, 16))
        delay *= self._random.uniform(0.8, 1.2)
        entry.failures += 1
        self._set_timer(unit, entry, now + delay)
        self._run_again(unit, entry)  # if noticed, only to observe: a failing try may itself cause the event
        return delay

    def looked(self, unit: Key) -> None:
        """The unit only observed, as `look_only` requires; the time of its next try is unchanged."""
        self._run_again(unit, self._finish(unit))

    def next_time(self) -> float | None:
        """Return when `take` may return a unit again without any `touch`, `notice` or finished unit."""
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
        """Schedule a unit again that was touched or noticed, or became due, while it ran."""
        if not (entry.touched or entry.noticed or entry.due):
            return False
        if entry.touched:
            entry.failures = 0
        self._make_ready(unit, entry, look_only=entry.failures > 0 and not entry.due)
        entry.touched = entry.noticed = entry.due = False
        return True

    def _finish(self, unit: Key) -> _Unit:
        """Record that the unit no longer runs, and schedule those that waited for it."""
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
