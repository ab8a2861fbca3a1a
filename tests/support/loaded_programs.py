"""Stead's programs for tests that start many of them: each is a fork of a process that has already loaded them all.

To load a controller takes a second of a processor, to start one that is loaded a fifth of that. From its fork on it is
the program itself: it has a session, an environment, files and a log of its own, and is a child of whoever asked for
it. Only its name is another one in lists of processes. The process that has loaded them ends with who started it:

    python -m tests.support.loaded_programs     # reads programs from stdin, writes the ids of their processes to stdout
"""

import atexit
import contextlib
import ctypes
import gc
import importlib
import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import IO, Any, Final

_ROOT: Final = Path(__file__).resolve().parents[2]
_BIN: Final = Path(sys.executable).parent
_GRAIN: Final = 0.005
_SET_CHILD_SUBREAPER: Final = 36  # prctl(2)
_LOADED: Final = (
    "stead_agent.fleet",
    "stead_agent.heap",
    "stead_controller.backup.check",
    "stead_controller.backup.create",
    "stead_controller.backup.folder",
    "stead_controller.backup.restore",
    "stead_controller.controller",
    "stead_controller.initialise",
    "tests.support.mortal_controller",
    "tests.support.cloud",
)
_PROGRAMS: Final = {  # the module of each command
    (str(_BIN / "stead-controller"), "run"): "stead_controller.__main__",
    (str(_BIN / "stead-controller"), "backup"): "stead_controller.__main__",
    (str(_BIN / "stead-agent"), "simulate"): "stead_agent.__main__",
    (sys.executable, "-m", "tests.support.mortal_controller"): "tests.support.mortal_controller",
    (sys.executable, "-m", "tests.support.benches"): "tests.support.benches",
}
_STARTS_OTHERS: Final = "tests.support.benches"  # of which each has a process of its own that has loaded them


class Process:
    """A child of this process that was forked elsewhere, with those of subprocess.Popen's methods that tests call."""

    def __init__(self, pid: int) -> None:
        self.pid = pid
        self.returncode: int | None = None

    def poll(self) -> int | None:
        """Return its exit status, as subprocess does; None while it runs."""
        if self.returncode is None:
            found, status = os.waitpid(self.pid, os.WNOHANG)
            if found:
                self.returncode = os.waitstatus_to_exitcode(status)
        return self.returncode

    def wait(self, timeout: float) -> int:
        """Wait until it has ended; raises subprocess.TimeoutExpired."""
        deadline = time.monotonic() + timeout
        while (status := self.poll()) is None:
            if time.monotonic() > deadline:
                raise subprocess.TimeoutExpired(f"process {self.pid}", timeout)
            time.sleep(_GRAIN)
        return status

    def send_signal(self, number: int) -> None:
        """Send it a signal unless it has ended."""
        if self.poll() is None:
            os.kill(self.pid, number)

    def kill(self) -> None:
        """Kill it."""
        self.send_signal(signal.SIGKILL)


class _Loaded:
    """The process that has loaded the programs, started when this process first asks for one."""

    def __init__(self) -> None:
        self._one_at_a_time = threading.Lock()
        self._pipes: tuple[IO[str], IO[str]] | None = None  # to it, and from it

    def start(self, **asked: Any) -> Process:
        """Fork a program; what is asked are the arguments of `_become`."""
        with self._one_at_a_time:
            asking, answers = self._started()
            with _adopting():
                asking.write(json.dumps(asked) + "\n")
                asking.flush()
                line = answers.readline()
        assert line, "the process that has loaded the programs has ended"
        return Process(int(line))

    def _started(self) -> tuple[IO[str], IO[str]]:
        if self._pipes is None:
            process = subprocess.Popen(
                [sys.executable, "-m", __name__],
                cwd=_ROOT,
                env={name: value for name, value in os.environ.items() if not name.startswith(("AWS_", "STEAD_"))},
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                text=True,
            )
            assert process.stdin is not None
            assert process.stdout is not None
            self._pipes = process.stdin, process.stdout
            atexit.register(process.communicate)  # also closes its stdin
        return self._pipes

    def has_forked(self, pipes: tuple[IO[str], IO[str]]) -> None:
        """Use a process that this one, which has loaded the programs itself, has forked."""
        self._pipes = pipes


_loaded = _Loaded()
_offered: list[str] = []


def offer() -> None:
    """Let `start` fork programs in this process, which is one of tests: what a benchmark measures is not loaded before."""
    _offered[:] = ["here"]


