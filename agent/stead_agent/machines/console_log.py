"""The logs of guests' serial ports: one file per start, named after it, and `password` beside.

A start that resumes a hibernated guest continues what the guest wrote before: `N.before` has the end of that.

Virtlogd writes them, and rotates `1.log` to `1.log.0` … at 2 MiB, so a guest that writes without end fills 8 MiB at
most (https://libvirt.org/manpages/virtlogd.html). A file's existence shows that the start happened: see `life.py`.
"""

import os
import shutil
from pathlib import Path
from typing import Final

from stead_agent.machines import password
from stead_proto import limits

_PASSWORD: Final = "password"  # noqa: S105 - the name of a file
_ROLLED: Final = ("", ".0", ".1", ".2")  # newest first
_ROLLED_BYTES: Final = 4 << 20


class ConsoleLogs:
    """The console logs below one directory."""

    def __init__(self, root: Path) -> None:
        self._root = root
        root.mkdir(mode=0o700, parents=True, exist_ok=True)

    def path(self, machine_id: str, start: int) -> Path:
        """Return the log of one start of a machine."""
        return self._root / machine_id / f"{start}.log"

    def exists(self, machine_id: str, start: int) -> bool:
        """Tell whether that start got as far as opening its log."""
        return self.path(machine_id, start).exists()

    def prepare(self, machine_id: str, start: int, *, resumes: int = 0) -> None:
        """Prepare a new start: delete the logs of earlier ones, except the password, which guests write only once.

        The end of the log of the start that it `resumes` stays as well, 0 for none. It may be repeated.
        """
        folder = self._root / machine_id
        folder.mkdir(mode=0o700, exist_ok=True)
        stored, before = folder / _PASSWORD, self._before(machine_id, start)
        if resumes and not before.exists():
            new = folder / ".before"
            new.write_bytes(self.tail(machine_id, resumes, limits.CONSOLE_OUTPUT_BYTES))
            new.replace(before)
        for log in sorted(folder.glob("*.log")):
            if found := self._find_password(log):
                new = folder / f".{_PASSWORD}"
                new.write_bytes(found)
                new.replace(stored)
        for path in folder.iterdir():
            if path != stored and not (resumes and path == before):
                path.unlink()

    def discard(self, machine_id: str, start: int) -> None:
        """Delete the log of a failed start."""
        self.path(machine_id, start).unlink(missing_ok=True)

    def remove(self, machine_id: str) -> None:
        """Delete all logs of a machine."""
        try:
            shutil.rmtree(self._root / machine_id)
        except FileNotFoundError:
            return

    def tail(self, machine_id: str, start: int, last_bytes: int) -> bytes:
        """Return the end of what the guest wrote since that start, or the one it resumed, also of rotated files."""
        path = self.path(machine_id, start)
        newest = b""
        for each in (path, path.with_name(path.name + ".0"), self._before(machine_id, start)):
            newest = _tail(each, last_bytes - len(newest)) + newest
        return newest

    def _before(self, machine_id: str, start: int) -> Path:
        """Return the file of what a guest wrote before it was hibernated and resumed by that start."""
        return self._root / machine_id / f"{start}.before"

    def password(self, machine_id: str, start: int) -> bytes:
        """Return the encrypted password that the guest wrote since that start, or else in an earlier one."""
        found = self._find_password(self.path(machine_id, start))
        return found or _tail(self._root / machine_id / _PASSWORD, password.LONGEST)

    def _find_password(self, log: Path) -> bytes:
        """Search a log; if it was rotated, from the newest file on, joined with the next in case a match is split."""
        files = [_tail(log.with_name(log.name + each), _ROLLED_BYTES) for each in _ROLLED]
        for newer, older in zip([b"", *files], files, strict=False):
            if found := password.find(older + newer):
                return found
        return b""


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
