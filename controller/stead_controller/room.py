"""Free space on the disk of the state directory: some is reserved for last writes, changes are refused before it ends.

The reserve is a file. Code that finds the disk full releases the reserve and tries again: so the audit trail,
background work and deletions still have space when other requests are refused already. The reserve is allocated again
when there is twice as much free space.
"""

import os
import threading
from pathlib import Path
from typing import Final

from stead_controller.errors import OutOfRoom

RESERVED_BYTES: Final = 8 << 20
_NAME: Final = "reserve"


class Room:
    """The free space of one file system; safe to use from several threads."""

    def __init__(self, folder: Path, reserved_bytes: int = RESERVED_BYTES) -> None:
        """Set the folder in which the reserve file will be."""
        self._folder = folder
        self._file = folder / _NAME
        self._bytes = reserved_bytes
        self._lock = threading.Lock()
        self._is_reserved = False

    def begin(self) -> None:
        """To be called before anything is written: a start on a full disk gets the space that the last run reserved."""
        if not self.take():
            self.give_up()

    def take(self) -> bool:
        """Reserve space where there is enough; tell whether some is reserved."""
        with self._lock:
            if self._is_reserved:
                return True
            if self._free() + self._allocated() < 2 * self._bytes:
                return False
            descriptor = os.open(self._file, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
            try:
                os.posix_fallocate(descriptor, 0, self._bytes)
            except OSError:
                return False  # another process was faster; what is allocated by now is released, or used next time
            finally:
                os.close(descriptor)
            self._is_reserved = True
            return True

    def give_up(self) -> bool:
        """Release the reserve; tell whether there was any, so that another attempt is worthwhile."""
        with self._lock:
            self._is_reserved = False
            had = self._allocated() > 0
            self._file.unlink(missing_ok=True)
            return had

    @property
    def is_full(self) -> bool:
        """Tell whether changes are refused."""
        return not self._is_reserved or self._free() < self._bytes

    def require(self) -> None:
        """Raise OutOfRoom where a change might not be stored, or not be recorded."""
        if self.is_full:
            raise OutOfRoom

    def require_for_deletion(self) -> None:
        """Raise OutOfRoom where a deletion might leave too little space for the records of background work.

        A deletion may use up to half of the reserve: deletions are how users free space without the operator's help.
        """
        if not self._is_reserved and self._free() < self._bytes // 2:
            raise OutOfRoom

    def _free(self) -> int:
        """Return the number of free bytes, without those that the file system reserves for root."""
        found = os.statvfs(self._folder)
        return found.f_bavail * found.f_frsize

    def _allocated(self) -> int:
        try:
            return self._file.stat().st_blocks * 512
        except FileNotFoundError:
            return 0
