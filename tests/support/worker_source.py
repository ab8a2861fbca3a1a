"""The processes that share the tests (pytest-xdist's workers) are forks of one that has collected them already.

To load all tests and what they import takes nine seconds of a processor, to collect them once more two. Clients of
others are fetched beside the tests from then on. A worker has a program between it and pytest, since pytest starts its
workers by a command:

    python -m tests.support.worker_source NUMBER ARGUMENTS…    # forks workers for who connects to this socket
    python -I -S tests/support/worker.py SOCKET                # gives one its standard input and output, waits for its end
"""

import contextlib
import gc
import io
import os
import select
import shlex
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import types
from collections.abc import Iterable
from pathlib import Path
from typing import Any, Final

import pytest

from tests.support import outside_clients

_ROOT: Final = Path(__file__).resolve().parents[2]
_WORKER: Final = Path(__file__).with_name("worker.py")
_QUIETLY: Final = ("--collect-only", "-q", "-p", "no:cacheprovider", "-n0")
_END_SECONDS: Final = 20


def share(config: pytest.Config, specs: Iterable[Any]) -> None:
    """Let these workers of a run, which are not begun yet, be forks of one process."""
    folder = tempfile.mkdtemp(prefix="stead-tests-")  # only we can enter it: who reaches the socket runs what they want
    place = f"{folder}/socket"
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(place)
        listening.listen()  # who asks before all is loaded waits
        number = listening.fileno()
        process = subprocess.Popen(
            [sys.executable, "-m", __name__, str(number), *config.args],
            cwd=_ROOT,
            stdin=subprocess.PIPE,
            pass_fds=[number],
        )

    def end() -> None:
        process.communicate(timeout=_END_SECONDS)
        shutil.rmtree(folder)

    config.add_cleanup(end)
    for spec in specs:
        spec.python = shlex.join([sys.executable, "-I", "-S", str(_WORKER), place])


def _serve(listening: socket.socket) -> socket.socket | None:
    """Fork a process for each that asks; return who asked in the fork, and None here, once standard input has ended."""
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # nobody waits for forks
    watched: list[Any] = [0, listening]
    while 0 not in select.select(watched, [], [])[0]:
        asking, _ = listening.accept()
        if os.fork() == 0:
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
            return asking
        asking.close()
    return None


def _become(asking: socket.socket) -> None:
    """Be the worker that pytest has started, as `python -u -c` would be: it says what to run on standard input."""
    _, descriptors, _, _ = socket.recv_fds(asking, 1, 3)
    for number, descriptor in enumerate(descriptors):
        os.dup2(descriptor, number)
        os.close(descriptor)
    sys.stdin, sys.stdout, sys.stderr = (
        open(number, mode, buffering, closefd=False)  # noqa: SIM115 - they are the process's, as long as it lives
        for number, mode, buffering in ((0, "r", -1), (1, "w", 1), (2, "w", 1))
    )
    sys.argv = ["-c"]
    main = types.ModuleType("__main__")  # which processes that this one spawns would import
    sys.modules["__main__"] = main
    exec(eval(sys.stdin.readline()), main.__dict__)


class _Named:
    """Which clients of others the collected tests name."""

    def __init__(self) -> None:
        self.clients: set[str] = set()

    def pytest_collection_finish(self, session: pytest.Session) -> None:
        self.clients = outside_clients.named(session.items)


def main(number: int, arguments: list[str]) -> None:
    """Collect the tests, then fork workers."""
    with socket.socket(fileno=number) as listening, contextlib.ExitStack() as ends:
        said, named = io.StringIO(), _Named()
        with contextlib.redirect_stdout(said):
            status = pytest.main([*_QUIETLY, *arguments], plugins=[named])
        if status not in (pytest.ExitCode.OK, pytest.ExitCode.NO_TESTS_COLLECTED):
            sys.stderr.write(said.getvalue())  # the workers say it, too
        gc.freeze()  # forks need not look for garbage in it
        assert len(list(Path("/proc/self/task").iterdir())) == 1, (
            "a thread of a process that forks is in none of its forks"
        )
        if named.clients and os.geteuid() == 0:
            ends.callback(outside_clients.fetch_beside(named.clients))
        asking = _serve(listening)
        if asking is not None:
            ends.pop_all()  # they are for the process that began it
    if asking is not None:
        _become(asking)


if __name__ == "__main__":
    main(int(sys.argv[1]), sys.argv[2:])
