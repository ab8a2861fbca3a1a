"""A fair semaphore: at most so many at a time, first come first served."""

import threading
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager


class FairSemaphore:
    """A semaphore that keeps the order of arrival.

    `threading.Semaphore` lets new threads overtake waiting ones; of 24 starts at once an unlucky one could come last
    again and again.
    """

    def __init__(self, at_once: int) -> None:
        self._free = at_once
        self._waiting: deque[threading.Event] = deque()
        self._lock = threading.Lock()

    @contextmanager
    def held(self) -> Iterator[None]:
        """Acquire the semaphore, and release it to the next thread at the end."""
        mine = threading.Event()
        with self._lock:
            if self._free:
                self._free -= 1
                mine.set()
            else:
                self._waiting.append(mine)
        try:
            mine.wait()
            yield
        finally:
            self._pass_on(mine)

    def _pass_on(self, mine: threading.Event) -> None:
        """Wake the thread that waits longest; a thread interrupted while waiting just leaves the queue."""
        with self._lock:
            if not mine.is_set():
                self._waiting.remove(mine)
            elif self._waiting:
                self._waiting.popleft().set()
            else:
                self._free += 1
