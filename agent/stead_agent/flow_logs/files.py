"""Write records as lines of files: one folder per log group, one file per interface, rotated at a maximum size."""

import os
import re
from pathlib import Path
from typing import Final

LARGEST: Final = 8 << 20  # bytes of a file; then it is renamed to .1, .1 to .2, and the oldest is deleted
FILES: Final = 4
_PLAIN: Final = re.compile(r"[^0-9A-Za-z_-]")


def folder_name(log_group: str) -> str:
    """Return a log group's folder name: characters that could lead out of the folder are written as %XX."""
    return _PLAIN.sub(lambda found: "".join(f"%{byte:02x}" for byte in found[0].encode()), log_group) or "default"


class RecordFiles:
    """The files below one folder."""

    def __init__(self, folder: Path, largest: int = LARGEST) -> None:
        self._folder, self._largest = folder, largest

    def append(self, log_group: str, interface_id: str, lines: list[str]) -> None:
        """Add lines to an interface's file; OSError when the disk is full or the folder cannot be written."""
        folder = self._folder / folder_name(log_group)
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        path = folder / f"{folder_name(interface_id)}-all.log"
        descriptor = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
        with os.fdopen(descriptor, "a", encoding="ascii", errors="replace") as file:
            file.writelines(f"{line}\n" for line in lines)
            size = file.tell()
        if size >= self._largest:
            self._rotate(path)

    @staticmethod
    def _rotate(path: Path) -> None:
        for number in range(FILES - 1, 0, -1):
            older = path.with_name(f"{path.name}.{number}")
            if older.exists():
                older.replace(path.with_name(f"{path.name}.{number + 1}"))
        path.replace(path.with_name(f"{path.name}.1"))
