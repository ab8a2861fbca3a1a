"""Tells when a daemon has ended by itself, from the kernel."""

import os
import select
import threading
from collections.abc import Callable


class Watch:
    """Watches daemons by pidfd, which cannot be mistaken for a later process of the same number."""

    def __init__(self, on_end: Callable[[str], None]) -> None:
        """Have `on_end(volume_id)` called from a thread of ours."""
        self._on_end = on_end
        self._lock = threading.Lock()
        self._handles: dict[str, int] = {}
        self._poll = select.epoll()
        self._wake = os.eventfd(0, os.EFD_CLOEXEC | os.EFD_NONBLOCK)
        self._poll.register(self._wake, select.EPOLLIN)
        self._thread = threading.Thread(target=self._watch, name="storage-daemons", daemon=True)
        self._thread.start()

    def add(self, volume_id: str, pid: int) -> None:
        """Watch this process for the volume, and no other; one that has ended already is told of as well."""
        try:
            handle = os.pidfd_open(pid)
        except ProcessLookupError:
            self.drop(volume_id)
            self._on_end(volume_id)
            return
        with self._lock:
            self._close(volume_id)
            self._handles[volume_id] = handle
            self._poll.register(handle, select.EPOLLIN)

    def drop(self, volume_id: str) -> None:
        """Watch nothing for the volume."""
        with self._lock:
            self._close(volume_id)

    def sees(self, volume_id: str) -> bool:
        """Tell whether the volume's process is watched and has not ended."""
        with self._lock:
            return volume_id in self._handles

    def close(self) -> None:
        """End the watching."""
        os.eventfd_write(self._wake, 1)
        self._thread.join()
        with self._lock:
            for volume_id in list(self._handles):
                self._close(volume_id)
            self._poll.close()
            os.close(self._wake)

    def _close(self, volume_id: str) -> None:
        handle = self._handles.pop(volume_id, None)
        if handle is not None:
            self._poll.unregister(handle)
            os.close(handle)

    def _watch(self) -> None:
        while True:
            for handle, _event in self._poll.poll():
                if handle == self._wake:
                    return
                with self._lock:
                    ended = [volume_id for volume_id, each in self._handles.items() if each == handle]
                    for volume_id in ended:
                        self._close(volume_id)
                for volume_id in ended:
                    self._on_end(volume_id)
