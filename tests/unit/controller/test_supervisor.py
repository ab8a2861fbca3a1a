"""A serving process that is killed is replaced, one that exits is not, and none outlives its parent."""

import os
import select
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final

import pytest

from stead_controller.supervisor import EARLY_SECONDS, Pauses
from tests.support.waiting import wait_for

# Arguments: what the child does, and what is done before the first fork.
_PROGRAM: Final = """
import logging, os, resource, signal, sys
from stead_controller import supervisor
logging.basicConfig(level="ERROR", format="%(message)s")
exec(sys.argv[2])
supervisor.fork_until_ended(lambda: os.write(2, b"replaced\\n"))
os.write(1, b"%d\\n" % os.getpid())
exec(sys.argv[1])
"""
_WAITS: Final = "signal.pause()"
_ENDS_WELL: Final = "signal.signal(15, lambda *_: sys.exit(0)); os.write(1, b'ready\\n'); signal.pause()"
_SECONDS: Final = 60


class Supervised:
    """A parent, and the ids of its children as they come."""

    def __init__(self, log: Path, child: str, first: str = "") -> None:
        self.log = log
        with log.open("wb") as file:
            words = [sys.executable, "-c", _PROGRAM, child, first]
            self.process = subprocess.Popen(words, stdout=subprocess.PIPE, stderr=file, start_new_session=True)

    def line(self) -> bytes:
        """The next line that a child writes."""
        assert self.process.stdout is not None
        line: bytes = self.process.stdout.readline()
        return line.strip()

    def end(self) -> int:
        """Wait for the parent's end; return its code."""
        return self.process.wait(_SECONDS)


@pytest.fixture
def supervised(tmp_path: Path) -> Iterator[Callable[..., Supervised]]:
    """Start a parent with a child that follows commands."""
    made: list[Supervised] = []

    def start(child: str, first: str = "") -> Supervised:
        made.append(Supervised(tmp_path / "log", child, first))
        return made[-1]

    yield start
    for one in made:
        one.process.kill()
        one.process.communicate()


def test_only_who_died_early_several_times_waits() -> None:
    pauses = Pauses()
    assert [pauses.after(0) for _ in range(9)] == [0, 0, 0, 0, 0, 0.25, 0.5, 1, 2]
    assert pauses.after(EARLY_SECONDS) == 0, "it could run"
    assert [pauses.after(0) for _ in range(6)] == [0, 0, 0, 0, 0, 0.25]
    assert max(pauses.after(0) for _ in range(3000)) == 10


def test_who_is_killed_is_replaced(supervised: Callable[..., Supervised]) -> None:
    one = supervised(_WAITS)
    first = int(one.line())
    assert first != one.process.pid
    os.kill(first, signal.SIGKILL)
    second = int(one.line())
    assert second not in {first, one.process.pid}
    os.kill(second, signal.SIGSEGV)
    assert int(one.line()) not in {first, second}
    lines = one.log.read_text().splitlines()
    assert lines == ["replaced", "controller_was_killed"] * 2


def test_who_exits_is_not_replaced(supervised: Callable[..., Supervised]) -> None:
    for code in (0, 3):
        assert supervised(f"sys.exit({code})").end() == code


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_the_end_is_passed_on_and_awaited(supervised: Callable[..., Supervised], number: int) -> None:
    one = supervised(_ENDS_WELL)
    child = int(one.line())
    assert one.line() == b"ready"
    one.process.send_signal(number)
    assert one.end() == 0
    assert not Path(f"/proc/{child}").exists()
    assert one.log.read_text() == ""


def test_an_end_that_fails_is_told(supervised: Callable[..., Supervised]) -> None:
    one = supervised(_ENDS_WELL.replace("sys.exit(0)", "sys.exit(5)"))
    one.line(), one.line()
    one.process.send_signal(signal.SIGTERM)
    assert one.end() == 5
    one = supervised(_ENDS_WELL.replace("sys.exit(0)", "os.kill(os.getpid(), 9)"))
    one.line(), one.line()
    one.process.send_signal(signal.SIGTERM)
    assert one.end() == 128 + signal.SIGKILL, "it is not replaced"


