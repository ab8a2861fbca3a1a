"""Records as files of JSON lines: one for each day, more where one grows large; old ones are removed.

`2026-11-25.jsonl` is the first of its day, `2026-11-25.1.jsonl` the next; files of a named kind have the kind in their
names, such as `2026-11-25.data.jsonl`. Only this controller's user can read them.
"""

import os
import re
import threading
from collections.abc import Sequence
from datetime import date, datetime, timedelta
from pathlib import Path
from typing import Final

from stead_controller.settings import Settings

_NAME: Final = re.compile(r"(?P<day>\d{4}-\d\d-\d\d)(?:\.(?P<kind>[a-z]+))?(?:\.(?P<number>\d+))?\.jsonl\Z")
_FILE_BYTES: Final = 64 << 20
_PIECE: Final = 1 << 16
_TAIL_BYTES: Final = 32 << 20  # the part of a file in which the newest lines are looked for


class AuditFiles:
    """The files of one kind in a folder; only one thread at a time appends to them, any may ask for whole ones."""

    def __init__(self, folder: Path, *, days: int, most_bytes: int, kind: str = "") -> None:
        """Retain files for `days`, and at most about `most_bytes` of them; no file is opened yet."""
        self._kind = kind
        self._folder = folder
        self._days = days
        self._most_bytes = most_bytes
        self._newest: tuple[date, int] | None = None
        self._unsynced: set[Path] = set()
        self._lock = threading.Lock()  # nobody sees lines that are taken back because the disk is full

    def append(self, lines: Sequence[str], now: datetime, *, lasting: bool = True) -> None:
        """Write lines, whole, to the file of this day; raises OSError.

        `lasting` lines are on the disk when this returns. Other lines survive the end of this process at once, a power
        cut only after the next `sync`.
        """
        if lines:
            with self._lock:
                self._append(lines, now, lasting=lasting)

    def _append(self, lines: Sequence[str], now: datetime, *, lasting: bool) -> None:
        self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        content = "".join(f"{line}\n" for line in lines).encode()
        path = self._path(now.date(), len(content))
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
        with os.fdopen(descriptor, "wb", buffering=0) as file:
            size = os.fstat(descriptor).st_size
            try:
                _write_all(descriptor, content)
                if lasting:
                    os.fdatasync(descriptor)
            except OSError:
                file.truncate(size)  # remove a partial line, or a later one would be appended to it
                raise
        if lasting:
            self._unsynced.discard(path)
        else:
            self._unsynced.add(path)
        if not size:
            self._keep_name()

    @property
    def has_unsynced(self) -> bool:
        """Whether something that was appended may not be on the disk."""
        return bool(self._unsynced)

    def sync(self) -> None:
        """Wait until everything appended is on the disk; raises OSError."""
        with self._lock:
            self._sync()

    def whole(self) -> list[tuple[Path, int]]:
        """Return the files, the oldest first, and how many bytes each has: all of them on the disk; raises OSError."""
        with self._lock:
            self._sync()
            return [(path, path.stat().st_size) for _, _, path in self._files()]

    def repair(self) -> None:
        """Remove a partial line, which a kill may leave; call before anything is appended; raises OSError."""
        for _, _, path in self._files()[-1:]:
            _remove_half_line(path)

    def _sync(self) -> None:
        while self._unsynced:
            path = next(iter(self._unsynced))
            if path.exists():
                with path.open("rb") as file:
                    os.fdatasync(file.fileno())
            self._unsynced.discard(path)

    def newest(self, most: int) -> list[str]:
        """Return the newest lines, the oldest of them first, after `repair`; raises OSError."""
        self.repair()
        found: list[str] = []
        room = _TAIL_BYTES
        for _, _, path in reversed(self._files()):
            if len(found) >= most or room <= 0:
                break
            with path.open("rb") as file:
                size = file.seek(0, os.SEEK_END)
                file.seek(max(0, size - room))
                lines = file.read().decode("utf-8", "replace").splitlines()
            if size > room:
                lines = lines[1:]  # which was cut
            room -= size
            found = lines[-(most - len(found)) :] + found
        return found

    def remove_old(self, now: datetime) -> None:
        """Remove files that are too old, then the oldest while the total is too large; never the newest."""
        with self._lock:
            self._remove_old(now.date() - timedelta(days=self._days))

    def _remove_old(self, oldest_stored: date) -> None:
        files = self._files()
        total = sum(path.stat().st_size for _, _, path in files)
        for day, _, path in files[:-1]:
            if day >= oldest_stored and total <= self._most_bytes:
                break
            total -= path.stat().st_size
            path.unlink()

    def _path(self, day: date, more: int) -> Path:
        if self._newest is None or self._newest[0] != day:
            self._newest = (day, max((number for of, number, _ in self._files() if of == day), default=0))
        number = self._newest[1]
        path = self._folder / self._name(day, number)
        size = path.stat().st_size if path.exists() else 0
        if size and size + more > _FILE_BYTES:
            self._newest = (day, number + 1)
            path = self._folder / self._name(*self._newest)
        return path

    def _keep_name(self) -> None:
        """Write a new file's name to the disk as well (fsync of the folder)."""
        descriptor = os.open(self._folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)

    def _files(self) -> list[tuple[date, int, Path]]:
        """List this trail's files, the oldest first."""
        found = []
        for path in self._folder.iterdir() if self._folder.exists() else ():
            name = _NAME.match(path.name)
            if name and (name["kind"] or "") == self._kind:
                found.append((date.fromisoformat(name["day"]), int(name["number"] or 0), path))
        return sorted(found)

    def _name(self, day: date, number: int) -> str:
        return ".".join(
            [day.isoformat(), *([self._kind] if self._kind else []), *([str(number)] if number else []), "jsonl"]
        )


def both_kinds(settings: Settings) -> tuple[AuditFiles, AuditFiles]:
    """Return the files of management events and those of data events, which have half of the bytes each."""
    folder, days, most_bytes = settings.audit_folder, settings.audit_days, settings.audit_bytes // 2
    management, data = (AuditFiles(folder, days=days, most_bytes=most_bytes, kind=kind) for kind in ("", "data"))
    return management, data


def _write_all(descriptor: int, content: bytes) -> None:
    view = memoryview(content)
    while view:
        view = view[os.write(descriptor, view) :]


def _remove_half_line(path: Path) -> None:
    """Truncate a file after its last complete line."""
    with path.open("rb+") as file:
        size = at = file.seek(0, os.SEEK_END)
        while at:
            start = max(0, at - _PIECE)
            file.seek(start)
            end = file.read(at - start).rfind(b"\n")
            at = start
            if end >= 0:
                at = start + end + 1
                break
        if at != size:
            file.truncate(at)
