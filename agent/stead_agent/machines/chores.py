"""Background work that is done soon or later, one after the other, in its own thread."""

import heapq
import itertools
import logging
import threading
import time
from collections.abc import Callable

from stead_agent.machines.interface import MachineAbsentError, MachineError

_log = logging.getLogger(__name__)

type Chore = Callable[[], None]


class Chores:
    """A list of chores by time; an exception of a chore is logged, and the next one is done."""

    def __init__(self, name: str) -> None:
        self._order = itertools.count()
        self._due: list[tuple[float, int, Chore]] = []
        self._changed = threading.Condition()
        self._closed = False
        self._thread = threading.Thread(target=self._work, name=name, daemon=True)
        self._thread.start()

    def soon(self, chore: Chore) -> None:
        """Do the chore after those that are due already."""
        self.later(0, chore)

    def later(self, seconds: float, chore: Chore) -> None:
        """Do the chore in so many seconds."""
        with self._changed:
            heapq.heappush(self._due, (time.monotonic() + seconds, next(self._order), chore))
            self._changed.notify()

    def close(self) -> None:
        """Stop; wait for the running chore, unless called by it."""
        with self._changed:
            self._closed = True
            self._changed.notify()
        if threading.current_thread() is not self._thread:
            self._thread.join()

    def _next(self) -> Chore | None:
        """Wait for the next chore that is due; None at the end."""
        with self._changed:
            while not self._closed:
                wait = self._due[0][0] - time.monotonic() if self._due else None
                if wait is not None and wait <= 0:
                    return heapq.heappop(self._due)[2]
                self._changed.wait(wait)
        return None

    def _work(self) -> None:
        """Do chores until the end."""
        while chore := self._next():
            try:
                chore()
            except MachineAbsentError as error:  # it has ended meanwhile, as guests do
                _log.debug("chore_without_machine", extra={"error": str(error)})
            except MachineError as error:
                _log.warning("chore_put_off", extra={"error": str(error)})
            except Exception:  # one chore that fails must not end the thread of all others
                _log.exception("chore_failed")
