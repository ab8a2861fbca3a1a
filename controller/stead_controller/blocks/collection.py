"""Collection of unused blocks, and its pauses: while another process copies all blocks, none may go.

A lock on a file of the state directory (flock(2)), shared by those who copy; it ends with the process that holds it.
"""

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

_FILE: Final = "collecting"


@contextmanager
def collecting(state_dir: Path) -> Iterator[bool]:
    """Keep pauses from beginning while some blocks are removed; yield whether they may be removed now."""
    handle = _open(state_dir)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        yield False
    else:
        yield True
    finally:
        os.close(handle)


@contextmanager
def paused(state_dir: Path) -> Iterator[None]:
    """Wait for the end of what is being removed, and keep all blocks until the end of the with statement."""
    handle = _open(state_dir)
    try:
        fcntl.flock(handle, fcntl.LOCK_SH)
        yield
    finally:
        os.close(handle)


def _open(state_dir: Path) -> int:
    return os.open(state_dir / _FILE, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
