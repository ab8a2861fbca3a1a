"""One program per lock file: while it or its stand-by lives nobody else begins, and the kernel knows which holds it."""

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final

import pytest

from stead_proto import alone
from tests.support.waiting import wait_for

# A program and its stand-by, which takes over at SIGUSR1 and says how that went.
_PROGRAM: Final = """
import os, pathlib, signal, sys
from stead_proto import alone
path = pathlib.Path(sys.argv[1])
held = alone.take(path)
signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGUSR1})
if os.fork() == 0:
    alone.stand_by(held)
    print(os.getpid(), flush=True)
    signal.sigwait({signal.SIGUSR1})
    try:
        alone.take_over(held, path)
        print("taken", flush=True)
    except Exception as error:
        print(type(error).__name__, flush=True)
signal.pause()
"""


class Pair:
    """A program and its stand-by."""

    def __init__(self, lock: Path) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-c", _PROGRAM, str(lock)], stdout=subprocess.PIPE, text=True, start_new_session=True
        )
        self.stand_by = int(self.line())

    def line(self) -> str:
        """The next line that the stand-by writes."""
        assert self.process.stdout is not None
        return self.process.stdout.readline().strip()

    def kill(self) -> None:
        """Kill the program."""
        self.process.kill()
        self.process.wait(60)


@pytest.fixture
def lock(tmp_path: Path) -> Path:
    return tmp_path / "running"


@pytest.fixture
def pair(lock: Path) -> Iterator[Pair]:
    made = Pair(lock)
    yield made
    os.killpg(made.process.pid, signal.SIGKILL)
    made.process.communicate()


def _is_refused(lock: Path, holder: int) -> None:
    with pytest.raises(alone.TakenError, match=f"process {holder} runs with"):
        alone.take(lock)


def test_it_is_held_without_an_instant_in_between(pair: Pair, lock: Path) -> None:
    assert alone.holder(lock) == pair.process.pid
    _is_refused(lock, pair.process.pid)
    pair.kill()
    assert alone.holder(lock) == pair.stand_by
    _is_refused(lock, pair.stand_by)
    os.kill(pair.stand_by, signal.SIGUSR1)
    assert pair.line() == "taken"
    assert alone.holder(lock) == pair.stand_by
    _is_refused(lock, pair.stand_by)


def test_who_holds_it_stands_aside_and_so_does_a_stand_by_in_its_place(pair: Pair, lock: Path) -> None:
    assert alone.stands_aside(lock)
    pair.kill()
    assert not alone.stands_aside(lock), "nobody has a server that could end"
    os.kill(pair.stand_by, signal.SIGUSR1)
    assert pair.line() == "taken"
    assert alone.stands_aside(lock)
    assert not alone.stands_aside(lock.with_name("elsewhere"))


def test_an_earlier_release_does_not_stand_aside(lock: Path) -> None:
    code = (
        "import fcntl, sys; f = open(sys.argv[1], 'w'); fcntl.lockf(f, fcntl.LOCK_EX, 1, 0); print(flush=True); input()"
    )
    with subprocess.Popen(
        [sys.executable, "-c", code, str(lock)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as former:
        assert former.stdout is not None
        former.stdout.readline()
        assert (alone.holder(lock), alone.stands_aside(lock)) == (former.pid, False)
        former.communicate("\n")


def test_the_place_of_a_stand_by_is_free_again_when_it_takes_over(pair: Pair, lock: Path) -> None:
    pair.kill()
    os.kill(pair.stand_by, signal.SIGUSR1)
    assert pair.line() == "taken"
    descriptor = os.open(lock, os.O_RDWR)
    try:
        alone.stand_by(descriptor)
        with pytest.raises(BlockingIOError):
            alone.take_over(descriptor, lock)
    finally:
        os.close(descriptor)


def test_it_is_free_when_both_are_dead(pair: Pair, lock: Path) -> None:
    os.kill(pair.stand_by, signal.SIGKILL)
    pair.kill()
    wait_for(lambda: alone.holder(lock) is None, "the stand-by is dead")
    os.close(alone.take(lock))


def _other_file(lock: Path) -> None:
    lock.rename(lock.with_name("before"))
    lock.touch()


@pytest.mark.parametrize("change", [Path.unlink, _other_file])
def test_the_state_of_a_cloud_that_was_removed_is_not_taken_over(
    pair: Pair, lock: Path, change: Callable[[Path], None]
) -> None:
    change(lock)
    pair.kill()
    os.kill(pair.stand_by, signal.SIGUSR1)
    assert pair.line() == "TakenError"


def test_only_one_stands_by(pair: Pair, lock: Path) -> None:
    descriptor = os.open(lock, os.O_RDWR)
    try:
        with pytest.raises(BlockingIOError):
            alone.stand_by(descriptor)
    finally:
        os.close(descriptor)
    assert pair.stand_by


def test_nobody_holds_what_is_not_there(lock: Path) -> None:
    assert alone.holder(lock) is None
