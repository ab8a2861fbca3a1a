"""Detached programs: found again by another process, never mistaken for one with a recycled id."""

import contextlib
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from stead_cli import processes, release, services
from stead_cli.errors import CliError
from stead_cli.processes import Began, Program
from stead_cli.waiting import wait_for


@pytest.fixture
def program(tmp_path: Path) -> Iterator[Program]:
    """A program that sleeps until it is stopped."""
    made = Program(
        "sleeper", [sys.executable, "-c", _SLEEPER], tmp_path / "run" / "sleeper.pid", tmp_path / "log" / "sleeper.log"
    )
    yield made
    processes.stop(made)


_SLEEPER = "import signal, sys; print('up', flush=True); signal.pause()"


def _awake(program: Program, times: int = 1) -> None:
    wait_for(
        lambda: processes.last_lines(program.log_file).count("up") == times, 10, lambda: CliError("it never came up")
    )


def test_start_find_stop(program: Program) -> None:
    assert processes.find(program) is None
    processes.start(program)
    pid = processes.find(program)
    assert pid
    assert processes.find(program) == pid
    assert processes.stop(program)
    assert processes.find(program) is None
    assert not processes.stop(program)
    assert not program.pid_file.exists()


def test_one_that_runs_as_it_should_is_left_alone(program: Program) -> None:
    assert processes.ensure(program) == Began.STARTED
    _awake(program)  # the kernel tells the words of a new program a moment after it has begun
    pid = processes.find(program)
    assert processes.ensure(program) == Began.RAN
    assert processes.find(program) == pid


@pytest.mark.parametrize("case", ["main", "succeeds", "fails", "not main", "in its own way", "no unit"])
def test_a_units_process_runs_on_until_all_is_ready_for_the_next(
    program: Program, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, case: str
) -> None:
    """Systemd reads units anew in a part of a second, in which nobody would answer; others are stopped and started."""
    processes.ensure(program)
    _awake(program)
    pid, asked = processes.find(program), []

    def systemctl(*words: str) -> "subprocess.CompletedProcess[str]":
        asked.append((*words, processes.find(program) == pid))
        return subprocess.CompletedProcess(words, int(words[0] == "reload" and case == "fails"), "", "")

    monkeypatch.setattr(services, "_FOLDER", tmp_path)
    monkeypatch.setattr(services, "_systemctl", systemctl)
    monkeypatch.setattr(services, "has_systemd", lambda: True)
    monkeypatch.setattr(services, "main_process", lambda _unit: 1 if case == "not main" else pid)
    name, began = "" if case == "no unit" else "sleeper.service", list[Program]()
    others = [*program.command, "another"]
    unit = replace(program, unit=name, unit_text="a unit", command=others, succeeds=case not in {"main", "no unit"})
    if case == "fails":
        (tmp_path / name).write_text("the former one", encoding="utf-8")
        program.log_file.write_text("it is broken\n")
        with pytest.raises(CliError, match=r"(?s)systemctl reload sleeper.service.*it is broken"):
            processes.ensure(unit)
        assert (tmp_path / name).read_text(encoding="utf-8") == "the former one"
        assert asked[-1] == ("daemon-reload", True)
        return
    ensured = processes.ensure(unit, began.append) if case == "in its own way" else processes.ensure(unit)
    assert (ensured, began) == (Began.REPLACED, [unit] if case == "in its own way" else [])
    if case == "main":
        assert (tmp_path / name).read_text(encoding="utf-8") == "a unit"
        assert asked == [("daemon-reload", True), ("enable", name, True), ("restart", name, True)]
    elif case == "succeeds":
        assert (tmp_path / name).read_text(encoding="utf-8") == "a unit"
        assert asked == [("daemon-reload", True), ("enable", name, True), ("reload", name, True)]
    elif case == "not main":
        assert asked[-1] == ("enable", "--now", name, False)
    else:
        assert asked == []


_SUCCEEDS = """
import os, pathlib, signal, sys, time
from stead_proto import alone
lock = pathlib.Path(sys.argv[1])
if alone.SUCCEEDS in os.environ:
    exec(sys.argv[2])
    os.kill(alone.holder(lock), signal.SIGTERM)
    while alone.holder(lock): time.sleep(0.01)
held = alone.take(lock)
print("up", flush=True)
signal.pause()
"""


