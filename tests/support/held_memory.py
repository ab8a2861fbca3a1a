"""What holds the memory of a process, which it writes down when asked by SIGUSR2: `listen` in it, `ask` from outside.

Where it traces allocations, at the price of twice the time, it says of which lines most is.

Before it answers, it collects garbage and gives free pages of its heap back to the kernel, so that what is measured
then is in use.
"""

import ctypes
import gc
import json
import os
import signal
import sys
import tracemalloc
from collections import Counter
from ctypes.util import find_library
from pathlib import Path
from typing import Any, Final

from tests.support.waiting import wait_for

TRACE: Final = "trace"
_MIB: Final = 1 << 20
_MOST: Final = 60  # types of objects that are named, of which there are most


class _Heap(ctypes.Structure):
    """What mallinfo2(3) returns, of which `hblkhd` are bytes in mappings of their own and `uordblks` bytes in use."""

    _fields_ = tuple(
        (name, ctypes.c_size_t)
        for name in (
            "arena",
            "ordblks",
            "smblks",
            "hblks",
            "hblkhd",
            "usmblks",
            "fsmblks",
            "uordblks",
            "fordblks",
            "keepcost",
        )
    )


def listen(folder: Path) -> None:
    """Let this process, and those that it forks, answer into files of a folder; it traces if that has a file `trace`."""
    if (folder / TRACE).exists():
        tracemalloc.start()
    signal.signal(signal.SIGUSR2, lambda *_: _answer(folder))


def _answer(folder: Path) -> None:
    gc.collect()
    libc = ctypes.CDLL(None)
    libc.malloc_trim(0)
    libc.mallinfo2.restype = _Heap
    heap = libc.mallinfo2()
    sqlite = ctypes.CDLL(find_library("sqlite3") or "libsqlite3.so.0")
    sqlite.sqlite3_memory_used.restype = ctypes.c_int64
    objects = gc.get_objects()
    found = {
        "blocks of Python": sys.getallocatedblocks(),
        "objects that Python collects": len(objects),
        "heap in MiB": (heap.uordblks + heap.hblkhd) / _MIB,
        "SQLite in MiB": sqlite.sqlite3_memory_used() / _MIB,
        "types": Counter(f"{type(each).__module__}.{type(each).__qualname__}" for each in objects).most_common(_MOST),
    }
    del objects
    if tracemalloc.is_tracing():
        lines = tracemalloc.take_snapshot().statistics("lineno")[:_MOST]
        found["lines"] = [f"{each.size // 1024} KiB in {each.count} at {each.traceback}" for each in lines]
    draft = folder / f"{os.getpid()}.draft"
    draft.write_text(json.dumps(found), encoding="utf-8")
    draft.replace(folder / f"{os.getpid()}.json")


def ask(pid: int, folder: Path) -> dict[str, Any]:
    """Ask a process that listens, and return its answer: figures, and lists of types and lines."""
    file = folder / f"{pid}.json"
    file.unlink(missing_ok=True)
    os.kill(pid, signal.SIGUSR2)
    wait_for(file.exists, f"{pid} says what holds its memory", 60)
    found: dict[str, Any] = json.loads(file.read_text(encoding="utf-8"))
    return found
