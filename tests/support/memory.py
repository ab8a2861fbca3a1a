"""How much memory a process has."""

import re
from pathlib import Path


def memory_of(pid: int) -> dict[str, float]:
    """The MiB of a process by their kind, as /proc/PID/smaps_rollup has them: `Rss`, `Pss`, `Anonymous` and others."""
    text = Path(f"/proc/{pid}/smaps_rollup").read_text(encoding="ascii")
    return {key: int(value) / 1024 for key, value in re.findall(r"^(\w+): +(\d+) kB", text, re.MULTILINE)}
