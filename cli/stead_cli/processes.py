"""Start, find and stop long-running programs: systemd units where systemd runs, else detached processes.

A pid file holds the process id, its start time in clock ticks and the machine's boot id, so that a process id that
the kernel has reused for another program is never taken for ours, and never killed. A program that holds a lock of
its own is also found by that, if its pid file could not be written or was lost.
"""

import os
import select
import signal
import subprocess
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Final

from stead_cli import release, services
from stead_cli.errors import CliError
from stead_cli.settings import replace_text
from stead_cli.waiting import wait_for
from stead_proto import alone
from stead_proto.process_identity import identity_of

_STOP_SECONDS: Final = 20.0
_KILL_SECONDS: Final = 5.0
_SUCCEED_SECONDS: Final = 240.0  # it loads modules, which takes 3 s of a processor, and proves that it serves
_MOST_STAND_BYS: Final = 3  # one took the place of what was just ended; more than that is somebody who starts it again


@dataclass(frozen=True, slots=True)
class Program:
    """A program that runs at most once per state directory."""

    name: str
    command: Sequence[str | Path]
    pid_file: Path
    log_file: Path
    may_be_killed: bool = False  # SIGTERM would take long, and SIGKILL loses no data
    unit: str = ""  # the name of its systemd unit; empty: it is never a unit
    unit_text: str = ""
    lock_file: Path | None = None  # held by the program as long as it runs (`stead_proto.alone`)
    has_stand_by: bool = False  # when it is killed, a process of its group takes its place
    succeeds: bool = False  # told so by `alone.SUCCEEDS`, it ends the one that holds its lock file once it is loaded


@dataclass(frozen=True, slots=True)
class Running:
    """A process, held by a pidfd, so that a reused process id cannot be mistaken for it."""

    pid: int
    pidfd: int

    def close(self) -> None:
        """Close the pidfd; the process continues to run."""
        os.close(self.pidfd)


class Began(StrEnum):
    """What `ensure` had to do."""

    STARTED = "started"
    REPLACED = "started anew: it was of another release, or had other settings"
    RAN = "ran already"


def ensure(program: Program, start_it: "Callable[[Program], None] | None" = None) -> Began:
    """Make sure the program runs as it would be started now; replace one of another release or with other options."""
    pid = find(program)
    if pid is not None and is_as_wanted(program, pid):
        _note_again(program, pid)
        return Began.RAN
    main = services.main_process(program.unit) if program.unit and start_it in (None, start) else None
    if main is not None and main == pid:
        if program.succeeds:
            _reload(program)
        else:
            services.restart(program.unit, program.unit_text)
        return Began.REPLACED
    if pid is not None and program.succeeds and start_it in (None, start) and not _is_unit(program):
        _succeed(program)
        return Began.REPLACED
    if pid is not None:
        stop(program)
    (start_it or start)(program)
    return Began.STARTED if pid is None else Began.REPLACED


def is_as_wanted(program: Program, pid: int) -> bool:
    """Tell whether a process was started from this release's code and with the program's options."""
    try:
        # The interpreter comes before the script.
        words = Path(f"/proc/{pid}/cmdline").read_bytes().removesuffix(b"\0").split(b"\0")
        variables = Path(f"/proc/{pid}/environ").read_bytes().split(b"\0")
    except (FileNotFoundError, ProcessLookupError):
        return False  # it has just exited
    command = [os.fsencode(word) for word in program.command]
    return words[-len(command) :] == command and f"{release.VARIABLE}={release.current()}".encode() in variables


def environment() -> dict[str, str]:
    """The environment that programs are started with: this process's own, and the release."""
    return {**os.environ, release.VARIABLE: release.current()}


def find(program: Program) -> int | None:
    """Return the program's process id if it runs."""
    running = hold(program)
    if running is None:
        return services.main_process(program.unit) if program.unit else None
    running.close()
    return running.pid


def start(program: Program) -> None:
    """Start the program detached from this terminal, its output appended to its log."""
    program.log_file.parent.mkdir(mode=0o755, parents=True, exist_ok=True)
    program.pid_file.parent.mkdir(mode=0o755, parents=True, exist_ok=True)
    program.log_file.touch(mode=0o640)
    if _is_unit(program):
        services.start(program.unit, program.unit_text)
    else:
        _start_detached(program)


def _is_unit(program: Program) -> bool:
    return bool(program.unit) and services.has_systemd()


def _reload(program: Program) -> None:
    """Let what the unit names take the place of what runs; raises CliError, with its log's end, where that runs on."""
    try:
        services.reload(program.unit, program.unit_text)
    except CliError as error:
        raise CliError(f"{error}; the end of {program.log_file}:\n{last_lines(program.log_file)}") from error


def _succeed(program: Program) -> None:
    """Start the program beside the one that runs, and return once it has taken its place.

    Raises CliError where it does not: what runs then runs on, unless it was ended already.
    """
    process = _begin(program, **{alone.SUCCEEDS: "1"})
    try:
        wait_for(
            lambda: (
                process.poll() is not None or (program.lock_file and alone.holder(program.lock_file)) == process.pid
            ),
            _SUCCEED_SECONDS,
            lambda: CliError(f"the {program.name} has not taken the place of the one that runs"),
        )
        _require_running(process, program)
        note(program, process.pid)
    except BaseException:
        process.kill()
        raise
    finally:
        process.poll()
    process.returncode = 0  # see `_start_detached`