@pytest.mark.parametrize("before", ["pass", "sys.exit('it cannot be loaded')"])
def test_one_that_succeeds_another_ends_that_by_itself(program: Program, tmp_path: Path, before: str) -> None:
    words = [sys.executable, "-c", _SUCCEEDS, str(tmp_path / "running")]
    former = replace(program, command=[*words, "former"], lock_file=tmp_path / "running", succeeds=True)
    processes.ensure(former)
    _awake(former)
    pid, later = processes.find(former), replace(former, command=[*words, before])
    if before == "pass":
        assert processes.ensure(later) == Began.REPLACED
        assert processes.find(later) not in {pid, None}
        _awake(later, 2)
        assert processes.ensure(later) == Began.RAN
        began = list[Program]()
        assert processes.ensure(replace(later, command=[*words, "else"]), began.append) == Began.REPLACED
        assert (len(began), processes.find(later)) == (1, None), "who starts it in another way finds nobody there"
    else:
        with pytest.raises(CliError, match="it cannot be loaded"):
            processes.ensure(later)
        assert processes.find(former) == pid
        assert processes.ensure(former) == Began.RAN


def test_one_that_does_not_come_to_succeed_is_killed(
    program: Program, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(processes, "_SUCCEED_SECONDS", 0.2)
    words = [sys.executable, "-c", _SUCCEEDS, str(tmp_path / "running")]
    former = replace(program, command=[*words, "former"], lock_file=tmp_path / "running", succeeds=True)
    processes.ensure(former)
    _awake(former)
    left = tmp_path / "left"
    later = replace(former, command=[*words, f"os.mkfifo({str(left)!r}); open({str(left)!r}, 'w')"])
    with pytest.raises(CliError, match="has not taken the place"):
        processes.ensure(later)
    assert processes.ensure(former) == Began.RAN
    if left.exists():  # it came that far
        wait_for(lambda: not _has_words(str(left)), 10, lambda: CliError("it is still there"))


def _has_words(part: str) -> bool:
    """Tell whether a process has these words in its command line."""
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        with contextlib.suppress(OSError):  # it has ended
            if part.encode() in path.read_bytes():
                return True
    return False


@pytest.mark.parametrize("change", ["release", "options"])
def test_one_of_another_release_or_with_other_options_is_replaced(
    program: Program, change: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    processes.ensure(program)
    _awake(program)
    pid = processes.find(program)
    assert pid
    if change == "release":
        monkeypatch.setattr(release, "current", lambda: "newer")
    else:
        program = replace(program, command=[*program.command, "--more"])
    assert processes.ensure(program) == Began.REPLACED
    assert processes.find(program) not in {pid, None}
    _awake(program, 2)
    assert processes.ensure(program) == Began.RAN


def test_a_script_is_known_behind_what_runs_it(program: Program, tmp_path: Path) -> None:
    script = tmp_path / "sleeper"
    script.write_text(f"#!{Path(sys.executable).resolve()}\n{_SLEEPER}\n")  # whose own path may have a space
    script.chmod(0o700)
    program = replace(program, command=[script, "--a", ""])
    processes.ensure(program)
    _awake(program)
    assert processes.ensure(program) == Began.RAN


def test_one_that_an_earlier_release_started_plainly_is_replaced(program: Program) -> None:
    with subprocess.Popen([str(word) for word in program.command], stdout=subprocess.DEVNULL) as old:
        program.pid_file.parent.mkdir(parents=True)
        processes.note(program, old.pid)
        wait_for(lambda: processes.find(program) == old.pid, 10, lambda: CliError("its arguments are not seen"))
        assert processes.ensure(program) == Began.REPLACED
        assert old.wait(60) == -signal.SIGTERM


def test_it_has_a_session_of_its_own_and_no_terminal(program: Program) -> None:
    processes.start(program)
    pid = processes.find(program)
    assert pid
    assert os.getsid(pid) == pid
    assert Path(f"/proc/{pid}/fd/0").readlink() == Path("/dev/null")
    assert Path(f"/proc/{pid}/cwd").readlink() == Path("/")


def test_a_recycled_process_id_is_never_taken_for_ours(program: Program) -> None:
    """The pid file names a living process that started at another time: somebody else's."""
    with subprocess.Popen([sys.executable, "-c", _SLEEPER], stdout=subprocess.DEVNULL) as stranger:
        program.pid_file.parent.mkdir(parents=True)
        boot = Path("/proc/sys/kernel/random/boot_id").read_text()
        program.pid_file.write_text(f"{stranger.pid} 1 {boot}")
        assert processes.find(program) is None
        assert not processes.stop(program)
        assert stranger.poll() is None
        stranger.kill()


def test_a_pid_file_of_an_earlier_boot_names_no_process(program: Program) -> None:
    processes.start(program)
    recorded = program.pid_file.read_text()
    program.pid_file.write_text(recorded.replace(recorded.split()[2], "00000000-0000-0000-0000-000000000000"))
    assert processes.find(program) is None
    program.pid_file.write_text(recorded)
    assert processes.find(program) is not None


@pytest.mark.parametrize("content", ["", "nonsense\n", "99999999 1 x\n", "-1 1 x\n"])
def test_a_broken_pid_file_names_no_process(program: Program, content: str) -> None:
    program.pid_file.parent.mkdir(parents=True)
    program.pid_file.write_text(content)
    assert processes.find(program) is None


def test_one_that_does_not_listen_is_killed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(processes, "_STOP_SECONDS", 0.2)
    deaf = "import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN); " + _SLEEPER
    program = Program("deaf", [sys.executable, "-c", deaf], tmp_path / "deaf.pid", tmp_path / "deaf.log")
    processes.start(program)
    pid = processes.find(program)
    assert pid
    _awake(program)
    assert processes.stop(program)
    assert processes.find(program) is None
    # This test is its parent, so it has to collect it.
    assert os.WTERMSIG(os.waitpid(pid, 0)[1]) == signal.SIGKILL


def test_output_is_appended_to_the_log(program: Program) -> None:
    for times in (1, 2):
        processes.start(program)
        _awake(program, times)
        processes.stop(program)
    assert processes.last_lines(program.log_file).splitlines() == ["up", "up"]


_HOLDER = """
import pathlib, signal, sys
from stead_proto import alone
try:
    alone.take(pathlib.Path(sys.argv[1]))
except alone.TakenError as error:
    print(error, flush=True)
    raise SystemExit(3)
print("up", flush=True)
signal.pause()
"""


@pytest.fixture
def holder(program: Program, tmp_path: Path) -> Iterator[Program]:
    """A program that holds a lock until it is stopped."""
    lock = tmp_path / "running"
    made = replace(program, command=[sys.executable, "-c", _HOLDER, lock], lock_file=lock)
    yield made
    processes.stop(made)


@pytest.mark.parametrize("lost", [True, False])
def test_a_program_whose_pid_file_is_lost_or_of_a_dead_process_is_found_by_its_lock(
    holder: Program, lost: bool
) -> None:
    assert processes.ensure(holder) == Began.STARTED
    _awake(holder)
    pid, noted = processes.find(holder), holder.pid_file.read_text()
    if lost:
        holder.pid_file.unlink()
    else:
        holder.pid_file.write_text(noted.replace(f"{pid} ", "4194303 "))
    assert processes.find(holder) == pid
    assert processes.ensure(holder) == Began.RAN
    assert holder.pid_file.read_text() == noted, "it is noted again"
    holder.pid_file.unlink()
    assert processes.stop(holder)
    assert processes.find(holder) is None
    assert not processes.stop(holder)


def test_a_second_one_of_the_same_lock_is_refused_and_says_which_runs(holder: Program) -> None:
    processes.start(holder)
    _awake(holder)
    pid = processes.find(holder)
    second = subprocess.run(list(map(str, holder.command)), capture_output=True, text=True, timeout=60, check=False)
    assert (second.returncode, second.stdout.split()[:2]) == (3, ["process", str(pid)])
    assert processes.find(holder) == pid, "who was refused has not ended the other's lock"


# A program and a stand-by that takes its place when it is dead, and says so when it has a child. Neither hears SIGTERM if so wished.
_WITH_STAND_BY = """
import os, pathlib, signal, sys
from stead_proto import alone
from stead_controller.supervisor import signal_at_death_of
if sys.argv[2] == "deaf":
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGUSR1})
lock = pathlib.Path(sys.argv[1])
held = alone.take(lock)
parent = os.getpid()
if os.fork():
    while True:
        signal.pause()
signal_at_death_of(parent, signal.SIGUSR1)
alone.stand_by(held)
print("up", flush=True)
signal.sigwait({signal.SIGUSR1})
alone.take_over(held, lock)
os.fork() and print("instead", flush=True)
while True:
    signal.pause()
"""


@pytest.fixture
def heir(program: Program, tmp_path: Path) -> Iterator[Callable[[str], Program]]:
    """Start a program with a stand-by."""
    made: list[Program] = []
    groups: list[int] = []

    def start(manner: str) -> Program:
        lock = tmp_path / "running"
        command = [sys.executable, "-c", _WITH_STAND_BY, lock, manner]
        made.append(replace(program, command=command, lock_file=lock, has_stand_by=True))
        assert processes.ensure(made[-1]) == Began.STARTED
        _awake(made[-1])
        groups.append(int(made[-1].pid_file.read_text().split()[0]))
        return made[-1]

    yield start
    for one in made:
        processes.stop(one)
    for group in groups:
        with contextlib.suppress(ProcessLookupError):  # all have ended
            os.killpg(group, signal.SIGKILL)


@pytest.mark.parametrize("manner", ["listens", "deaf"])
def test_one_that_is_stopped_leaves_no_stand_by(
    heir: Callable[[str], Program], manner: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(processes, "_STOP_SECONDS", 5.0 if manner == "listens" else 0.2)
    program = heir(manner)
    assert processes.stop(program)
    assert processes.find(program) is None
    assert not program.pid_file.exists()


@pytest.mark.parametrize("noted", [True, False])
def test_who_took_the_place_of_a_killed_one_is_found_left_alone_and_stopped(
    heir: Callable[[str], Program], noted: bool
) -> None:
    program = heir("listens")
    first = processes.find(program)
    assert first
    os.kill(first, signal.SIGKILL)
    assert os.waitpid(first, 0)[0] == first
    second = processes.find(program)
    assert second not in {first, None}
    if noted:
        wait_for(
            lambda: "instead" in processes.last_lines(program.log_file), 10, lambda: CliError("it did not take over")
        )
        assert processes.ensure(program) == Began.RAN
        assert program.pid_file.read_text().split()[0] == str(second)
    assert processes.stop(program)
    assert processes.find(program) is None


@pytest.mark.parametrize("took_over", [False, True])
def test_a_kill_is_one_of_all_that_would_take_its_place(heir: Callable[[str], Program], took_over: bool) -> None:
    program = heir("listens")
    running = processes.hold(program)
    assert running is not None
    group = running.pid
    if took_over:
        os.kill(group, signal.SIGKILL)
        assert os.waitpid(group, 0)[0] == group
        wait_for(
            lambda: "instead" in processes.last_lines(program.log_file), 10, lambda: CliError("it did not take over")
        )
        running.close()
        running = processes.hold(program)
        assert running is not None
    processes.kill(program, running)
    running.close()
    wait_for(lambda: _is_empty(group), 10, lambda: CliError("somebody lives"))


def _is_empty(group: int) -> bool:
    """Tell whether nobody of a process group is left, of which the first may be a child of ours."""
    with contextlib.suppress(ChildProcessError):  # it is no child of ours, or was reaped before
        os.waitpid(group, os.WNOHANG)
    try:
        os.killpg(group, 0)
    except ProcessLookupError:
        return True
    return False


def test_a_kill_spares_the_children_of_a_program_without_stand_by(program: Program) -> None:
    """An agent's are in its group, and must outlive it."""
    program = replace(program, command=[sys.executable, "-c", _WITH_CHILD])
    processes.start(program)
    _awake(program, 2)
    running = processes.hold(program)
    assert running is not None
    try:
        processes.kill(program, running)
        assert os.WTERMSIG(os.waitpid(running.pid, 0)[1]) == signal.SIGKILL
        os.killpg(running.pid, signal.SIGUSR1)
        wait_for(lambda: "lives" in processes.last_lines(program.log_file), 10, lambda: CliError("the child is dead"))
    finally:
        running.close()
        os.killpg(running.pid, signal.SIGKILL)


_WITH_CHILD = """
import os, signal
signal.signal(signal.SIGUSR1, lambda *_: print("lives", flush=True))
os.fork()
print("up", flush=True)
while True:
    signal.pause()
"""


def test_a_kill_spares_a_group_that_has_another_first_process(heir: Callable[[str], Program], tmp_path: Path) -> None:
    """As of a program that a script has started: its stand-by takes its place, and is stopped then."""
    lock = tmp_path / "running"
    words = [sys.executable, "-c", _WITH_STAND_BY, str(lock), "listens"]
    script = f"import subprocess, sys; subprocess.run(sys.argv[1:]); {_SLEEPER}"
    program = Program("x", words, tmp_path / "x.pid", tmp_path / "x", lock_file=lock, has_stand_by=True)
    whole = [sys.executable, "-c", script, *words]
    with subprocess.Popen(whole, start_new_session=True, stdout=subprocess.PIPE) as first:
        try:
            assert first.stdout is not None
            assert first.stdout.readline() == b"up\n"  # of the stand-by
            running = processes.hold(program)
            assert running is not None
            processes.kill(program, running)
            running.close()
            wait_for(
                lambda: processes.find(program) not in {None, running.pid}, 10, lambda: CliError("the stand-by is dead")
            )
            assert processes.stop(program)
            assert first.poll() is None
        finally:
            os.killpg(first.pid, signal.SIGKILL)
    assert processes.find(program) is None


def test_a_start_that_cannot_be_noted_is_undone(program: Program) -> None:
    (program.pid_file.parent / f".{program.pid_file.name}.new").mkdir(parents=True)  # so that no file can be there
    with pytest.raises(CliError, match="started and ended again"):
        processes.start(program)
    running = subprocess.run(["pgrep", "-f", _SLEEPER], capture_output=True, text=True, check=False).stdout.split()
    assert [pid for pid in running if Path(f"/proc/{pid}/stat").read_text().split()[3] == str(os.getpid())] == []
    assert not program.pid_file.exists()
