"""Judges from counters of one disk whether its requests are done: pure.

All times are seconds of a monotonic clock.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final, NamedTuple

ASK_SECONDS: Final = 60.0
"""How often QEMU is asked about a disk that does nothing, as far as its counters show."""
STALLED_SECONDS: Final = 60.0
"""How long the requests of a guest wait, without one that is done, until that is an impairment."""


class Queue(NamedTuple):
    """One of the queues by which a guest gives requests to its disk."""

    under_way: int  # requests that QEMU has taken from it and not answered yet
    answered: int  # a counter of those answered, which begins anew now and then


@dataclass(slots=True)
class DiskProgress:
    """What is known of a disk of a running guest."""

    succeeded: int  # requests since the guest's start
    failures: int  # events, since this was made
    has_failed: bool = False  # and no look since has found a success without a failure
    asked_at: float | None = None
    waits_since: float | None = None
    answered: tuple[int, ...] = field(default=())  # by its queues, at `waits_since`

    def look(self, succeeded: int, failures: int, now: float) -> bool:
        """Compare the counters with those of the last look; return whether QEMU is to be asked about the queues."""
        is_quiet = succeeded == self.succeeded
        if failures != self.failures:
            self.has_failed = True
        elif not is_quiet:
            self.has_failed = False
        self.succeeded, self.failures = succeeded, failures
        if not is_quiet:
            self.waits_since = None
            return False
        return self.waits_since is not None or self.asked_at is None or now - self.asked_at >= ASK_SECONDS

    def note_queues(self, queues: Sequence[Queue], now: float) -> None:
        """Record what QEMU answered."""
        self.asked_at = now
        answered = tuple(each.answered for each in queues)
        if not any(each.under_way for each in queues):
            self.waits_since = None
        elif self.waits_since is None or answered != self.answered:
            self.waits_since, self.answered = now, answered

    def is_stalled(self, now: float) -> bool:
        """Tell whether requests fail, or have waited for too long."""
        return self.has_failed or (self.waits_since is not None and now - self.waits_since >= STALLED_SECONDS)
