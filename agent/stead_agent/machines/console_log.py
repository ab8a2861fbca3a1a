"""The files that hold what guests write to their serial ports: one per start, named after it.

Virtlogd writes them, and rolls `1.log` over to `1.log.0` … at 2 MiB, so a guest that writes without end fills 8 MiB at
most (https://libvirt.org/manpages/virtlogd.html). A file's existence tells that the start happened: see `life.py`.
"""

import os
import shutil
from pathlib import Path


class ConsoleLogs:
    """The console logs below one directory."""

    def __init__(self, root: Path) -> None:
        self._root = root
        root.mkdir(mode=0o700, parents=True, exist_ok=True)

    def path(self, machine_id: str, start: int) -> Path:
        """Name the log of one start of a machine."""
        return self._root / machine_id / f"{start}.log"

    def exists(self, machine_id: str, start: int) -> bool:
        """Tell whether that start has come as far as to open its log."""
        return self.path(machine_id, start).exists()

    def prepare(self, machine_id: str) -> None:
        """Make room for a new start: forget the earlier ones."""
        self.remove(machine_id)
        (self._root / machine_id).mkdir(mode=0o700)

    def discard(self, machine_id: str, start: int) -> None:
        """Forget a start that failed."""
        self.path(machine_id, start).unlink(missing_ok=True)

    def remove(self, machine_id: str) -> None:
        """Leave nothing of a machine's logs."""
        try:
            shutil.rmtree(self._root / machine_id)
        except FileNotFoundError:
            return

    def tail(self, machine_id: str, start: int, last_bytes: int) -> bytes:
        """Return the end of what the guest wrote since that start, also where it lies in a file rolled over."""
        path = self.path(machine_id, start)
        newest = _tail(path, last_bytes)
        if len(newest) < last_bytes:
            newest = _tail(path.with_name(path.name + ".0"), last_bytes - len(newest)) + newest
        return newest


def _tail(path: Path, last_bytes: int) -> bytes:
    """Return the end of a file; nothing when there is none."""
    try:
        handle = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
    except FileNotFoundError:
        return b""
    with os.fdopen(handle, "rb") as file:
        size = os.fstat(handle).st_size
        file.seek(max(0, size - last_bytes))
        return file.read(last_bytes)