def test_a_child_that_has_no_handler_yet_ends_as_well(supervised: Callable[..., Supervised]) -> None:
    one = supervised(_WAITS)
    one.line()
    one.process.send_signal(signal.SIGTERM)
    assert one.end() == 0


def test_none_outlives_its_parent(supervised: Callable[..., Supervised]) -> None:
    one = supervised(_WAITS)
    child = os.pidfd_open(int(one.line()))
    try:
        one.process.kill()
        one.end()
        wait_for(lambda: _has_ended(child), "the kernel has killed the child", _SECONDS)
    finally:
        os.close(child)


def test_none_begins_whose_parent_is_dead_already(supervised: Callable[..., Supervised]) -> None:
    late = """
import time
parent, fork = os.getpid(), os.fork
def slow():
    child = fork()
    if child == 0:
        os.write(1, b"%d\\n" % os.getpid())
        while os.getppid() == parent:
            time.sleep(0.01)
    return child
os.fork = slow
"""
    one = supervised(_WAITS, late)
    child = os.pidfd_open(int(one.line()))
    try:
        one.process.kill()
        wait_for(lambda: _has_ended(child), "the child ends", _SECONDS)
    finally:
        os.close(child)
    assert one.line() == b"", "it did not begin"


def test_who_dies_again_and_again_is_replaced_ever_more_slowly_and_can_be_ended(
    supervised: Callable[..., Supervised],
) -> None:
    one = supervised("os.kill(os.getpid(), 9)", "supervisor._FIRST_PAUSE = 3600.0; supervisor._LONGEST_PAUSE = 3600.0")
    children = {int(one.line()) for _ in range(6)}
    assert len(children) == 6
    wait_for(lambda: one.log.read_text().count("controller_was_killed") == 6, "the last one is dead", _SECONDS)
    one.process.send_signal(signal.SIGTERM)
    assert one.end() == 0
    assert one.line() == b"", "no seventh was forked"


def test_signals_that_were_ignored_or_blocked_by_who_started_us_change_nothing(
    supervised: Callable[..., Supervised],
) -> None:
    one = supervised("sys.exit(4)", "signal.signal(signal.SIGCHLD, signal.SIG_IGN)")
    assert one.end() == 4
    one = supervised("os.write(1, repr(signal.pthread_sigmask(0, [])).encode() + b'\\n')")
    one.line()
    assert one.line() == b"set()", "the child gets the signals that its parent waits for"


def test_where_no_process_can_be_made_it_is_tried_again(supervised: Callable[..., Supervised]) -> None:
    refuse = """
fork, tries = os.fork, []
def refused():
    tries.append(1)
    if len(tries) < 3:
        raise BlockingIOError(11, "no process id is left")
    return fork()
os.fork = refused
"""
    one = supervised(_WAITS, refuse)
    assert int(one.line()) != one.process.pid
    assert one.log.read_text().count("controller_cannot_be_forked") == 2


def _has_ended(pidfd: int) -> bool:
    poller = select.poll()
    poller.register(pidfd, select.POLLIN)
    return bool(poller.poll(0))


_APART: Final = """
import os, signal, sys
from stead_controller import supervisor
here = os.getpid()
def work():
    print("here" if os.getpid() == here else "apart", flush=True)
    if os.getpid() != here:
        exec(sys.argv[1])
supervisor.apart(work)
print("goes on")
"""


@pytest.mark.parametrize(
    ("does", "said"),
    [
        ("import alembic", ["apart", "goes on"]),
        ("raise ValueError", ["apart", "here", "goes on"]),
        ("sys.exit(0)", ["apart", "here", "goes on"]),
        ("os.kill(os.getpid(), signal.SIGKILL)", ["apart", "here", "goes on"]),
        ("os.kill(here, signal.SIGKILL); signal.pause()", ["apart"]),
    ],
)
def test_work_is_done_in_another_process_and_here_if_that_fails(does: str, said: list[str]) -> None:
    # The output ends when all who could write to it have: with a process that outlives its parent, never.
    words = [sys.executable, "-c", _APART, does]
    done = subprocess.run(words, stdout=subprocess.PIPE, text=True, timeout=_SECONDS, check=False)
    assert done.stdout.splitlines() == said
