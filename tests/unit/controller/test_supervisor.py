"""A process that is killed is replaced, whichever it is; a server that exits is not, and none outlives its parent."""

import contextlib
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
def said(*words):
    return lambda *_: os.write(2, b" ".join(words) + b"\\n")
hooks = supervisor.Hooks(said(b"replaced"), lambda: None, said(b"takes over"), lambda pid: os.write(1, b"(%d\\n" % pid))
supervisor.fork_until_ended(hooks)
os.write(1, b"%d\\n" % os.getpid())
exec(sys.argv[1])
"""
_WAITS: Final = "signal.pause()"
_ENDS_WELL: Final = "signal.signal(15, lambda *_: sys.exit(0)); os.write(1, b'ready\\n'); signal.pause()"
_SECONDS: Final = 60
_SERVES: Final = "signal.signal(15, lambda *_: sys.exit(0)); signal.pause()"


class Supervised:
    """A parent, and the ids of its servers and stand-bys as they come."""

    def __init__(self, log: Path, child: str, first: str = "") -> None:
        self.log = log
        with log.open("wb") as file:
            words = [sys.executable, "-c", _PROGRAM, child, first]
            self.process = subprocess.Popen(words, stdout=subprocess.PIPE, stderr=file, start_new_session=True)
        self._stand_bys: list[int] = []
        self._lines: list[bytes] = []

    def line(self) -> bytes:
        """The next line that a server writes."""
        if self._lines:
            return self._lines.pop(0)
        while (line := self._read()) is None:
            pass
        return line

    def stand_by(self) -> int:
        """The id of the next stand-by."""
        while not self._stand_bys:
            line = self._read()
            assert line != b"", self.log.read_text()
            if line is not None:
                self._lines.append(line)
        return self._stand_bys.pop(0)

    def _read(self) -> bytes | None:
        """The next line; None if that was a stand-by's."""
        assert self.process.stdout is not None
        line: bytes = self.process.stdout.readline().strip()
        if not line.startswith(b"("):
            return line
        self._stand_bys.append(int(line[1:]))
        return None

    def freeze(self) -> None:
        """Stop the parent, so that it replaces nobody; it hears nothing more when this returns."""
        self.process.send_signal(signal.SIGSTOP)
        wait_for(lambda: _fields_of(self.process.pid)[0] == "T", "it is stopped", _SECONDS)

    def rest(self) -> bytes:
        """What servers still write until all processes have ended, and so have left the pipe."""
        lines = []
        while (line := self.line()) != b"":
            lines.append(line)
        return b"\n".join(lines)

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
        with contextlib.suppress(ProcessLookupError):  # all of them have ended
            os.killpg(one.process.pid, signal.SIGKILL)
        one.process.communicate()  # until nobody has the pipe any more


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
        one = supervised(f"sys.exit({code})")
        assert one.end() == code
        one.line()
        assert one.rest() == b"", "its stand-by has not taken its place"
        assert one.log.read_text() == ""


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_the_end_is_passed_on_and_awaited(supervised: Callable[..., Supervised], number: int) -> None:
    one = supervised(_ENDS_WELL)
    child = int(one.line())
    assert one.line() == b"ready"
    one.process.send_signal(number)
    assert one.end() == 0
    assert one.rest() == b"", "its stand-by has not taken its place"
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


def test_none_outlives_its_parent_whose_place_the_stand_by_takes(supervised: Callable[..., Supervised]) -> None:
    one = supervised(_SERVES)
    first, heir = int(one.line()), one.stand_by()
    with _held(first) as server:
        one.process.kill()
        assert one.end() == -signal.SIGKILL
        wait_for(lambda: _has_ended(server), "the kernel has killed the server", _SECONDS)
    second = int(one.line())
    assert _parent_of(second) == heir
    assert one.stand_by() not in {first, second, heir}
    assert one.log.read_text().splitlines() == ["replaced", "controller_parent_was_killed", "takes over"]
    with _held(heir) as parent, _held(second) as server:
        os.kill(heir, signal.SIGTERM)
        wait_for(lambda: _has_ended(parent) and _has_ended(server), "both have ended", _SECONDS)
    assert one.line() == b"", "nobody has the pipe"


