"""Room on the disk of the state directory: some is reserved for last writes, and changes are refused before it ends.

The reserve is a file. Whoever finds the disk full gives it up and tries again: so the audit trail, what goes on in the
background, and deletions have room when other requests are refused already. It is taken again when there is twice as
much.
"""

import os
import threading
from pathlib import Path
from typing import Final

from stead_controller.errors import OutOfRoom

RESERVED_BYTES: Final = 8 << 20
_NAME: Final = "reserve"


class Room:
    """The room on one file system; safe to use from several threads."""

    def __init__(self, folder: Path, reserved_bytes: int = RESERVED_BYTES) -> None:
        """Take the folder, where the reserve will be."""
        self._folder = folder
        self._file = folder / _NAME
        self._bytes = reserved_bytes
        self._lock = threading.Lock()
        self._is_reserved = False

    def begin(self) -> None:
        """Call before anything is written: a start on a full disk gets what the last run has reserved."""
        if not self.take():
            self.give_up()

    def take(self) -> bool:
        """Reserve room where there is enough; tell whether some is reserved."""
        with self._lock:
            if self._is_reserved:
                return True
            if self._free() + self._allocated() < 2 * self._bytes:
                return False
            descriptor = os.open(self._file, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
            try:
                os.posix_fallocate(descriptor, 0, self._bytes)
            except OSError:
                return False  # another was faster; what is allocated by now is given up, or used at the next try
            finally:
                os.close(descriptor)
            self._is_reserved = True
            return True

    def give_up(self) -> bool:
        """Free what is reserved; tell whether that was anything, so that it is worth to try again."""
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
        """Raise OutOfRoom where a change might not be kept, or not be recorded."""
        if self.is_full:
            raise OutOfRoom

    def require_for_deletion(self) -> None:
        """Raise OutOfRoom where a deletion might leave too little for the records of what goes on without requests.

        A deletion may use up to half of what is reserved: it is how somebody without the operator's help makes room.
        """
        if not self._is_reserved and self._free() < self._bytes // 2:
            raise OutOfRoom

    def _free(self) -> int:
        """Give the bytes that are free, but for what the file system leaves to root."""
        found = os.statvfs(self._folder)
        return found.f_bavail * found.f_frsize

    def _allocated(self) -> int:
        try:
            return self._file.stat().st_blocks * 512
        except FileNotFoundError:
            return 0
