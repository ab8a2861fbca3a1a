"""Locks by name: one thread at a time works on each named object, such as a VPC."""

import contextlib
import threading
from collections.abc import Iterator
from typing import Final
from weakref import WeakValueDictionary

_LOOK_SECONDS: Final = 0.2


class NamedLocks:
    """Locks by name, each of which exists while a thread holds it or waits for it."""

    def __init__(self) -> None:
        self._lock = threading.Lock()  # protects the dictionary; never held during work
        self._by_name: WeakValueDictionary[str, threading.Lock] = WeakValueDictionary()

    @contextlib.contextmanager
    def at(self, name: str, stop: threading.Event | None = None) -> Iterator[bool]:
        """Hold the lock of this name, and yield True; or False, when `stop` is set before. Must not be nested."""
        with self._lock:
            lock = self._by_name.get(name) or threading.Lock()
            self._by_name[name] = lock
        while not lock.acquire(timeout=_LOOK_SECONDS if stop is not None else -1):
            if stop is not None and stop.is_set():
                yield False
                return
        try:
            yield stop is None or not stop.is_set()
        finally:
            lock.release()