def start(
    command: Sequence[str],
    environment: Mapping[str, str],
    log: Path,
    errors: Path | None = None,
    *,
    reads: Path = Path(os.devnull),
) -> "Process | None":
    """Start one of the programs that are loaded, whose output is appended to a log; None if this is none of these.

    With `errors`, standard error is appended to that instead; `reads` is its standard input.
    """
    if not _offered or not _module_of(command) or _of_python(environment) != _of_python(os.environ):
        return None
    return _loaded.start(
        command=list(command),
        environment=dict(environment),
        folder=str(Path.cwd()),
        log=str(log),
        errors=str(errors or log),
        reads=str(reads),
    )


def _module_of(command: Sequence[str]) -> str:
    """The module of a program that is loaded; empty if this is none of these."""
    return next((module for words, module in _PROGRAMS.items() if tuple(command[: len(words)]) == words), "")


def _of_python(environment: Mapping[str, str]) -> dict[str, str]:
    """Choose what says which modules a program would load."""
    return {name: value for name, value in environment.items() if name.startswith("PYTHON")}


@contextlib.contextmanager
def _adopting() -> Iterator[None]:
    """Be the parent of processes whose own parent ends meanwhile."""
    libc = ctypes.CDLL(None, use_errno=True)
    for wanted in (1, 0):
        if libc.prctl(_SET_CHILD_SUBREAPER, wanted, 0, 0, 0) != 0:
            raise OSError(ctypes.get_errno(), "prctl(PR_SET_CHILD_SUBREAPER)")
        if wanted:
            yield


def _fork() -> int:
    """Fork a process between, whose end gives its child to who asked; return the child's id, and 0 in the child."""
    reader, writer = os.pipe()
    between = os.fork()
    if between == 0:
        child = os.fork()
        if child == 0:
            return 0
        os.write(writer, str(child).encode())
        os._exit(0)
    os.close(writer)
    os.waitpid(between, 0)
    with os.fdopen(reader) as answer:
        return int(answer.read())


def _become(*, command: list[str], environment: dict[str, str], folder: str, log: str, errors: str, reads: str) -> None:
    """Be the program from now on: it ends this process as it would end its own."""
    os.setsid()
    os.chdir(folder)
    os.environ.clear()
    os.environ.update(environment)
    source = os.open(reads, os.O_RDONLY)
    outputs = [os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644) for path in (log, errors)]
    for number, descriptor in enumerate((source, *outputs)):
        os.dup2(descriptor, number)
    os.closerange(3, os.sysconf("SC_OPEN_MAX"))
    script = _module_of(command)
    sys.modules["__main__"].__package__ = None  # from which click has the program's name
    sys.argv = command[2:] if command[1] == "-m" else command
    if script == _STARTS_OTHERS:
        _fork_for_others()
    importlib.import_module(script).main()
    sys.exit()


def _fork_for_others() -> None:
    """Fork a process that forks programs for this one, and ends with it."""
    from tests.support import loaded_programs  # not this module, which runs as a program

    (asked, asking), (answers, answering) = os.pipe(), os.pipe()
    if os.fork() == 0:
        for descriptor in (asking, answers):
            os.close(descriptor)
        with os.fdopen(asked) as lines:
            _serve(lines, answering)
        os._exit(0)
    for descriptor in (asked, answering):
        os.close(descriptor)
    loaded_programs.offer()
    loaded_programs._loaded.has_forked((os.fdopen(asking, "w"), os.fdopen(answers)))


def _serve(lines: Iterable[str], answering: int) -> None:
    """Fork what is asked for, and tell the ids of the processes."""
    for line in lines:
        if pid := _fork():
            os.write(answering, f"{pid}\n".encode())
        else:
            _become(**json.loads(line))


def main() -> None:
    """Load the programs, then fork what is asked for until stdin ends."""
    os.environ["GRPC_VERBOSITY"] = "ERROR"  # as the controller does before it loads what reads this
    from sqlalchemy.orm import configure_mappers

    for module in _LOADED:
        importlib.import_module(module)
    from stead_controller.aws import operations
    from stead_controller.aws.protocol import codec_for, models

    operations.load()
    for service in sorted(models.SERVICES):  # most of a start that is left, and of what it writes to memory
        codec_for(service)
    configure_mappers()
    gc.freeze()  # forks need not look for garbage in it
    assert len(list(Path("/proc/self/task").iterdir())) == 1, "a thread of a process that forks is in none of its forks"
    _serve(sys.stdin, sys.stdout.fileno())


if __name__ == "__main__":
    main()
