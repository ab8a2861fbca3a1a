"""Takes the place of a controller that serves, by one that has loaded all: nobody answers for the hand-over alone.

`stead up` starts it so where another release runs, and systemd as ExecReload= of its unit, whose control group and
sandbox it has (systemd.service(5)). There it says that it is the main process before it ends the former one, so that
the unit never stops, and what systemd has started exits once the place is taken.
"""

import contextlib
import os
import select
import signal
import socket
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from stead_controller import main_process
from stead_proto import alone

_STOP_SECONDS: Final = 20.0
_KILL_SECONDS: Final = 5.0
_POLL_SECONDS: Final = 0.01
_REAP_SECONDS: Final = 1.0
_REAP_POLL_SECONDS: Final = 0.002
_GO: Final = b"go"
_TAKEN: Final = b"taken"


def is_wanted() -> bool:
    """Tell whether this process is to take another one's place; what it starts is not told so."""
    return os.environ.pop(alone.SUCCEEDS, None) is not None


@contextlib.contextmanager
def beside_the_former() -> Iterator[None]:
    """Be the main process meanwhile and from then on; without systemd nothing is done.

    Below systemd it goes on in a process that becomes systemd's child: the calling one exits when the block was left,
    and with 1 where an error left it, or that process was killed. It must have no other thread.
    """
    if not main_process.is_of_systemd():
        yield
        return
    ours, its = socket.socketpair()
    caller = os.pidfd_open(os.getpid())
    child = os.fork()
    if child != 0:
        its.close()
        os.waitpid(child, 0)
        ours.send(_GO)
        os._exit(0 if ours.recv(len(_TAKEN)) == _TAKEN else 1)
    if os.fork() != 0:
        os._exit(0)  # of a process that is none of its children systemd would not await the end
    ours.close()
    with its:
        if its.recv(len(_GO)) != _GO:
            sys.exit(1)
        main_process.followed_by(os.getpid())  # read when the caller has exited: the main process stays this one
        main_process.is_this()
        yield
        its.send(_TAKEN)
    _await_reaping_of(caller)
    os.close(caller)


def _await_reaping_of(process: int) -> None:
    """Wait until systemd has dealt with the end of a process, at most for a second."""
    deadline = time.monotonic() + _REAP_SECONDS
    with contextlib.suppress(ProcessLookupError):  # it is gone
        while time.monotonic() < deadline:
            signal.pidfd_send_signal(process, 0)  # while it is there, or a zombie
            time.sleep(_REAP_POLL_SECONDS)


def take(lock: Path, stop_seconds: float = _STOP_SECONDS) -> int:
    """Lock what a program holds, which is told to end, and killed where that takes too long; return the descriptor.

    Raises alone.TakenError where it cannot be ended, and OSError.
    """
    kill_at = time.monotonic() + stop_seconds
    while True:
        try:
            return alone.take(lock)
        except alone.TakenError:
            if time.monotonic() > kill_at + _KILL_SECONDS:
                raise
        pid = alone.holder(lock)
        if pid is not None:
            _end(pid, lock, kill_at)
        time.sleep(_POLL_SECONDS)


def _end(pid: int, lock: Path, kill_at: float) -> None:
    """Tell a holder of the lock to end, and wait for it until `kill_at`, or kill it from then on."""
    with contextlib.ExitStack() as stack, contextlib.suppress(ProcessLookupError):  # it ended just now
        handle = os.pidfd_open(pid)
        stack.callback(os.close, handle)
        if alone.holder(lock) != pid:  # from here on the process id is no other's
            return
        is_late = time.monotonic() >= kill_at
        signal.pidfd_send_signal(handle, signal.SIGKILL if is_late else signal.SIGTERM)
        poller = select.poll()
        poller.register(handle, select.POLLIN)
        poller.poll(max(kill_at - time.monotonic(), _POLL_SECONDS) * 1000)
