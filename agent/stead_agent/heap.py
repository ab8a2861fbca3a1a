"""The C library's heap of a program with many threads, trimmed to what is in use (mallopt(3))."""

import ctypes
from typing import Final

_TRIM_THRESHOLD, _MMAP_THRESHOLD, _ARENA_MAX = -1, -3, -8  # M_…, in malloc.h
_ARENAS: Final = 2
_LARGE: Final = 256 * 1024


def limit_size() -> None:
    """Let threads share two arenas, and return large blocks to the system when they are freed.

    By default each of our threads gets an arena, which stays as large as the most that the thread ever used: a ruleset,
    a domain's XML. To be called before threads are started; has no effect on a C library other than glibc.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is None:
        return
    for parameter, value in ((_ARENA_MAX, _ARENAS), (_MMAP_THRESHOLD, _LARGE), (_TRIM_THRESHOLD, _LARGE)):
        mallopt(parameter, value)
