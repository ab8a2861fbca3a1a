"""The last searches for a host that found none, and how many hosts each rule refused then: in memory, for operators.

Counting looks at every host. So it may take a small part of the time only: while searches fail more often than that
allows, the counts of the last equal search are shown, or none. Nothing here outlives the process.
"""

import threading
import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Final

from stead_controller.clock import Clock, now

PER_ZONE: Final = 100
_REST: Final = 19  # times the time that counting took, for which nothing is counted: so it takes a twentieth


@dataclass(frozen=True, slots=True)
class Wanted:
    """What a host was searched for: capacity for one instance, in a zone.

    `memory` is what the instance takes of its host, `disk` the size of its largest volume, both in bytes. `strategy` is
    that of its placement group, empty without one.
    """

    instance_type: str
    zone: str
    vcpus: int
    memory: int
    disk: int = 0
    strategy: str = ""


@dataclass(frozen=True, slots=True)
class Refusing:
    """A rule, how many hosts it refused, and its reason for one of them."""

    rule: str
    hosts: int
    reason: str


@dataclass(frozen=True, slots=True)
class Counts:
    """How many hosts the zone had, and the rules that refused some of them; a host may be refused by several."""

    hosts: int
    rules: tuple[Refusing, ...]


@dataclass(frozen=True, slots=True)
class RefusedPlace:
    """Equal searches that found no host: how many, the first and the last; `counts` is None where nobody counted."""

    wanted: Wanted
    times: int
    first: datetime
    last: datetime
    counts: Counts | None


class RefusedPlaces:
    """The last `PER_ZONE` refusals of each zone; may be used by several threads."""

    def __init__(self, clock: Clock = now, monotonic: Callable[[], float] = time.monotonic) -> None:
        """Start with none."""
        self._clock = clock
        self._monotonic = monotonic
        self._zones: dict[str, OrderedDict[Wanted, RefusedPlace]] = {}
        self._rests_until = 0.0
        self._lock = threading.Lock()

    def add(self, wanted: Wanted, count: Callable[[], Counts]) -> None:
        """Store that a search found no host; `count` is called unless it was called too much of late."""
        began = self._monotonic()
        counts = None
        if began >= self._rests_until:
            counts = count()
            ended = self._monotonic()
            self._rests_until = ended + _REST * (ended - began)
        at = self._clock()
        with self._lock:
            zone = self._zones.setdefault(wanted.zone, OrderedDict())
            before = zone.pop(wanted, None)
            if before is None:
                zone[wanted] = RefusedPlace(wanted, 1, at, at, counts)
            else:
                zone[wanted] = replace(before, times=before.times + 1, last=at, counts=counts or before.counts)
            if len(zone) > PER_ZONE:
                zone.popitem(last=False)

    def newest(self, zone: str = "") -> list[RefusedPlace]:
        """Return the refusals of a zone, or of all zones, the newest first."""
        with self._lock:
            names = [zone] if zone else list(self._zones)
            found = [one for name in names for one in reversed(self._zones.get(name, {}).values())]
        return sorted(found, key=lambda one: one.last, reverse=True)
