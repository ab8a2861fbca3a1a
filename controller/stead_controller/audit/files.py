"""Records as files of JSON lines: one for each day, more where one grows large; old ones are removed.

`2026-11-25.jsonl` is the first of its day, `2026-11-25.1.jsonl` the next. Only this controller's user can read them.
"""

import os
import re
from collections.abc import Sequence
from datetime import date, datetime, timedelta
from pathlib import Path
from typing import Final

_NAME: Final = re.compile(r"(?P<day>\d{4}-\d\d-\d\d)(?:\.(?P<number>\d+))?\.jsonl\Z")
_FILE_BYTES: Final = 64 << 20


class AuditFiles:
    """The files of one folder, which only one thread at a time writes."""

    def __init__(self, folder: Path, *, days: int, most_bytes: int) -> None:
        """Keep files for `days`, and at most about `most_bytes` of them; nothing is opened yet."""
        self._folder = folder
        self._days = days
        self._most_bytes = most_bytes

    def append(self, lines: Sequence[str], now: datetime) -> None:
        """Write lines, whole, to the file of this day; raises OSError."""
        self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        content = "".join(f"{line}\n" for line in lines).encode()
        path = self._path(now.date(), len(content))
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
        with os.fdopen(descriptor, "wb", buffering=0) as file:
            size = os.fstat(descriptor).st_size
            try:
                _write_all(descriptor, content)
            except OSError:
                file.truncate(size)  # no half line stays where a later one would be added to it
                raise

    def remove_old(self, now: datetime) -> None:
        """Remove files of days long past, then the oldest while all are too large; never the newest."""
        oldest_kept = now.date() - timedelta(days=self._days)
        files = self._files()
        total = sum(path.stat().st_size for _, _, path in files)
        for day, _, path in files[:-1]:
            if day >= oldest_kept and total <= self._most_bytes:
                break
            total -= path.stat().st_size
            path.unlink()

    def _path(self, day: date, more: int) -> Path:
        number = max((number for of, number, _ in self._files() if of == day), default=0)
        path = self._folder / _name(day, number)
        if path.exists() and path.stat().st_size + more > _FILE_BYTES and path.stat().st_size:
            path = self._folder / _name(day, number + 1)
        return path

    def _files(self) -> list[tuple[date, int, Path]]:
        """Find our files, the oldest first."""
        found = []
        for path in self._folder.iterdir() if self._folder.exists() else ():
            name = _NAME.match(path.name)
            if name:
                found.append((date.fromisoformat(name["day"]), int(name["number"] or 0), path))
        return sorted(found)


def _name(day: date, number: int) -> str:
    return f"{day.isoformat()}.{number}.jsonl" if number else f"{day.isoformat()}.jsonl"


def _write_all(descriptor: int, content: bytes) -> None:
    view = memoryview(content)
    while view:
        view = view[os.write(descriptor, view) :]