def test_parents_that_are_killed_one_after_the_other(supervised: Callable[..., Supervised]) -> None:
    one = supervised(_SERVES)
    parents = [one.process.pid]
    for _ in range(4):
        one.line()
        heir = one.stand_by()
        os.kill(parents[-1], signal.SIGKILL)
        parents.append(heir)
    assert _parent_of(int(one.line())) == parents[-1]
    assert len(set(parents)) == 5


def test_a_parent_that_is_killed_with_its_server(supervised: Callable[..., Supervised]) -> None:
    one = supervised(_SERVES)
    server, heir = int(one.line()), one.stand_by()
    one.freeze()
    os.kill(server, signal.SIGKILL)
    one.process.kill()
    assert _parent_of(int(one.line())) == heir


def test_nothing_is_left_where_parent_and_stand_by_are_killed(supervised: Callable[..., Supervised]) -> None:
    one = supervised(_SERVES)
    one.line()
    one.freeze()
    os.kill(one.stand_by(), signal.SIGKILL)
    one.process.kill()
    assert one.line() == b"", "nobody has the pipe"
    assert one.log.read_text() == ""


def test_a_stand_by_that_is_killed_is_replaced_and_the_server_serves_on(supervised: Callable[..., Supervised]) -> None:
    one = supervised(_SERVES)
    server, heir = int(one.line()), one.stand_by()
    os.kill(heir, signal.SIGKILL)
    second = one.stand_by()
    assert second != heir
    assert one.log.read_text().splitlines() == ["replaced", "controller_stand_by_was_killed"]
    assert _parent_of(server) == one.process.pid
    one.process.kill()
    assert _parent_of(int(one.line())) == second


@pytest.mark.parametrize("stopped", [True, False])
def test_a_stand_by_passes_on_what_asks_it_to_end(supervised: Callable[..., Supervised], stopped: bool) -> None:
    """Also where the parent does not hear it any more: then nobody takes its place."""
    one = supervised(_ENDS_WELL)
    one.line(), one.line()
    heir = one.stand_by()
    if stopped:
        one.freeze()
    os.kill(heir, signal.SIGTERM)
    if stopped:
        wait_for(lambda: _is_told(one.process.pid, signal.SIGTERM), "the parent was told", _SECONDS)
        one.process.kill()
    assert one.end() == (-signal.SIGKILL if stopped else 0)
    assert one.line() == b"", "nobody has the pipe"
    assert one.log.read_text() == ""


def test_who_is_asked_to_end_while_it_takes_over_ends(supervised: Callable[..., Supervised]) -> None:
    """The signal comes while the log is opened again, or later while a pause is made."""
    one = supervised(_SERVES, "os_write, os.write = os.write, lambda *a: (os_write(*a), _asked(a))[0]\n" + _ASKED)
    one.line()
    one.process.kill()
    assert one.line() == b"", "it did not fork"
    assert one.log.read_text().splitlines() == ["replaced", "controller_parent_was_killed", "takes over"]


_ASKED: Final = """
def _asked(arguments):
    if arguments[1] == b"takes over\\n":
        os.kill(os.getpid(), signal.SIGTERM)
"""


def test_parents_that_die_at_once_are_replaced_ever_more_slowly(supervised: Callable[..., Supervised]) -> None:
    one = supervised(
        "os.kill(os.getppid(), 9); signal.pause()",
        "supervisor._FIRST_PAUSE = 3600.0; supervisor._LONGEST_PAUSE = 3600.0",
    )
    assert len({int(one.line()) for _ in range(6)}) == 6
    wait_for(lambda: one.log.read_text().count("takes over") == 6, "the last one makes a pause", _SECONDS)
    os.killpg(one.process.pid, signal.SIGTERM)
    assert one.line() == b"", "no seventh was forked"


