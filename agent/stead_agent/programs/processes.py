"""Processes that need not be our children, held by pidfd.

So a later process with the same id is never signalled or awaited by mistake.
"""

import contextlib
import ctypes
import os
import select
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final

_PIDFD_GETFD: Final = 438  # pidfd_getfd(2), the same on all architectures


@contextlib.contextmanager
def held(pid: int, is_right: Callable[[], bool] = lambda: True) -> Iterator[int | None]:
    """Hold a process by pidfd within this `with`; None when there is none with this id, or not the right one.

    `is_right` is called when the process is held already, so its answer stays true.
    """
    try:
        process = os.pidfd_open(pid)
    except ProcessLookupError:
        yield None
        return
    try:
        yield process if is_right() else None
    finally:
        os.close(process)


def ends(process: int, seconds: float | None) -> bool:
    """Wait for the end of a held process, at most so long, and tell whether it ended."""
    poller = select.poll()
    poller.register(process, select.POLLIN)
    return bool(poller.poll(None if seconds is None else seconds * 1000))


def is_of_ours(pid: int) -> bool:
    """Tell whether a process is in our PID namespace, and not in a container, whose paths are others."""
    try:
        return Path(f"/proc/{pid}/ns/pid").stat().st_ino == Path("/proc/self/ns/pid").stat().st_ino
    except OSError:
        return False  # it has ended


def take_file(process: int, number: int) -> int:
    """Duplicate an open file of a held process into ours (pidfd_getfd(2), not in the os module); raises OSError."""
    libc = ctypes.CDLL(None, use_errno=True)
    taken: int = libc.syscall(_PIDFD_GETFD, process, number, 0)
    if taken < 0:
        raise OSError(ctypes.get_errno(), f"pidfd_getfd: {os.strerror(ctypes.get_errno())}")
    return taken


class Watch:
    """Reports by name, in a thread of its own, when processes have ended by themselves."""

    def __init__(self, on_end: Callable[[str], None], thread: str) -> None:
        """Call `on_end(name)` when a process has ended; by then it is no longer watched."""
        self._on_end = on_end
        self._lock = threading.Lock()
        self._handles: dict[str, int] = {}
        self._names: dict[int, str] = {}
        self._poll = select.epoll()
        self._wake = os.eventfd(0, os.EFD_CLOEXEC | os.EFD_NONBLOCK)
        self._poll.register(self._wake, select.EPOLLIN)
        self._thread = threading.Thread(target=self._watch, name=thread, daemon=True)
        self._thread.start()

    def add(self, name: str, pid: int, is_right: Callable[[], bool] = lambda: True) -> bool:
        """Watch only this process under the name; tell whether it exists and is the right one."""
        try:
            handle: int | None = os.pidfd_open(pid)
        except ProcessLookupError:
            handle = None
        if handle is not None and not is_right():
            os.close(handle)
            handle = None
        with self._lock:
            self._drop(name)
            if handle is not None:
                self._handles[name] = handle
                self._names[handle] = name
                self._poll.register(handle, select.EPOLLIN)
        return handle is not None

    def drop(self, name: str) -> None:
        """Stop watching under the name."""
        with self._lock:
            self._drop(name)

    def sees(self, name: str) -> bool:
        """Tell whether the process is watched and has not ended."""
        with self._lock:
            return name in self._handles

    def close(self) -> None:
        """Stop watching."""
        os.eventfd_write(self._wake, 1)
        self._thread.join()
        with self._lock:
            for name in list(self._handles):
                self._drop(name)
            self._poll.close()
            os.close(self._wake)

    def _drop(self, name: str) -> None:
        """Close the pidfd of a name; the lock is held."""
        handle = self._handles.pop(name, None)
        if handle is not None:
            del self._names[handle]
            self._poll.unregister(handle)
            os.close(handle)

    def _watch(self) -> None:
        while True:
            for handle, _event in self._poll.poll():
                if handle == self._wake:
                    return
                with self._lock:
                    name = self._names.get(handle)
                    if name is None:
                        continue
                    self._drop(name)
                self._on_end(name)
