"""How much memory a process has."""

import re
from pathlib import Path
from typing import Final

_HEAP: Final = 64 << 20


def memory_of(pid: int) -> dict[str, float]:
    """The MiB of a process by their kind, as /proc/PID/smaps_rollup has them: `Rss`, `Pss`, `Anonymous` and others."""
    text = Path(f"/proc/{pid}/smaps_rollup").read_text(encoding="ascii")
    return {key: int(value) / 1024 for key, value in re.findall(r"^(\w+): +(\d+) kB", text, re.MULTILINE)}


def heaps_of(pid: int) -> int:
    """How many heaps of threads a process has beside its main one: each reserves 64 MiB (glibc's malloc)."""
    lines = Path(f"/proc/{pid}/maps").read_text(encoding="ascii").splitlines()
    ranges = [[int(word, 16) for word in line.split()[0].split("-")] for line in lines]
    pairs = zip(lines, ranges, lines[1:], ranges[1:], strict=False)
    return sum(
        " rw-p " in used and " ---p " in rest and begin % _HEAP == 0 and end == begin + _HEAP
        for used, (begin, _), rest, (_, end) in pairs
    )
