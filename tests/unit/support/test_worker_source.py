"""Workers are forks of a process that has collected the tests: what pytest starts in their place behaves as they do."""

import os
import shlex
import signal
import subprocess
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from tests.support import worker_source
from tests.support.waiting import wait_for

_SAYS = """
import atexit, os, signal, sys, threading
atexit.register(print, 'ended')
loaded = 'tests.unit.support.test_waiting' in sys.modules
spawned = sys.modules['__main__'].__spec__  # what a process of multiprocessing would import
print(os.getpid(), loaded, __name__, spawned, sys.argv, signal.getsignal(signal.SIGCHLD).name, threading.active_count())
print(sys.stdin.read(), file=sys.stderr)
"""


@pytest.fixture(scope="module")
def command() -> Any:
    """The command of a worker, of a source that has collected one file, for all tests: it serves each that asks."""
    ends: list[Callable[[], None]] = []
    config = SimpleNamespace(args=["tests/unit/support/test_waiting.py"], add_cleanup=ends.append)
    spec = SimpleNamespace()
    worker_source.share(cast("pytest.Config", config), [spec])
    words = shlex.split(spec.python)
    yield words
    for end in ends:
        end()
    assert not Path(words[-1]).parent.exists()


def test_a_worker_is_a_fork_that_runs_what_it_is_sent_and_ends(command: list[str]) -> None:
    line = repr(_SAYS) + "\n"
    done = subprocess.run(
        [*command, "-u", "-c", ""], input=line + "the rest", capture_output=True, text=True, check=True, timeout=60
    )
    said, ended = done.stdout.splitlines()
    process, *rest = said.split(" ", 1)
    assert (rest, ended) == (["True __main__ None ['-c'] SIG_DFL 1"], "ended")
    assert done.stderr == "the rest\n"
    wait_for(lambda: not Path("/proc", process).exists(), "it is gone", 10)


def test_who_is_killed_is_seen_to_end(command: list[str]) -> None:
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as worker:
        assert worker.stdin is not None
        assert worker.stdout is not None
        worker.stdin.write(repr("import os, sys\nprint(os.getpid(), flush=True)\nsys.stdin.read()") + "\n")
        worker.stdin.flush()
        os.kill(int(worker.stdout.readline()), signal.SIGKILL)
        assert worker.stdout.read() == "", "pytest sees the end"
        wait_for(lambda: worker.poll() is not None, "the program between them ends, too", 10)
