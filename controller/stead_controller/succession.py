"""Takes the place of a controller that serves, by one that has loaded all: nobody answers for the hand-over alone.

`stead up` starts it so where another release runs, and systemd as ExecReload= of its unit, whose control group and
sandbox it has (systemd.service(5)). There it says that it is the main process before it ends the former one, so that
the unit never stops, and what systemd has started exits once the place is taken.

The former one ends only when the new one has proven that it serves. Until then its server alone was ended, and its
parent stands aside: it has all loaded, and forks another server where the new one fails, or is killed. What the new one
has changed of the database is undone before. A former one of a release that does not stand aside is ended at once.
"""

import contextlib
import logging
import os
import select
import signal
import socket
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Final, NoReturn

from stead_controller import main_process, supervisor
from stead_proto import alone

_STOP_SECONDS: Final = 20.0
_KILL_SECONDS: Final = 5.0
_POLL_SECONDS: Final = 0.01
_REAP_SECONDS: Final = 1.0
_REAP_POLL_SECONDS: Final = 0.002
_GO: Final = b"go"
_TAKEN: Final = b"taken"
_PROOF_SECONDS: Final = 120.0  # as long as `stead up` waits for one that nobody was before
_SERVES: Final = b"serves"
_READY: Final = b"ready"
_END: Final = b"end"
_LONGEST: Final = 16  # of such a word

_log = logging.getLogger(__name__)


class FailedError(Exception):
    """The new controller does not serve; the former one goes on."""


def is_wanted() -> bool:
    """Tell whether this process is to take another one's place; what it starts is not told so."""
    return os.environ.pop(alone.SUCCEEDS, None) is not None


@contextlib.contextmanager
def beside_the_former() -> Iterator[Callable[[], None]]:
    """Give what makes this the main process, for before the former one ends; without systemd that does nothing.

    Below systemd it goes on in a process that becomes systemd's child: the calling one exits when the block was left,
    and with 1 where an error left it, or that process was killed. It must have no other thread.
    """
    if not main_process.is_of_systemd():
        yield lambda: None
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
        yield _be_the_main_process
        with contextlib.suppress(BrokenPipeError):  # systemd has waited long enough for the caller, and killed it
            its.send(_TAKEN)
    _await_reaping_of(caller)
    os.close(caller)


def _be_the_main_process() -> None:
    main_process.followed_by(os.getpid())  # read when the caller has exited: the main process stays this one
    main_process.is_this()


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


class Prepared:
    """Work that is prepared in a process of its own, and done there when it is asked for: all it needs is loaded then.

    The calling process must have no other thread; its children may ask for the work, too.
    """

    def __init__(self, prepare: Callable[[], Mapping[bytes, Callable[[], None]]]) -> None:
        """Begin the process, and wait until it is prepared: `prepare` gives there what can be done, by a word each."""
        self._ours, its = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self._child = supervisor.fork_bound()
        if self._child == 0:
            _work(self._ours, its, prepare)
        its.close()
        self.is_prepared = self._ours.recv(_LONGEST) == _READY

    def do(self, word: bytes) -> bool:
        """Have work done; tell whether it was: not where it failed, or could not be prepared."""
        try:
            self._ours.send(word)
            while said := self._ours.recv(_LONGEST):
                if said == word:
                    return True
        except (BrokenPipeError, ConnectionResetError):
            pass  # it has ended, as the answer says
        return False

    def end(self) -> None:
        """Let the process end, by the one that has begun it."""
        self.do(_END)
        self._ours.close()
        if self._child:
            os.waitpid(self._child, 0)


def _work(
    ours: socket.socket, its: socket.socket, prepare: Callable[[], Mapping[bytes, Callable[[], None]]]
) -> NoReturn:
    ours.close()
    code = 1
    try:
        if works := prepare():
            its.send(_READY)
            while (word := its.recv(_LONGEST)) in works:
                works[word]()
                its.send(word)
        code = 0
    except Exception:  # whatever it is: who asked is told that it was not done
        _log.exception("prepared_work_failed")
    finally:
        os._exit(code)


@contextlib.contextmanager
def standing_aside(folder: Path) -> Iterator[None]:
    """Have the controller of a folder stand aside meanwhile, when its server has ended: see `supervisor`.

    Raises alone.TakenError where another process is about to take its place, and OSError.
    """
    held = alone.take(folder / alone.SUCCESSOR_FILE_NAME)
    try:
        yield
    finally:
        os.close(held)


def proven(serve: Callable[[Callable[[], None]], None], seconds: float = _PROOF_SECONDS) -> int:
    """Fork a server, and return its process id as soon as it has said so by calling what `serve` is given in it.

    Raises FailedError where it ends instead, or says nothing for so long and is killed; in the server, at its end,
    SystemExit. The calling process must have no other thread.
    """
    reading, writing = os.pipe()
    server = supervisor.fork_bound()
    if server == 0:
        os.close(reading)
        serve(lambda: _say_and_close(writing))
        sys.exit(0)
    os.close(writing)
    serves = bool(select.select([reading], [], [], seconds)[0]) and os.read(reading, len(_SERVES)) == _SERVES
    os.close(reading)
    if server is None:
        raise FailedError("no process can be made")
    if not serves:
        os.kill(server, signal.SIGKILL)  # it is not reaped yet, so its process id is no other's
        os.waitpid(server, 0)
        raise FailedError("it does not serve")
    return server


def _say_and_close(writing: int) -> None:
    os.write(writing, _SERVES)
    os.close(writing)


def end_server(folder: Path, stop_seconds: float = _STOP_SECONDS) -> None:
    """End the server of a folder's controller, and kill it where that takes too long; its place is nobody's then."""
    serving, kill_at = folder / alone.SERVING_FILE_NAME, time.monotonic() + stop_seconds
    former = alone.holder(serving)
    while former is not None and former != alone.holder(folder / alone.CHANGING_FILE_NAME):
        _end(former, serving, kill_at)
        if alone.holder(serving) != former:
            return


def await_changes(folder: Path) -> None:
    """Wait until nobody is about to change the database of a folder: who is begins as soon as nobody serves."""
    while alone.holder(folder / alone.CHANGING_FILE_NAME) is not None:
        time.sleep(_POLL_SECONDS)
