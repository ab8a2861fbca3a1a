"""Replaces processes of the controller that are killed: all are forked by one that has loaded all modules.

Loading takes most of a start, so it is done once, before the first fork. The parent has two children: the server, and a
stand-by that takes the parent's place when that is killed. Parent and stand-by do nothing but wait: they open no port
and no database and start no thread, since a fork copies only the thread that calls it, with locks as they are.

A server that exits by itself has said why, so the parent ends the stand-by and exits with the same code. A process that
is killed by a signal is replaced: at once, or after a pause where several were killed soon after they began. One that
ends while another controller is about to take the place of this one is replaced only where that fails. The kernel
kills the server when its parent dies (PR_SET_PDEATHSIG, prctl(2)), so none serves that nobody supervises; it tells the
stand-by by a signal, too, which then has a server and a stand-by of its own. Where both are killed nothing is left.
"""

import contextlib
import ctypes
import logging
import os
import signal
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum
from typing import Final, NoReturn

EARLY_SECONDS: Final = 10.0  # a process that was killed sooner counts as one that cannot run
_AT_ONCE: Final = 5  # how many such processes in a row are replaced without a pause
_FIRST_PAUSE: Final = 0.25
_LONGEST_PAUSE: Final = 10.0
_MOST_DOUBLINGS: Final = 10
_ASIDE_SECONDS: Final = 0.01  # between two looks whether a successor is still there
_PR_SET_PDEATHSIG: Final = 1  # linux/prctl.h
_ENDING: Final = {signal.SIGTERM, signal.SIGINT}
_AWAITED: Final = {*_ENDING, signal.SIGCHLD, signal.SIGUSR1}
_log: Final = logging.getLogger(__name__)


class _Role(Enum):
    """What a child is for, and the signal that it gets when its parent dies. The stand-by is forked first."""

    STAND_BY = signal.SIGUSR1
    SERVER = signal.SIGKILL


@dataclass(frozen=True, slots=True)
class Hooks:
    """What a caller does beside, in the process that this is about."""

    before_replacing: Callable[[], None]  # before the death of a process is logged
    stand_by: Callable[[], None]  # in a new stand-by
    take_over: Callable[[], None]  # in a stand-by whose parent has died; SystemExit: it must not take its place
    followed_by: Callable[[int], None]  # in the parent, with the process id of its new stand-by
    is_succeeded: Callable[[], bool] = lambda: False  # in the parent: whether another one has a server of its own


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


def fork_until_ended(hooks: Hooks, server: int | None = None) -> None:
    """Return in the server's process, and in another one whenever it is killed; the calling process never returns.

    Where there is a child that serves already, `server` is its process id.

    It exits with the server's code when that exits, or when SIGTERM or SIGINT arrives: then the stand-by is killed, the
    server is sent SIGTERM, and its end is awaited. A stand-by passes these signals on. The calling process must have no
    other thread. Raises OSError in a child if it cannot be bound to its parent's life.
    """
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)  # ignored, as it may be inherited, no exit code would be reported
    before = signal.pthread_sigmask(signal.SIG_BLOCK, _AWAITED)
    pauses, parent, began, mine = Pauses(), os.getpid(), time.monotonic(), _Parent(hooks, server)
    while mine.run() is _Role.STAND_BY:
        hooks.stand_by()
        _await_death_of(parent)
        hooks.before_replacing()
        pause = pauses.after(time.monotonic() - began)
        _log.error("controller_parent_was_killed", extra={"pid": parent, "pause": pause})
        hooks.take_over()
        if signal.sigtimedwait(_ENDING, pause) is not None:
            sys.exit(0)
        parent, began, mine = os.getpid(), time.monotonic(), _Parent(hooks)
    signal.pthread_sigmask(signal.SIG_SETMASK, before)


class _Child:
    """A child that a parent should always have."""

    def __init__(self) -> None:
        """There is none yet, and no reason to wait."""
        self.pid: int | None = None
        self.due = self._began = time.monotonic()  # due: when to fork one where there is none
        self._pauses = Pauses()

    def fork(self) -> int | None:
        """Fork one; return 0 in the child, and None where the kernel refuses."""
        self._began = time.monotonic()
        self.pid = _fork()
        if self.pid is None:
            self.rest()
        return self.pid

    def stand_aside(self) -> None:
        """Let the next one come only where nobody takes this one's place; to be said again until then."""
        self.pid, self.due = None, time.monotonic() + _ASIDE_SECONDS

    def rest(self) -> float:
        """Let the next one come after a pause, since this one is dead; return the seconds."""
        self.pid = None
        pause = self._pauses.after(time.monotonic() - self._began)
        self.due = time.monotonic() + pause
        return pause


