"""Detects the end of a guest's process through the kernel: also while libvirt is away or hangs."""

import logging
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from stead_agent.programs import processes
from stead_agent.programs.processes import Watch

_log = logging.getLogger(__name__)


class ProcessWatch:
    """Watches guests' processes; libvirt stores their process ids in `runtime_dir`.

    The time of the file `awake` is when an agent last said that it watches: what has ended before is not known better.
    """

    def __init__(self, on_exit: Callable[[str], None], runtime_dir: Path, awake: Path) -> None:
        self._on_exit = on_exit
        self._runtime_dir = runtime_dir
        self._awake = awake
        self._before = int(awake.stat().st_mtime) if awake.exists() else 0
        self._ends: dict[str, int] = {}
        self._found: set[str] = set()  # guests whose processes were watched here: their ends cannot be older than us
        self._lock = threading.Lock()
        self._gone: set[str] = set()
        self._processes = Watch(self._ended, "guest-processes")

    def watch(self, machine_id: str) -> None:
        """Begin to watch the process that runs this guest now; one that cannot be found counts as gone."""
        with self._lock:
            self._gone.discard(machine_id)
            ended = self._ends.pop(machine_id, None)
        found = self._find(machine_id)
        with self._lock:
            if found:
                self._found.add(machine_id)
                return
            self._gone.add(machine_id)
            if ended is not None:  # libvirt has only now come to know of it
                self._ends.setdefault(machine_id, ended)

    def forget(self, machine_id: str) -> None:
        """No longer watch this guest."""
        self._processes.drop(machine_id)
        with self._lock:
            self._gone.discard(machine_id)
            self._ends.pop(machine_id, None)
            self._found.discard(machine_id)

    def is_watched(self, machine_id: str) -> bool:
        """Tell whether this guest's process was found and has not ended."""
        return self._processes.sees(machine_id)

    def is_gone(self, machine_id: str) -> bool:
        """Tell whether this guest's process is known to have ended."""
        with self._lock:
            return machine_id in self._gone

    def ended(self, machine_id: str) -> int:
        """Return when the process of a guest that is off ended, in Unix seconds, as its watching saw it.

        If nobody watched then, it is when an earlier agent last did; 0 when that is not known either.
        """
        with self._lock:  # libvirt may say of the end before its process does
            return self._ends.setdefault(machine_id, int(time.time()) if machine_id in self._found else self._before)

    def stay_awake(self) -> None:
        """Say that the processes are watched until now."""
        self._awake.touch()

    def close(self) -> None:
        """End the watching."""
        self._processes.close()

    @contextmanager
    def held(self, machine_id: str) -> Iterator[int | None]:
        """Hold a pidfd of this guest's process within this `with`; None when there is none."""
        pid = self._noted(machine_id)
        if pid is None:
            yield None
            return
        with processes.held(pid, lambda: runs(pid, machine_id)) as process:
            yield process

    def _noted(self, machine_id: str) -> int | None:
        try:
            return int((self._runtime_dir / f"{machine_id}.pid").read_text(encoding="ascii"))
        except (FileNotFoundError, ValueError):
            return None

    def _find(self, machine_id: str) -> bool:
        """Watch the guest's process, after verifying that it is the right one."""
        pid = self._noted(machine_id)
        if pid is None:
            self._processes.drop(machine_id)
            return False
        return self._processes.add(machine_id, pid, lambda: runs(pid, machine_id))

    def _ended(self, machine_id: str) -> None:
        with self._lock:
            self._gone.add(machine_id)
            self._ends.setdefault(machine_id, int(time.time()))
        _log.info("guest_process_ended", extra={"machine": machine_id})
        self._on_exit(machine_id)


def runs(pid: int, machine_id: str) -> bool:
    """Tell whether a process is a guest's."""
    try:
        return f"\0guest={machine_id},".encode() in Path(f"/proc/{pid}/cmdline").read_bytes()
    except (FileNotFoundError, ProcessLookupError):
        return False
