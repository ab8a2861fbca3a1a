"""One piece of work at a time at each thing that has a name, such as a VPC, whatever thread it is in."""

import contextlib
import threading
from collections.abc import Iterator
from weakref import WeakValueDictionary


class Turns:
    """Locks by name, each there as long as somebody holds it or waits for it."""

    def __init__(self) -> None:
        self._lock = threading.Lock()  # of the dictionary, never held during work
        self._by_name: WeakValueDictionary[str, threading.Lock] = WeakValueDictionary()

    @contextlib.contextmanager
    def at(self, name: str) -> Iterator[None]:
        """Wait until nobody else is at the named thing, and keep others from it; not to be nested for one name."""
        with self._lock:
            lock = self._by_name.get(name) or threading.Lock()
            self._by_name[name] = lock
        with lock:
            yield
