"""Locks by name: one thread at a time works on each named object, such as a VPC."""

import contextlib
import threading
from collections.abc import Iterator
from weakref import WeakValueDictionary


class NamedLocks:
    """Locks by name, each of which exists while a thread holds it or waits for it."""

    def __init__(self) -> None:
        self._lock = threading.Lock()  # protects the dictionary; never held during work
        self._by_name: WeakValueDictionary[str, threading.Lock] = WeakValueDictionary()

    @contextlib.contextmanager
    def at(self, name: str) -> Iterator[None]:
        """Hold the lock of this name; must not be nested for one name."""
        with self._lock:
            lock = self._by_name.get(name) or threading.Lock()
            self._by_name[name] = lock
        with lock:
            yield
