"""Make, find, enter and end the places of a rig; see `rig_place.py` for what a place is."""

import contextlib
import os
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Self

from stead_cli import processes, rig_enter, rig_place
from stead_cli.errors import CliError
from stead_cli.processes import Program, Running

_PYTHON: Final = (sys.executable, "-I", "-S")


@dataclass(frozen=True, slots=True)
class RigPlace:
    """A place, identified by the program that holds it; a host has a folder of its own."""

    name: str
    holder: Program
    folder: Path | None = None

    @property
    def runs(self) -> bool:
        """Tell whether the place exists."""
        return processes.find(self.holder) is not None

    def make(self) -> bool:
        """Make the place unless it exists, without any link yet; tell whether it was made."""
        if self.runs:
            return False
        for file in (self.holder.pid_file, self.holder.log_file):
            file.parent.mkdir(mode=0o755, parents=True, exist_ok=True)
        with (
            self.holder.log_file.open("ab") as log,
            subprocess.Popen(
                [str(word) for word in self.holder.command],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                cwd="/",
            ) as process,
        ):
            assert process.stdin is not None
            assert process.stdout is not None
            if pid := process.stdout.readline():
                processes.note(self.holder, int(pid))
                with contextlib.suppress(BrokenPipeError):  # it exited: its log says why
                    process.stdin.write(b"go\n")
                    process.stdin.flush()
            if process.stdout.readline() != b"ready\n":
                end = processes.last_lines(self.holder.log_file)
                raise CliError(f"{self.name} could not be made; the end of {self.holder.log_file}:\n{end}")
        return True

    def end(self) -> bool:
        """End all processes of the place, and the place; tell whether it existed."""
        return processes.stop(self.holder)

    @contextlib.contextmanager
    def held(self) -> Iterator[Running]:
        """Hold the place's first process; CliError when it does not run."""
        running = processes.hold(self.holder)
        if running is None:
            raise CliError(f"{self.name} is not there", "make it: ./stead rig up")
        try:
            yield running
        finally:
            running.close()

    def start(self, program: Program) -> None:
        """Start a program in the place, detached; its pid file holds the process id as seen from here."""
        for file in (program.pid_file, program.log_file):
            file.parent.mkdir(mode=0o755, parents=True, exist_ok=True)
        program.log_file.touch(mode=0o640)
        with self.held() as place, program.log_file.open("ab") as log:
            done = subprocess.run(
                _enter("start", place, program.command),
                pass_fds=(place.pidfd,),
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=log,
                cwd="/",
                env=processes.environment(),
                check=False,
            )
        if done.returncode != 0:
            end = processes.last_lines(program.log_file)
            raise CliError(f"{program.name} could not be started in {self.name}:\n{end}")
        processes.note(program, int(done.stdout))

    def run(self, *command: str | Path, stdin: str = "", timeout: float = 30) -> "subprocess.CompletedProcess[str]":
        """Run a program in the place to its end, whatever its status; it is killed at the deadline."""
        with self.held() as place:
            return subprocess.run(
                _enter("exec", place, command),
                pass_fds=(place.pidfd,),
                input=stdin,
                capture_output=True,
                text=True,
                timeout=timeout,
                check=False,
            )

    def inside[T](self, work: Callable[[], T]) -> T:
        """Call a function of this process in the place's network namespace: sockets made there stay there."""
        with self.held() as holder, Namespace(holder.pid) as namespace:
            return inside(namespace.file, work)

    def attach(self, command: Sequence[str]) -> int:
        """Run a program in the place with this terminal; return its status."""
        with self.held() as place:
            words = _enter("exec", place, command)
            return subprocess.run(words, pass_fds=(place.pidfd,), check=False).returncode


class Namespace:
    """The network namespace of a process, or this process's own, as an open file."""

    def __init__(self, pid: int | None = None) -> None:
        """Choose the process; the file is opened on entering the context."""
        self._path = Path(f"/proc/{pid or 'self'}/ns/net")
        self.file = -1

    def __enter__(self) -> Self:
        self.file = os.open(self._path, os.O_RDONLY | os.O_CLOEXEC)
        return self

    def __exit__(self, *_error: object) -> None:
        os.close(self.file)


def inside[T](namespace: int, work: Callable[[], T]) -> T:
    """Call a function on a thread of its own that is in the namespace."""
    results: list[T] = []
    errors: list[BaseException] = []

    def body() -> None:
        try:
            os.setns(namespace, os.CLONE_NEWNET)
            results.append(work())
        except BaseException as error:  # raised again in the caller, which waits for it
            errors.append(error)

    thread = threading.Thread(target=body, daemon=True)
    thread.start()
    thread.join()
    if errors:
        raise errors[0]
    return results[0]


def place(name: str, state_dir: Path, folder: Path | None = None) -> RigPlace:
    """The place of this name of the rig in `state_dir`; one with a folder is a host."""
    command: list[str | Path] = [*_PYTHON, rig_place.__file__, name, *([folder] if folder is not None else [])]
    holder = Program(name, command, state_dir / "run" / f"{name}.pid", state_dir / "log" / f"{name}.log")
    return RigPlace(name, holder, folder)


def _enter(mode: str, running: Running, command: Sequence[str | Path]) -> list[str]:
    return [*_PYTHON, rig_enter.__file__, mode, str(running.pidfd), *(str(word) for word in command)]