def test_a_stand_by_begins_as_it_is_asked_to(supervised: Callable[..., Supervised]) -> None:
    hooked = """
original = supervisor.Hooks
supervisor.Hooks = lambda a, b, c, d: original(a, lambda: os.write(2, b"stands by %d\\n" % os.getpid()), c, d)
"""
    one = supervised(_SERVES, hooked)
    one.line()
    heir = one.stand_by()
    wait_for(lambda: one.log.read_text() == f"stands by {heir}\n", "it says so", _SECONDS)


def test_a_stand_by_that_cannot_stand_by_is_replaced_ever_more_slowly(supervised: Callable[..., Supervised]) -> None:
    """The server serves on without one."""
    fails = """
supervisor._FIRST_PAUSE = supervisor._LONGEST_PAUSE = 3600.0
original = supervisor.Hooks
supervisor.Hooks = lambda a, b, c, d: original(a, lambda: sys.exit(7), c, d)
"""
    one = supervised(_SERVES, fails)
    server = int(one.line())
    wait_for(lambda: one.log.read_text().count("controller_stand_by_was_killed") == 6, "a pause is made", _SECONDS)
    assert _children_of(one.process.pid) == {server}
    one.process.send_signal(signal.SIGTERM)
    assert one.end() == 0
    assert one.log.read_text().count("controller_stand_by_was_killed") == 6


def test_where_no_process_can_be_made_at_all_it_is_tried_ever_more_slowly(
    supervised: Callable[..., Supervised],
) -> None:
    refused = """
supervisor._FIRST_PAUSE = supervisor._LONGEST_PAUSE = 3600.0
def refuse():
    raise BlockingIOError(11, "no process id is left")
os.fork = refuse
"""
    one = supervised(_SERVES, refused)
    wait_for(lambda: one.log.read_text().count("controller_cannot_be_forked") >= 12, "both are tried", _SECONDS)
    one.process.send_signal(signal.SIGTERM)
    assert one.end() == 0
    assert one.log.read_text().count("controller_cannot_be_forked") == 12


def test_children_of_others_that_the_parent_gets_are_let_alone(supervised: Callable[..., Supervised]) -> None:
    """As the first process of a container has them."""
    one = supervised(_SERVES, "if os.fork() == 0: signal.pause()")
    server, heir = int(one.line()), one.stand_by()
    (other,) = _children_of(one.process.pid) - {server, heir}
    os.kill(other, signal.SIGKILL)
    wait_for(lambda: _children_of(one.process.pid) == {server, heir}, "the other one is reaped", _SECONDS)
    os.kill(server, signal.SIGKILL)
    assert _parent_of(int(one.line())) == one.process.pid


def test_a_child_of_others_that_ended_before_is_reaped_as_well(supervised: Callable[..., Supervised]) -> None:
    one = supervised(_SERVES, "os.waitid(os.P_PID, os.fork() or os._exit(3), os.WEXITED | os.WNOWAIT)")
    server, heir = int(one.line()), one.stand_by()
    assert _children_of(one.process.pid) == {server, heir}


def test_who_may_not_take_over_does_not(supervised: Callable[..., Supervised]) -> None:
    one = supervised(
        _SERVES,
        "supervisor_hooks = supervisor.Hooks\nsupervisor.Hooks = lambda a, b, c, d: supervisor_hooks(a, b, lambda: sys.exit(7), d)",
    )
    one.line()
    one.process.kill()
    assert one.line() == b"", "it ended"


@contextlib.contextmanager
def _held(pid: int) -> Iterator[int]:
    """A pidfd of a process."""
    handle = os.pidfd_open(pid)
    try:
        yield handle
    finally:
        os.close(handle)


def _parent_of(pid: int) -> int:
    return int(_fields_of(pid)[1])


def _children_of(pid: int) -> set[int]:
    return {int(word) for word in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()}


def _fields_of(pid: int) -> list[str]:
    """What /proc/PID/stat says behind a process's name: its state, its parent and more (proc_pid_stat(5))."""
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()


