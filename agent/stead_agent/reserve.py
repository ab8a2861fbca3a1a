"""Disk space reserved for last writes: a file that is deleted when the disk is full."""

import os
from pathlib import Path
from typing import Final

RESERVED_BYTES: Final = 4 << 20


class Reserve:
    """Space reserved beside a file; used by one thread at a time."""

    def __init__(self, path: Path, reserved_bytes: int = RESERVED_BYTES) -> None:
        """Take the file's path; the space that an earlier process has reserved there is used."""
        self._path = path
        self._bytes = reserved_bytes
        self._is_taken = False

    def take(self) -> None:
        """Reserve space if twice as much is free; else the next call tries again."""
        if self._is_taken:
            return
        found = os.statvfs(self._path.parent)
        if found.f_bavail * found.f_frsize + self._allocated() < 2 * self._bytes:
            return
        descriptor = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
        try:
            os.posix_fallocate(descriptor, 0, self._bytes)
            self._is_taken = True
        except OSError:
            return  # another process was faster
        finally:
            os.close(descriptor)

    def give_up(self) -> bool:
        """Free the reserved space; tell whether there was any, so that a new try makes sense."""
        self._is_taken = False
        had = self._allocated() > 0
        self._path.unlink(missing_ok=True)
        return had

    def _allocated(self) -> int:
        try:
            return self._path.stat().st_blocks * 512
        except FileNotFoundError:
            return 0
