"""Changes that may reach hosts a moment later are collected: however often a VPC changes, its hosts get few messages.

A launch is sent to all hosts of its VPC, to which its guest can send packets only once it has booted. To send each of
many launches to each of hundreds of hosts at once would cost more than the rest of the launch.
"""

import time
from collections.abc import Callable, Iterable, Sequence
from typing import Final

from stead_controller.desired.changes import TopicNews

_SECONDS_PER_MESSAGE: Final = 0.01  # of pause: sending a message and handling its answer takes a few percent of that
_LONGEST_PAUSE: Final = 3.0  # after 300 messages or more; the rest of a launch takes its guest about as long


class DelayedUpdates:
    """Updates waiting for hosts, and when they are due: at once after a pause, which grows with what was sent."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        """Set the clock, in seconds; to be used on one event loop."""
        self._clock = clock
        self._waiting: dict[str, list[TopicNews]] = {}
        self._resumes = 0.0

    def add(self, host_ids: Iterable[str], news: TopicNews) -> None:
        """Add changes of a VPC for some hosts."""
        for host_id in host_ids:
            self._waiting.setdefault(host_id, []).append(news)

    def take(self, host_id: str) -> Sequence[TopicNews]:
        """Return and remove the changes that wait for a host, in the order in which they were added."""
        return self._waiting.pop(host_id, ())

    def take_all(self) -> dict[str, list[TopicNews]]:
        """Return and remove all waiting changes, by host, and start a pause."""
        taken, self._waiting = self._waiting, {}
        self._resumes = self._clock() + min(_LONGEST_PAUSE, len(taken) * _SECONDS_PER_MESSAGE)
        return taken

    def due_in(self) -> float | None:
        """Return in how many seconds the waiting changes must be sent, 0 when they are due; None when nothing waits."""
        return max(0.0, self._resumes - self._clock()) if self._waiting else None


def joined(news: Iterable[TopicNews]) -> list[bytes]:
    """Return the pieces of a state, only the latest of each part: a state has no order. Pure."""
    pieces: dict[tuple[int, str], bytes] = {}
    for each in news:
        pieces |= each.pieces
    return list(pieces.values())