def _is_told(pid: int, number: signal.Signals) -> bool:
    """Tell whether a signal waits for a process, as /proc/PID/status says in hexadecimal digits."""
    [pending] = [line for line in Path(f"/proc/{pid}/status").read_text().splitlines() if line.startswith("ShdPnd:")]
    return bool(int(pending.split()[1], 16) >> (number - 1) & 1)


def test_none_begins_whose_parent_is_dead_already(supervised: Callable[..., Supervised]) -> None:
    late = """
import time
parent, fork = os.getpid(), os.fork
forks = []
def slow():
    forks.append(1)
    child = fork()
    if child == 0 and len(forks) == 2 and os.getppid() == parent:
        os.write(1, b"%d\\n" % os.getpid())
        while os.getppid() == parent:
            time.sleep(0.01)
    return child
os.fork = slow
"""
    one = supervised(_WAITS, late)
    first = int(one.line())
    with _held(first) as server:
        one.process.kill()
        wait_for(lambda: _has_ended(server), "the server ends", _SECONDS)
    assert int(one.line()) != first, "it did not begin"


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
    ours = repr(signal.pthread_sigmask(signal.SIG_BLOCK, []))  # `perf record` blocks one in what it starts
    assert one.line().decode() == ours, "the child gets the signals that its parent waits for"


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


_IS_SUCCEEDED: Final = """
import pathlib
aside = pathlib.Path({aside!r})
original = supervisor.Hooks
supervisor.Hooks = lambda *four: original(*four, aside.exists)
"""


@pytest.mark.parametrize("how", [signal.SIGTERM, signal.SIGKILL])
def test_who_is_succeeded_stands_aside_and_serves_again_where_that_fails(
    supervised: Callable[..., Supervised], tmp_path: Path, how: signal.Signals
) -> None:
    """Whether its server has ended or was killed; nothing is logged as one that dies by itself."""
    aside = tmp_path / "aside"
    one = supervised(_ENDS_WELL, _IS_SUCCEEDED.format(aside=str(aside)))
    server = int(one.line())
    assert one.line() == b"ready"
    aside.touch()
    with _held(server) as first:
        os.kill(server, how)
        wait_for(lambda: _has_ended(first), "it has ended", 10)
    wait_for(lambda: len(_children_of(one.process.pid)) == 1, "its stand-by alone is left", 10)
    assert one.process.poll() is None
    os.kill(one.stand_by(), signal.SIGKILL)
    one.stand_by()
    assert len(_children_of(one.process.pid)) == 1, "no other server is forked meanwhile"
    aside.unlink()
    assert int(one.line()) != server
    assert "controller_was_killed" not in one.log.read_text()


def test_who_stands_aside_can_be_ended(supervised: Callable[..., Supervised], tmp_path: Path) -> None:
    aside = tmp_path / "aside"
    one = supervised(_ENDS_WELL, _IS_SUCCEEDED.format(aside=str(aside)))
    server = int(one.line())
    assert one.line() == b"ready"
    aside.touch()
    os.kill(server, signal.SIGTERM)
    wait_for(lambda: len(_children_of(one.process.pid)) == 1, "its stand-by alone is left", 10)
    one.process.send_signal(signal.SIGTERM)
    assert one.end() == 0
    assert one.rest() == b"", "nobody is left"


def test_a_server_that_there_is_already_is_the_first_one(supervised: Callable[..., Supervised]) -> None:
    has_one = """
forked = supervisor.fork_bound()
if forked == 0:
    exec(sys.argv[1])
begin = supervisor.fork_until_ended
supervisor.fork_until_ended = lambda hooks: begin(hooks, forked)
"""
    one = supervised(_ENDS_WELL, has_one)
    assert one.line() == b"ready"
    [server] = _children_of(one.process.pid) - {one.stand_by()}
    os.kill(server, signal.SIGKILL)
    assert int(one.line()) != server, "it is replaced as any other"
    assert one.line() == b"ready"
    one.process.send_signal(signal.SIGTERM)
    assert one.end() == 0
