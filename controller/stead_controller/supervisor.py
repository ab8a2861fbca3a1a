"""Replaces the process that serves when it is killed: a parent that has loaded all modules forks another one.

Loading takes most of a start, so it is done once, before the first fork. The parent does nothing but wait: it opens no
port and no database and starts no thread, since a fork copies only the thread that calls it, with locks as they are.

A process that exits by itself has said why, so the parent exits with the same code. One that is killed by a signal is
replaced: at once, or after a pause where several were killed soon after they began. The kernel kills the serving
process when the parent dies (PR_SET_PDEATHSIG, prctl(2)), so none serves that nobody supervises.
"""

import ctypes
import errno
import logging
import os
import signal
import sys
import time
from collections.abc import Callable
from typing import Final

EARLY_SECONDS: Final = 10.0  # a process that was killed sooner counts as one that cannot run
_AT_ONCE: Final = 5  # how many such processes in a row are replaced without a pause
_FIRST_PAUSE: Final = 0.25
_LONGEST_PAUSE: Final = 10.0
_MOST_DOUBLINGS: Final = 10
_PR_SET_PDEATHSIG: Final = 1  # linux/prctl.h
_ENDING: Final = {signal.SIGTERM, signal.SIGINT}
_AWAITED: Final = {*_ENDING, signal.SIGCHLD}
_log: Final = logging.getLogger(__name__)


class Pauses:
    """Chooses how long to wait before a killed process is replaced."""

    def __init__(self) -> None:
        """Begin with no process that was killed early."""
        self._early = 0

    def after(self, lived: float) -> float:
        """Return the seconds to wait, given the seconds for which the killed process lived."""
        self._early = self._early + 1 if lived < EARLY_SECONDS else 0
        surplus = self._early - _AT_ONCE
        return 0.0 if surplus <= 0 else min(_FIRST_PAUSE * 2 ** min(surplus - 1, _MOST_DOUBLINGS), _LONGEST_PAUSE)


def fork_until_ended(before_replacing: Callable[[], None]) -> None:
    """Return in a child process, and in another one whenever one is killed; the calling process never returns.

    It exits with the child's code when the child exits, or when SIGTERM or SIGINT arrives: then the child is sent
    SIGTERM, and its end is awaited. When a child was killed, `before_replacing` is called before anything is logged.
    The calling process must have no other child and no other thread. Raises OSError in the child if it cannot be bound
    to its parent's life.
    """
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)  # ignored, as it may be inherited, no exit code would be reported
    before = signal.pthread_sigmask(signal.SIG_BLOCK, _AWAITED)
    parent = os.getpid()
    pauses = Pauses()
    while True:
        began = time.monotonic()
        child = _fork()
        if child == 0:
            _die_with(parent)
            signal.pthread_sigmask(signal.SIG_SETMASK, before)
            return
        code, asked = _end_of(child) if child is not None else (-errno.EAGAIN, False)
        if asked or code >= 0:
            sys.exit(0 if asked and -code in _ENDING else _shell_code(code))
        before_replacing()
        pause = pauses.after(time.monotonic() - began)
        if child is not None:
            _log.error("controller_was_killed", extra={"pid": child, "signal": -code, "pause": pause})
        if signal.sigtimedwait(_ENDING, pause) is not None:
            sys.exit(0)


def apart(work: Callable[[], None]) -> None:
    """Do work in a process of its own, whose modules and memory end with it; what fails there is done here.

    The calling process must have no other thread. Raises what the work raises here.
    """
    parent = os.getpid()
    child = _fork()
    if child == 0:
        code = 1
        try:
            _die_with(parent)
            work()
            code = 0
        finally:
            os._exit(code)
    if child is None or os.waitpid(child, 0)[1] != 0:
        work()


def _fork() -> int | None:
    """Fork; None where the kernel refuses, as it does while there is no memory or no process id."""
    try:
        return os.fork()
    except OSError:
        _log.exception("controller_cannot_be_forked")
        return None


def _end_of(child: int) -> tuple[int, bool]:
    """Wait for the end of the child; return its code, negative for a signal, and whether we were asked to end."""
    asked = False
    while True:
        if signal.sigwait(_AWAITED) in _ENDING:
            asked = True
            os.kill(child, signal.SIGTERM)  # it is not reaped yet, so its process id is no other's
        ended, status = os.waitpid(child, os.WNOHANG)
        if ended:
            return os.waitstatus_to_exitcode(status), asked


def _shell_code(code: int) -> int:
    """Return a process's code as shells show it."""
    return code if code >= 0 else 128 - code


def _die_with(parent: int) -> None:
    """Let the kernel kill this process as soon as its parent is dead; raises OSError."""
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0) != 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))
    if os.getppid() != parent:
        os.kill(os.getpid(), signal.SIGKILL)  # it died before
