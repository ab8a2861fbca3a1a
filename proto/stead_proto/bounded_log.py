"""Logs that nobody outside can fill: so many lines of a kind in a second, so many bytes in a file."""

import contextlib
import errno
import logging
import os
import shutil
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Final, TextIO

FILE_BYTES: Final = 16 << 20
OLDER_FILES: Final = 3
_SECOND: Final = 1.0
_MOST_KINDS: Final = 1000
_KIND_LENGTH: Final = 80
_MOST_FAULT: Final = 200
_STANDARD: Final = (1, 2)  # file descriptors
_FULL: Final = {errno.ENOSPC, errno.EDQUOT}


class OncePerSecond(logging.Filter):
    """Lets one record of a kind pass in a second, and says in the next one how many were left out before it.

    A kind is a logger, a level, the beginning of the message and the class of the exception. Records of our own loggers
    (by the first part of their name) pass always; those of libraries are mostly of what strangers send, and lose their
    tracebacks where `is_strangers` says that the exception is a stranger's fault.
    """

    def __init__(
        self,
        own: str,
        is_strangers: Callable[[BaseException], bool] = lambda _: False,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Take the first part of our loggers' names."""
        super().__init__()
        self._own = own
        self._is_strangers = is_strangers
        self._clock = clock
        self._seen: dict[tuple[str, int, str, str], tuple[float, int]] = {}  # kind: when it passed, left out since

    def filter(self, record: logging.LogRecord) -> bool:
        """Tell whether a record passes; adds `left_out` to it."""
        if record.name.partition(".")[0] == self._own:
            return True
        fault = record.exc_info[1] if record.exc_info else None
        kind = (record.name, record.levelno, str(record.msg)[:_KIND_LENGTH].partition("\n")[0], type(fault).__name__)
        at = self._clock()
        passed, left_out = self._seen.get(kind, (-_SECOND, 0))
        if at < passed + _SECOND:
            self._seen[kind] = (passed, left_out + 1)
            return False
        if len(self._seen) >= _MOST_KINDS:
            self._seen.clear()
        self._seen[kind] = (at, 0)
        if left_out:
            record.left_out = left_out
        if fault is not None and self._is_strangers(fault):
            record.fault = f"{type(fault).__name__}: {fault}".partition("\n")[0][:_MOST_FAULT]
            record.exc_info = record.exc_text = None
        return True


class BoundedHandler(logging.StreamHandler[TextIO]):
    """Writes to standard error; the file that this is, if it is the named one, is put aside when it is large."""

    def __init__(self, path: Path | None = None, most_bytes: int = FILE_BYTES) -> None:
        """Take the file's name; without one standard error is whatever it is."""
        super().__init__(sys.stderr)
        self._path = path
        self._most_bytes = most_bytes

    def emit(self, record: logging.LogRecord) -> None:
        """Write a record, to a new file where the old one is large."""
        if self._path is not None and os.fstat(2).st_size >= self._most_bytes:
            self._begin_anew(self._path)
        super().emit(record)

    def _begin_anew(self, path: Path) -> None:
        """Let standard output and error be a new file of the same name, where they are the one of that name."""
        old = os.fstat(2)
        try:
            if not os.path.samestat(old, path.stat()):
                return
            put_aside(path)
            new = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o640)
        except OSError:
            return  # it grows on: a log that cannot be put aside is still a log
        try:
            for descriptor in _STANDARD:
                if os.path.samestat(old, os.fstat(descriptor)):
                    os.dup2(new, descriptor)
        finally:
            os.close(new)


def put_aside(path: Path) -> None:
    """Rename a log and the older ones, `log.1` being the youngest of these; the oldest goes. Raises OSError."""
    _put_aside(path, path)


def _put_aside(path: Path, youngest: Path) -> None:
    for number in range(OLDER_FILES, 0, -1):
        younger = path.with_name(f"{path.name}.{number - 1}") if number > 1 else youngest
        if younger.exists():
            younger.replace(path.with_name(f"{path.name}.{number}"))


def put_aside_if_large(path: Path, most_bytes: int = FILE_BYTES) -> None:
    """Do so to a log that is large, before a program that appends to it is started."""
    if path.exists() and path.stat().st_size >= most_bytes:
        put_aside(path)


def copy_aside_if_large(path: Path, most_bytes: int = FILE_BYTES) -> None:
    """Empty a log that is large while a program appends to it, after a copy of it was put aside.

    The program goes on at the beginning of the file, since it writes at its end (O_APPEND). What it writes between copy
    and end is lost, and all of it where there is no room for a copy. Raises OSError.
    """
    with contextlib.suppress(FileNotFoundError):  # its program has ended and was cleared away
        if path.stat().st_size < most_bytes:
            return
        fresh = path.with_name(f"{path.name}.0")
        try:
            shutil.copy(path, fresh)
            _put_aside(path, fresh)
        except OSError as error:
            fresh.unlink(missing_ok=True)
            if error.errno not in _FULL:
                raise
        os.truncate(path, 0)