def _require_running(process: "subprocess.Popen[bytes]", program: Program) -> None:
    if process.poll() is not None:
        raise CliError(
            f"the {program.name} ended; the end of {program.log_file}:\n{last_lines(program.log_file)}",
            f"all of it: ./stead logs {program.name}",
        )


def _start_detached(program: Program) -> None:
    process = _begin(program)
    try:
        note(program, process.pid)
    finally:
        process.poll()  # reaps a process that was killed because its pid file could not be written
    # Popen would warn when it is garbage-collected while its process runs, which is intended here.
    process.returncode = 0


def _begin(program: Program, **variables: str) -> "subprocess.Popen[bytes]":
    with program.log_file.open("ab") as log:
        return subprocess.Popen(
            [str(word) for word in program.command],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            cwd="/",
            env={**environment(), **variables},
            start_new_session=True,
        )


def note(program: Program, pid: int) -> None:
    """Write the pid file by which `find` finds the program; nothing is written for a process that has exited.

    If it cannot be written, as on a full disk, the process is killed, as it could not be found. Raises CliError then.
    """
    identity = identity_of(pid)
    if identity is None:
        return
    try:
        replace_text(program.pid_file, identity)
    except OSError as error:
        _undo(pid, identity)
        message = f"{program.name} was started and ended again: {program.pid_file} cannot be written: {error.strerror}"
        raise CliError(message, f"see: df {program.pid_file.parent}") from error


def _note_again(program: Program, pid: int) -> None:
    """Write the pid file of a program that was found only by its lock, for users who may not open the lock file."""
    if _is_unit(program):
        return
    running = _hold_noted(program)
    if running is not None:
        running.close()
        return
    identity = identity_of(pid)
    if identity is not None:
        program.pid_file.parent.mkdir(mode=0o755, parents=True, exist_ok=True)
        replace_text(program.pid_file, identity)


def _undo(pid: int, identity: str) -> None:
    """Kill a process that was just started."""
    try:
        running = Running(pid, os.pidfd_open(pid))
    except ProcessLookupError:
        return
    try:
        if identity_of(pid) == identity:
            signal.pidfd_send_signal(running.pidfd, signal.SIGKILL)
            _ends_within(running, _KILL_SECONDS)
    except ProcessLookupError:
        pass  # it exited by itself in between
    finally:
        running.close()


def stop(program: Program) -> bool:
    """Terminate the program, then kill it if needed, and disable its start at boot; tell whether it ran."""
    ran = services.remove(program.unit) if program.unit else False
    for _ in range(_MOST_STAND_BYS):
        running = hold(program)
        if running is None:
            break
        ran = True
        try:
            _end(program, running)
        except ProcessLookupError:
            pass  # it exited by itself in between
        finally:
            running.close()
    program.pid_file.unlink(missing_ok=True)
    return ran


def _end(program: Program, running: Running) -> None:
    """Terminate a process, and kill it if that takes too long; raises CliError and ProcessLookupError."""
    signal.pidfd_send_signal(running.pidfd, signal.SIGKILL if program.may_be_killed else signal.SIGTERM)
    if _ends_within(running, _STOP_SECONDS):
        return
    kill(program, running)
    if not _ends_within(running, _KILL_SECONDS):
        raise CliError(f"{program.name} (process {running.pid}) cannot be ended", "see dmesg: it hangs in the kernel")


def kill(program: Program, running: Running) -> None:
    """Send SIGKILL to a process, and at once to those that would take its place; raises ProcessLookupError."""
    group = os.getpgid(running.pid)
    # It has a group of its own, as we start it, whose first process may be one whose place it took.
    if program.has_stand_by and (group == running.pid or identity_of(group) is None):
        os.killpg(group, signal.SIGKILL)
    else:
        signal.pidfd_send_signal(running.pidfd, signal.SIGKILL)


def last_lines(path: Path, count: int = 12) -> str:
    """The end of a log, for an error message."""
    try:
        text = path.read_text(encoding="utf-8", errors="replace")
    except OSError as error:
        return f"({error})"
    return "\n".join(text.splitlines()[-count:])


def hold(program: Program) -> Running | None:
    """Open the program's process if it runs: the one that the pid file names, or that holds the program's lock."""
    return _hold_noted(program) or _hold_holder(program)


def _hold_holder(program: Program) -> Running | None:
    pid = alone.holder(program.lock_file) if program.lock_file is not None else None
    if program.lock_file is None or pid is None:
        return None
    try:
        running = Running(pid, os.pidfd_open(pid))
    except OSError:
        return None
    # Compared only now: from here on the process id cannot be reused for another process.
    if alone.holder(program.lock_file) != pid:
        running.close()
        return None
    return running


def _hold_noted(program: Program) -> Running | None:
    try:
        recorded = program.pid_file.read_text(encoding="ascii")
        pid = int(recorded.split()[0])
        pidfd = os.pidfd_open(pid)
    except (OSError, ValueError, IndexError):
        return None
    # Compared only now: from here on the process id cannot be reused for another process.
    if identity_of(pid) != recorded:
        os.close(pidfd)
        return None
    return Running(pid, pidfd)


def _ends_within(running: Running, seconds: float) -> bool:
    """Tell whether the process exits in time; its parent may still have to reap it."""
    poller = select.poll()
    poller.register(running.pidfd, select.POLLIN)
    return bool(poller.poll(seconds * 1000))
