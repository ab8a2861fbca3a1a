"""Gives back memory that a start, or some rare work, needed and that an idle agent does not.

Of programs and libraries a process has all pages that it ever used, and those around them: half of what an agent has.
They are unchanged pages of files, so that whatever is used again comes from the kernel's cache of these files.
"""

import asyncio
import ctypes
import mmap
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from stead_agent.logs import Log

_SMAPS: Final = Path("/proc/self/smaps")
_SECONDS: Final = 60.0
# Of a file, private, and not to be written to; so proc_pid_smaps(5) begins what it says of each mapping.
_MAPPING: Final = re.compile(r"([0-9a-f]+)-([0-9a-f]+) (\S{4}) \S+ \S+ (\d+)")
_READ_ONLY: Final = frozenset({"r--p", "r-xp"})
_log: Final = Log(__name__)


async def run(seconds: float = _SECONDS) -> None:
    """Give back periodically, until cancelled; first when a start is long over."""
    while True:
        await asyncio.sleep(seconds)
        await asyncio.to_thread(give_back)


def give_back() -> None:
    """Return free pages of the heap (malloc_trim(3)), and unchanged ones of files (madvise(2)); some milliseconds."""
    library = ctypes.CDLL(None, use_errno=True)
    trim = getattr(library, "malloc_trim", None)  # glibc's alone
    if trim is not None:
        trim(0)
    library.madvise.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int]
    for begin, size in unchanged(_SMAPS.read_text(encoding="utf-8", errors="surrogateescape")):
        if library.madvise(begin, size, mmap.MADV_DONTNEED) != 0:
            _log.debug("pages_kept", errno=ctypes.get_errno())


def unchanged(smaps: str) -> Iterator[tuple[int, int]]:
    """Yield address and size, in bytes, of what is mapped of files and can neither be changed nor has been.

    What the dynamic linker has changed and then protected is not among it: its pages are the process's own.
    """
    found: tuple[int, int] | None = None
    for line in smaps.splitlines():
        if mapping := _MAPPING.match(line):
            begin, end, mode, inode = mapping.groups()
            is_of_file = inode != "0" and mode in _READ_ONLY
            found = (int(begin, 16), int(end, 16) - int(begin, 16)) if is_of_file else None
        elif found and line.startswith("Anonymous:") and line.split()[1] == "0":
            yield found
