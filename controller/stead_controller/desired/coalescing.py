"""What may reach hosts some moments later is gathered: however often a VPC changes, its hosts get few messages.

A launch is told to all hosts of its VPC, to which its guest will speak no sooner than it has booted. To send each of
many launches to each of hundreds of hosts would cost more than all else that a launch is.
"""

import time
from collections.abc import Callable, Iterable, Sequence
from typing import Final

from stead_controller.desired.changes import TopicNews

_SECONDS_PER_MESSAGE: Final = 0.005  # of pause: a message and its answer take a few percent of that
_LONGEST_PAUSE: Final = 1.0


class Gathering:
    """What waits for hosts, and when it is due: at once after a pause, which is the longer the more was sent before."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        """Take a clock in seconds; to be used on one event loop."""
        self._clock = clock
        self._waiting: dict[str, list[TopicNews]] = {}
        self._resumes = 0.0

    def add(self, host_ids: Iterable[str], news: TopicNews) -> None:
        """Keep news of a VPC for some hosts."""
        for host_id in host_ids:
            self._waiting.setdefault(host_id, []).append(news)

    def take(self, host_id: str) -> Sequence[TopicNews]:
        """Give what waits for a host, in the order in which it was told, and keep it no longer."""
        return self._waiting.pop(host_id, ())

    def take_all(self) -> dict[str, list[TopicNews]]:
        """Give all that waits, by host; after that there is a pause."""
        taken, self._waiting = self._waiting, {}
        self._resumes = self._clock() + min(_LONGEST_PAUSE, len(taken) * _SECONDS_PER_MESSAGE)
        return taken

    def due_in(self) -> float | None:
        """Tell in how many seconds what waits must be sent, 0 when it is time; None when nothing waits."""
        return max(0.0, self._resumes - self._clock()) if self._waiting else None


def joined(news: Iterable[TopicNews]) -> list[bytes]:
    """Give the pieces of a state, of each part only the last word: a state has no order. Pure."""
    pieces: dict[tuple[int, str], bytes] = {}
    for each in news:
        pieces |= each.pieces
    return list(pieces.values())
