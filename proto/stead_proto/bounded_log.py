"""Logs that outsiders cannot fill up: limits for records of a kind per second, and for bytes in a file."""

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
    """Lets one record of a kind pass per second, and adds to the next one how many were dropped before it.

    A kind is a logger, a level, the beginning of the message and the class of the exception. Records of our own loggers
    (by the first part of their name) always pass; those of libraries are mostly about input from outside, and lose the
    traceback if `is_strangers` says that the exception was caused by such input.
    """

    def __init__(
        self,
        own: str,
        is_strangers: Callable[[BaseException], bool] = lambda _: False,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Store the first part of our loggers' names."""
        super().__init__()
        self._own = own
        self._is_strangers = is_strangers
        self._clock = clock
        self._seen: dict[tuple[str, int, str, str], tuple[float, int]] = {}  # kind: last passed, dropped since

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
    """Writes to standard error; if that is the named file, the file is rotated when it is large."""

    def __init__(self, path: Path | None = None, most_bytes: int = FILE_BYTES) -> None:
        """Store the file's name; without one, standard error is never rotated."""
        super().__init__(sys.stderr)
        self._path = path if path is not None and _is_open_at(2, path) else None
        self._most_bytes = most_bytes

    def emit(self, record: logging.LogRecord) -> None:
        """Write a record, to a new file if the old one is large."""
        if self._path is not None and os.fstat(2).st_size >= self._most_bytes:
            self._begin_anew(self._path)
        super().emit(record)

    def reopen(self) -> None:
        """Follow a rotation by another process: a child, which cannot redirect what its parent writes to."""
        if self._path is not None and not _is_open_at(2, self._path):
            self._redirect(self._path)

    def _begin_anew(self, path: Path) -> None:
        """Rotate the file, if nobody else has done it."""
        if _is_open_at(2, path):
            try:
                put_aside(path)
            except OSError:
                return  # the log continues to grow: one that cannot be rotated is still a log
        self._redirect(path)

    def _redirect(self, path: Path) -> None:
        """Make standard output and error the file of this name, those of them that are our log until now."""
        old = os.fstat(2)
        try:
            new = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o640)
        except OSError:
            return  # it goes on in the old one
        try:
            for descriptor in _STANDARD:
                if os.path.samestat(old, os.fstat(descriptor)):
                    os.dup2(new, descriptor)
        finally:
            os.close(new)


def _is_open_at(descriptor: int, path: Path) -> bool:
    try:
        return os.path.samestat(os.fstat(descriptor), path.stat())
    except OSError:
        return False


def put_aside(path: Path) -> None:
    """Rotate a log: rename it and the older ones (`log.1` is the newest), delete the oldest. Raises OSError."""
    _put_aside(path, path)


def _put_aside(path: Path, youngest: Path) -> None:
    for number in range(OLDER_FILES, 0, -1):
        younger = path.with_name(f"{path.name}.{number - 1}") if number > 1 else youngest
        if younger.exists():
            younger.replace(path.with_name(f"{path.name}.{number}"))


def put_aside_if_large(path: Path, most_bytes: int = FILE_BYTES) -> None:
    """Rotate a log if it is large, before a program that appends to it is started."""
    if path.exists() and path.stat().st_size >= most_bytes:
        put_aside(path)


def copy_aside_if_large(path: Path, most_bytes: int = FILE_BYTES) -> None:
    """Copy a large log aside and truncate it, while a program appends to it.

    The program continues at the beginning of the file, since it uses O_APPEND. What it writes between copying and
    truncation is lost, and the whole log if there is no room for a copy. Raises OSError.
    """
    with contextlib.suppress(FileNotFoundError):  # its program has ended and its files were removed
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
