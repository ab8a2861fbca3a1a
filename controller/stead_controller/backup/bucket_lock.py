"""A lock on objects of a bucket, which ends by itself when its holder was killed.

Each holder has an object of its own below `locks/`, written before it looks for others: of two that begin at once one
at least sees the other, and withdraws. This asks nothing of the server but that a list has what was written before.
Ages are by the server's clock; the holder renews its object, and must not go on once it was late.
"""

import contextlib
import secrets
import threading
import time
from collections.abc import Iterator
from typing import Final

from stead_controller.backup.objects import Objects
from stead_controller.backup.repository import BackupError

LIVES_SECONDS: Final = 180.0
"""How old a lock may be before others take it for one of a killed holder."""

RENEW_SECONDS: Final = 20.0
_MARGIN_SECONDS: Final = 60.0  # for what was sent just before the holder was late
_BELOW: Final = "locks/"


class BucketLock:
    """A lock that is held inside of `held`."""

    def __init__(self, objects: Objects) -> None:
        """Set where; nothing is written yet."""
        self._objects = objects
        self._key = f"{_BELOW}{secrets.token_hex(8)}"
        self._renewed = 0.0
        self._ended = threading.Event()

    @contextlib.contextmanager
    def held(self) -> Iterator[None]:
        """Hold it; raises BackupError where another one does, OSError."""
        self._write()
        renewing = threading.Thread(target=self._renew, name="backup-lock", daemon=True)
        try:
            self._require_no_other()
            renewing.start()
            yield
        finally:
            self._ended.set()
            if renewing.ident is not None:
                renewing.join()
            with contextlib.suppress(OSError):  # it ends by itself
                self._objects.remove([self._key])

    def require(self) -> None:
        """Raise BackupError where it was not renewed in time: another one may hold it now."""
        if _now() - self._renewed > LIVES_SECONDS - _MARGIN_SECONDS:
            raise BackupError(f"The lock of {self._objects.name} could not be renewed: begin again.")

    def _write(self) -> None:
        before = _now()
        self._objects.put(self._key, b"")
        self._renewed = before

    def _renew(self) -> None:
        while not self._ended.wait(RENEW_SECONDS):
            with contextlib.suppress(OSError, BackupError):  # tried again; who holds it asks `require`
                self.require()  # one that was late may be another's by now, and is not taken back
                self._write()

    def _require_no_other(self) -> None:
        others = [one for one in self._objects.listed(_BELOW) if one.key != self._key]
        self._objects.remove(one.key for one in others if one.age > LIVES_SECONDS)
        living = [one.age for one in others if one.age <= LIVES_SECONDS]
        if living:
            left = int(LIVES_SECONDS - min(living)) + 1
            raise BackupError(
                f"Another `stead backup` uses {self._objects.name}: wait until it is done; if it was killed, {left}"
                " seconds."
            )


def _now() -> float:
    """Seconds, those in which the machine sleeps too."""
    return time.clock_gettime(time.CLOCK_BOOTTIME)
