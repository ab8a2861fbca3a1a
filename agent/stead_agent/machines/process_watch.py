"""Tells when a guest's process has ended, from the kernel itself: also while libvirt is away or hangs."""

import logging
import os
import select
import threading
from collections.abc import Callable
from pathlib import Path

_log = logging.getLogger(__name__)


class ProcessWatch:
    """Watches guests' processes by pidfd, which cannot be mistaken for a later process of the same number.

    In `runtime_dir` libvirt notes their process ids.
    """

    def __init__(self, on_exit: Callable[[str], None], runtime_dir: Path) -> None:
        self._on_exit = on_exit
        self._runtime_dir = runtime_dir
        self._lock = threading.Lock()
        self._handles: dict[str, int] = {}
        self._names: dict[int, str] = {}
        self._gone: set[str] = set()
        self._poll = select.epoll()
        self._wake = os.eventfd(0, os.EFD_CLOEXEC | os.EFD_NONBLOCK)
        self._poll.register(self._wake, select.EPOLLIN)
        self._thread = threading.Thread(target=self._watch, name="guest-processes", daemon=True)
        self._thread.start()

    def watch(self, machine_id: str) -> None:
        """Begin to watch the process that runs this guest now; one that cannot be found counts as gone."""
        handle = self._open(machine_id)
        with self._lock:
            self._drop(machine_id)
            if handle is None:
                self._gone.add(machine_id)
                return
            self._handles[machine_id] = handle
            self._names[handle] = machine_id
            self._poll.register(handle, select.EPOLLIN)

    def forget(self, machine_id: str) -> None:
        """No longer watch this guest."""
        with self._lock:
            self._drop(machine_id)

    def is_watched(self, machine_id: str) -> bool:
        """Tell whether this guest's process was found and has not ended."""
        with self._lock:
            return machine_id in self._handles

    def is_gone(self, machine_id: str) -> bool:
        """Tell whether this guest's process is known to have ended."""
        with self._lock:
            return machine_id in self._gone

    def close(self) -> None:
        """End the watching."""
        os.eventfd_write(self._wake, 1)
        self._thread.join()
        with self._lock:
            for machine_id in list(self._handles):
                self._drop(machine_id)
            self._poll.close()
            os.close(self._wake)

    def _open(self, machine_id: str) -> int | None:
        """Open the guest's process, having made sure that it is the one."""
        try:
            pid = int((self._runtime_dir / f"{machine_id}.pid").read_text(encoding="ascii"))
            handle = os.pidfd_open(pid)
        except (FileNotFoundError, ProcessLookupError, ValueError):
            return None
        try:
            arguments = Path(f"/proc/{pid}/cmdline").read_bytes()
        except (FileNotFoundError, ProcessLookupError):
            arguments = b""
        if f"\0guest={machine_id},".encode() not in arguments:
            os.close(handle)
            return None
        return handle

    def _drop(self, machine_id: str) -> None:
        """Close what is held of this guest; the lock is held."""
        self._gone.discard(machine_id)
        handle = self._handles.pop(machine_id, None)
        if handle is not None:
            del self._names[handle]
            self._poll.unregister(handle)
            os.close(handle)

    def _watch(self) -> None:
        """Wait for processes to end, and tell of each."""
        while True:
            for handle, _event in self._poll.poll():
                if handle == self._wake:
                    return
                with self._lock:
                    machine_id = self._names.get(handle)
                    if machine_id is None:
                        continue
                    self._drop(machine_id)
                    self._gone.add(machine_id)
                _log.info("guest_process_ended", extra={"machine": machine_id})
                self._on_exit(machine_id)
