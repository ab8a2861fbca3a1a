"""Keeps memory that C code allocates in one heap: glibc would have one for each thread, and each keeps what is freed.

The controller has a dozen threads that take turns (SQL, blocks, gRPC), so what one of them freed is used by the next.
What lies free between pages in use is given back to the kernel from time to time (`stead_proto/resident.py`).
"""

import ctypes
import logging
from typing import Final

_M_ARENA_MAX: Final = -8  # malloc.h
_log: Final = logging.getLogger(__name__)


def use_one_heap() -> None:
    """Let all threads that are started from now on share one heap (mallopt(3)); log where that is refused."""
    if ctypes.CDLL(None).mallopt(_M_ARENA_MAX, 1) != 1:
        _log.warning("several_heaps")
