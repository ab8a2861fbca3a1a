"""What happened in a storm, in order: a file with a line for each call, fault and look."""

import re
import threading
import time
from pathlib import Path
from typing import Final

_SHOWN: Final = 40
_WORD: Final = re.compile(r"[\w-]+")


class History:
    """Lines of text with their time; may be written by several threads."""

    def __init__(self, path: Path) -> None:
        """Begin it in a new file."""
        self.path = path
        self._began = time.monotonic()
        self._lock = threading.Lock()
        path.write_text("", encoding="utf-8")

    def note(self, what: str, text: str) -> None:
        """Add a line, of one of a few sorts: call, fault, look, guest."""
        line = f"{time.monotonic() - self._began:8.2f} {what:<6} {' '.join(text.split())}\n"
        with self._lock, self.path.open("a", encoding="utf-8") as file:
            file.write(line)

    def lines(self, *sorts: str) -> list[str]:
        """The lines of some sorts, or all."""
        text = self.path.read_text(encoding="utf-8")
        return [line for line in text.splitlines() if not sorts or line.split()[1] in sorts]

    def about(self, words: list[str]) -> str:
        """The last lines in which one of the words is, for a report."""
        found = [line for line in self.lines() if not set(words).isdisjoint(_WORD.findall(line))]
        return "\n".join(found[-_SHOWN:])
