"""Holds a server of ours still while its files are opened, so that they are as a kill at this moment would leave them.

All its threads are stopped by ptrace(2). When we end, in whatever way, the kernel lets them go on: stopped by a signal,
they would stay so if we were killed meanwhile. To be called from one thread.
"""

import contextlib
import ctypes
import errno
import fcntl
import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from stead_proto.process_identity import identity_of

# Requests of ptrace(2), and the option of waitpid(2) that waits for threads.
_SEIZE: Final = 0x4206
_INTERRUPT: Final = 0x4207
_DETACH: Final = 17
_WALL: Final = 0x40000000

_BEGIN_SECONDS: Final = 10.0
_POLL_SECONDS: Final = 0.01


@contextlib.contextmanager
def held(process_file: Path) -> Iterator[None]:
    """Stop the process of a file that `network_sandbox.py` has locked, or keep one from starting; raises OSError.

    It waits for one that is just starting, whose file does not say yet which it is.
    """
    handle = os.open(process_file, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    try:
        deadline = time.monotonic() + _BEGIN_SECONDS
        process = None
        while not _locks(handle) and (process := _process_of(process_file)) is None:
            if time.monotonic() > deadline:
                raise TimeoutError(errno.ETIMEDOUT, "its process does not say which it is", str(process_file))
            time.sleep(_POLL_SECONDS)
        with contextlib.nullcontext() if process is None else _stopped(process):
            yield
    finally:
        os.close(handle)


def _locks(handle: int) -> bool:
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _process_of(process_file: Path) -> int | None:
    recorded = process_file.read_text(encoding="ascii")
    number = recorded.partition(" ")[0]
    return int(number) if number.isdigit() and identity_of(int(number)) == recorded else None


@contextlib.contextmanager
def _stopped(process: int) -> Iterator[None]:
    """Stop all threads of a process; raises OSError where that is not allowed."""
    signals: dict[int, int] = {}
    try:
        while threads := {int(path.name) for path in Path(f"/proc/{process}/task").iterdir()} - signals.keys():
            for thread in threads:
                signals[thread] = 0
                if _asked(_SEIZE, thread) and _asked(_INTERRUPT, thread):
                    signals[thread] = _signal_at_stop(thread)
        yield
    finally:
        for thread, signal in signals.items():
            _asked(_DETACH, thread, signal)


def _signal_at_stop(thread: int) -> int:
    """Wait until a thread stands still, and return the signal that it was about to get, which it gets at the end."""
    _, status = os.waitpid(thread, _WALL)
    return os.WSTOPSIG(status) if os.WIFSTOPPED(status) and status >> 16 == 0 else 0


def _asked(request: int, thread: int, data: int = 0) -> bool:
    """Ask for something of a thread; tell whether there is such a thread. Raises OSError."""
    libc = ctypes.CDLL(None, use_errno=True)
    libc.ptrace.restype = ctypes.c_long
    if libc.ptrace(ctypes.c_long(request), ctypes.c_long(thread), None, ctypes.c_void_p(data)) == 0:
        return True
    number = ctypes.get_errno()
    if number == errno.ESRCH:  # it has ended
        return False
    raise OSError(number, f"it cannot be held still: {os.strerror(number)}", f"/proc/{thread}")