class _Parent:
    """The parent of a server and of a stand-by."""

    def __init__(self, hooks: Hooks, server: int | None = None) -> None:
        """It has neither yet, but perhaps a server."""
        self._hooks = hooks
        self._children = {role: _Child() for role in _Role}
        self._children[_Role.SERVER].pid = server

    def run(self) -> _Role:
        """Replace children until the end, at which it exits; return only in a child, and what that is for."""
        parent = os.getpid()
        self._reap()  # who ended before its signal was awaited sends no other
        while True:
            for role, child in self._children.items():
                if child.pid is None and child.due <= time.monotonic():
                    if role is _Role.SERVER and self._hooks.is_succeeded():
                        child.stand_aside()
                        continue
                    pid = child.fork()
                    if pid == 0:
                        signal_at_death_of(parent, role.value)
                        return role
                    if pid is not None and role is _Role.STAND_BY:
                        self._hooks.followed_by(pid)
            if self._next_signal() in _ENDING:
                self._end()
            self._reap()

    def _next_signal(self) -> int | None:
        """Wait for a signal; None when a child that there is not is due before."""
        due = [child.due for child in self._children.values() if child.pid is None]
        if not due:
            return signal.sigwait(_AWAITED)
        found = signal.sigtimedwait(_AWAITED, max(0.0, min(due) - time.monotonic()))
        return found.si_signo if found is not None else None

    def _reap(self) -> None:
        """Note which children are dead; exit as the server has, if it has exited by itself."""
        while True:
            try:
                pid, status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                return
            if pid == 0:
                return
            code = os.waitstatus_to_exitcode(status)
            # As the first process of a container it also has the orphans of all others.
            role = next((role for role, child in self._children.items() if child.pid == pid), None)
            if role is None:
                continue
            if role is _Role.SERVER and self._hooks.is_succeeded():
                _log.info("controller_stands_aside", extra={"pid": pid})
                self._children[role].stand_aside()
                continue
            if role is _Role.SERVER and code >= 0:
                self._end_stand_by()
                sys.exit(code)
            self._hooks.before_replacing()
            pause = self._children[role].rest()
            event = "controller_was_killed" if role is _Role.SERVER else "controller_stand_by_was_killed"
            _log.error(event, extra={"pid": pid, "signal": -code, "pause": pause})

    def _end(self) -> NoReturn:
        """End both children, and exit."""
        self._end_stand_by()  # first: whatever happens to us from here on, nobody takes our place
        server = self._children[_Role.SERVER].pid
        if server is None:
            sys.exit(0)
        os.kill(server, signal.SIGTERM)  # it is not reaped yet, so its process id is no other's
        code = os.waitstatus_to_exitcode(os.waitpid(server, 0)[1])
        sys.exit(0 if -code in _ENDING else _shell_code(code))

    def _end_stand_by(self) -> None:
        pid = self._children[_Role.STAND_BY].pid
        if pid is not None:
            os.kill(pid, signal.SIGKILL)
            os.waitpid(pid, 0)


def fork_bound() -> int | None:
    """Fork a child that is killed when this process dies; 0 in the child, None where the kernel refuses.

    The calling process must have no other thread. Raises OSError in a child that cannot be bound.
    """
    parent = os.getpid()
    child = _fork()
    if child == 0:
        signal_at_death_of(parent, signal.SIGKILL)
    return child


def apart(work: Callable[[], None]) -> None:
    """Do work in a process of its own, whose modules and memory end with it; what fails there is done here.

    The calling process must have no other thread. Raises what the work raises here.
    """
    parent = os.getpid()
    child = _fork()
    if child == 0:
        code = 1
        try:
            signal_at_death_of(parent, signal.SIGKILL)
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


def _await_death_of(parent: int) -> None:
    """Return when the parent has died; exit instead if we were asked to end, which it was told."""
    asked = False
    with contextlib.ExitStack() as closing:
        try:
            handle = os.pidfd_open(parent)
        except ProcessLookupError:
            return
        closing.callback(os.close, handle)
        while os.getppid() == parent:
            if signal.sigwait(_AWAITED) in _ENDING:
                asked = True
                with contextlib.suppress(ProcessLookupError):  # it has died just now
                    signal.pidfd_send_signal(handle, signal.SIGTERM)
    if asked:
        sys.exit(0)


def _shell_code(code: int) -> int:
    """Return a process's code as shells show it."""
    return code if code >= 0 else 128 - code


def signal_at_death_of(parent: int, number: signal.Signals) -> None:
    """Let the kernel send this process a signal as soon as its parent is dead; raises OSError."""
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(_PR_SET_PDEATHSIG, number, 0, 0, 0) != 0:
        reason = ctypes.get_errno()
        raise OSError(reason, os.strerror(reason))
    if os.getppid() != parent:
        os.kill(os.getpid(), number)  # it died before
