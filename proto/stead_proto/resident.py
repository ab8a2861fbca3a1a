"""Gives back memory that a start, or some rare work, needed and that an idle agent or controller does not.

Of programs and libraries a process has all pages that it ever used, and those around them: half of what an agent has.
They are unchanged pages of files, so that whatever is used again comes from the kernel's cache of these files.
"""

import asyncio
import ctypes
import logging
import mmap
import os
import re
from collections.abc import Collection, Iterator
from pathlib import Path
from typing import Final

_SMAPS: Final = Path("/proc/self/smaps")
_PROGRAM: Final = Path("/proc/self/exe")
_SECONDS: Final = 60.0
# Of a file, private, and not to be written to; so proc_pid_smaps(5) begins what it says of each mapping.
_MAPPING: Final = re.compile(r"([0-9a-f]+)-([0-9a-f]+) (\S{4}) \S+ \S+ \d+ *(/.*|)")
_READ_ONLY: Final = frozenset({"r--p", "r-xp"})
_log: Final = logging.getLogger(__name__)


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
    kept = frozenset(filter(_stays, dict.fromkeys(path for _, _, path in _of_files(_smaps()))))
    for begin, size in unchanged(_smaps(), kept):
        if library.madvise(begin, size, mmap.MADV_DONTNEED) != 0:
            _log.debug("pages_kept: %s", os.strerror(ctypes.get_errno()))


def unchanged(smaps: str, kept: Collection[str]) -> list[tuple[int, int]]:
    """Return address and size, in bytes, of what is mapped of the files in `kept` and can neither change nor has.

    What the dynamic linker has changed and then protected is not among it: its pages are the process's own.
    """
    return [(begin, size) for begin, size, path in _of_files(smaps) if path in kept]


def _smaps() -> str:
    return _SMAPS.read_text(encoding="utf-8", errors="surrogateescape")


def _of_files(smaps: str) -> Iterator[tuple[int, int, str]]:
    """Yield address, size and path of what is mapped of files, and is as these are."""
    found: tuple[int, int, str] | None = None
    for line in smaps.splitlines():
        if mapping := _MAPPING.match(line):
            begin, end, mode, path = mapping.groups()
            found = (int(begin, 16), int(end, 16) - int(begin, 16), path) if mode in _READ_ONLY and path else None
        elif found and line.startswith("Anonymous:") and line.split()[1] == "0":
            yield found


def _stays(path: str) -> bool:
    """Tell whether a file is mapped as long as this process lives; a library is, once that was asked.

    What another thread may unmap can be new memory before it is given back, and what was written there would be lost.
    So it is the program and libraries alone, which are opened once more, without loading any.
    """
    if path == str(_PROGRAM.readlink()):
        return True
    try:
        ctypes.CDLL(path, mode=os.RTLD_NOLOAD | os.RTLD_NOW)  # which ctypes never closes
    except OSError:
        return False
    return True
