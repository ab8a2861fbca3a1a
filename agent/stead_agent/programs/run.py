"""The only way to run other programs: argument lists, no shell, a deadline, a clean environment, bounded output.

Secrets never go into an argument list (any user can read it in /proc): pass them by `stdin`.
"""

import os
import select
import selectors
import signal
import subprocess
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Final

from stead_proto import bounded_log

# Set by the tests' guard to a reason: then every call is refused.
FORBIDDEN_VARIABLE: Final = "STEAD_PROCESSES_FORBIDDEN"

# The whole environment of programs that we start; C.UTF-8 so that messages can be logged as they are.
_ENVIRONMENT: Final = {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "LC_ALL": "C.UTF-8"}
_STDERR_TAIL: Final = 2000
_CHUNK: Final = 65536


class RunError(Exception):
    """A program failed.

    RunError
     + ProgramMissingError   it is not installed
     + ProgramFailedError    it ended with another status than 0
     + ProgramTimeoutError   it was killed at its deadline
     + OutputTooLongError    it was killed because it wrote too much
     + ProcessesForbiddenError  the tests' guard
    """

    def __init__(self, argv: Sequence[str], what: str, stderr: bytes = b"") -> None:
        self.argv = tuple(argv)
        self.stderr = stderr[-_STDERR_TAIL:].decode(errors="replace").strip()
        super().__init__(f"{' '.join(self.argv)}: {what}" + (f": {self.stderr}" if self.stderr else ""))


class ProgramMissingError(RunError):
    """The program is not installed, or may not be executed."""


class ProgramFailedError(RunError):
    """The program ended with `status`; negative = killed by that signal."""

    def __init__(self, argv: Sequence[str], status: int, stderr: bytes) -> None:
        self.status = status
        super().__init__(argv, f"status {status}", stderr)


class ProgramTimeoutError(RunError):
    """The program was still running at its deadline and was killed."""


class OutputTooLongError(RunError):
    """The program wrote more than was allowed and was killed."""


class ProcessesForbiddenError(RunError):
    """A test that must not start programs did so."""


@dataclass(frozen=True, slots=True)
class Limits:
    """Resource limits of a program that reads hostile input; 0 = not limited."""

    cpu_seconds: int = 0
    address_space: int = 0  # bytes
    file_size: int = 0  # bytes of any file it writes


@dataclass(frozen=True, slots=True)
class Identity:
    """The user and group that a program runs as, if not root; it gets no supplementary groups."""

    uid: int
    gid: int


@dataclass(frozen=True, slots=True)
class Output:
    """What a program wrote."""

    stdout: bytes
    stderr: bytes


@dataclass(slots=True)
class _Collected:
    """What has been read from a program so far, and the maximum."""

    words: list[str]
    max_output: int
    stdout: bytearray = field(default_factory=bytearray)
    stderr: bytearray = field(default_factory=bytearray)


def run(
    argv: Sequence[str | Path],
    *,
    timeout: float,
    stdin: bytes = b"",
    limits: Limits | None = None,
    identity: Identity | None = None,
    inherits: Sequence[int] = (),
    max_output: int = 16 << 20,
) -> Output:
    """Run a program to its end and return what it wrote; any status other than 0 raises a RunError.

    It inherits the file descriptors in `inherits`, with the same numbers.

    At the deadline, or above `max_output` bytes, the program is killed with all it has started in its process group.
    """
    words = _checked(argv)
    deadline = time.monotonic() + timeout
    process = _spawn(_limited(words, limits), words, identity, inherits=inherits)
    collected = _Collected(words, max_output)
    try:
        _exchange(process, stdin, collected, deadline)
        status = process.wait(max(0.0, deadline - time.monotonic()))
    except subprocess.TimeoutExpired:
        raise ProgramTimeoutError(words, f"not done after {timeout:g} s", bytes(collected.stderr)) from None
    finally:
        _end(process)
    if status != 0:
        raise ProgramFailedError(words, status, bytes(collected.stderr))
    return Output(bytes(collected.stdout), bytes(collected.stderr))


@dataclass(frozen=True, slots=True)
class Heard:
    """What a program has written so far, and its status if it has ended by itself."""

    output: bytes
    status: int | None


def listen(
    argv: Sequence[str | Path], *, enough: Callable[[bytes], bool], timeout: float, max_output: int = 1 << 20
) -> Heard:
    """Read a program's stdout and stderr until `enough` returns true for all that was read, then kill it.

    It is killed as well at the deadline and above `max_output` bytes; neither is an error, nor is any status.
    """
    words = _checked(argv)
    deadline = time.monotonic() + timeout
    process = _spawn(words, words, None, stderr=subprocess.STDOUT)
    assert process.stdin
    assert process.stdout
    process.stdin.close()
    heard = bytearray()
    try:
        while len(heard) <= max_output and not enough(bytes(heard)):
            ready, _, _ = select.select([process.stdout], [], [], max(0.0, deadline - time.monotonic()))
            if not ready:
                return Heard(bytes(heard), None)
            chunk = os.read(process.stdout.fileno(), _CHUNK)
            if not chunk:
                return Heard(bytes(heard), process.wait(max(0.1, deadline - time.monotonic())))
            heard += chunk
        return Heard(bytes(heard), None)
    except subprocess.TimeoutExpired:  # it closed its output and runs on
        return Heard(bytes(heard), None)
    finally:
        _end(process)


def start_daemon(argv: Sequence[str | Path], log: Path, *, inherits: Sequence[int] = ()) -> int:
    """Start a program that outlives us, in its own session, its output appended to `log`; return its process id.

    A log that is large already is rotated first.

    It inherits the file descriptors in `inherits`, with the same numbers.

    It is never waited for here, so it should be a program that detaches itself or is not expected to end before us.
    """
    words = _checked(argv)
    bounded_log.put_aside_if_large(log)
    with log.open("ab") as output:
        try:
            process = subprocess.Popen(
                words, stdin=subprocess.DEVNULL, stdout=output, stderr=output, env=_ENVIRONMENT, cwd="/",
                start_new_session=True, pass_fds=inherits,
            )  # fmt: skip
        except OSError as error:
            raise ProgramMissingError(words, str(error)) from error
    return process.pid


def _checked(argv: Sequence[str | Path]) -> list[str]:
    """Convert the arguments to strings; refuse them by the tests' guard, or for NUL, which no argument can contain."""
    words = [str(word) for word in argv]
    reason = os.environ.get(FORBIDDEN_VARIABLE)
    if reason:
        raise ProcessesForbiddenError(words, reason)
    if any("\0" in word for word in words):
        raise ProgramMissingError([word.replace("\0", "\\0") for word in words], "an argument holds a NUL byte")
    return words


def _limited(words: list[str], limits: Limits | None) -> list[str]:
    """Put prlimit(1) before the program: setting limits between fork and exec is not safe in a threaded process."""
    if limits is None:
        return words
    options = [
        f"--{name}={value}"
        for name, value in (("cpu", limits.cpu_seconds), ("as", limits.address_space), ("fsize", limits.file_size))
        if value
    ]
    return ["prlimit", *options, "--core=0", "--", *words]


def _spawn(
    command: list[str],
    words: list[str],
    identity: Identity | None,
    *,
    stderr: int = subprocess.PIPE,
    inherits: Sequence[int] = (),
) -> subprocess.Popen[bytes]:
    """Start the program in its own process group, with pipes."""
    try:
        return subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=stderr,
            env=_ENVIRONMENT,
            cwd="/",
            start_new_session=True,
            user=identity.uid if identity else None,
            group=identity.gid if identity else None,
            extra_groups=[] if identity else None,
            pass_fds=inherits,
        )
    except OSError as error:
        raise ProgramMissingError(words, str(error)) from error


def _exchange(process: subprocess.Popen[bytes], stdin: bytes, collected: _Collected, deadline: float) -> None:
    """Write and read the three pipes until the program has closed its ends."""
    left = memoryview(stdin)
    assert process.stdin
    assert process.stdout
    assert process.stderr
    with selectors.DefaultSelector() as selector:
        if left:
            os.set_blocking(process.stdin.fileno(), False)
            selector.register(process.stdin, selectors.EVENT_WRITE)
        else:
            process.stdin.close()
        selector.register(process.stdout, selectors.EVENT_READ, collected.stdout)
        selector.register(process.stderr, selectors.EVENT_READ, collected.stderr)
        while selector.get_map():
            wait = deadline - time.monotonic()
            ready = selector.select(max(0.0, wait))
            if not ready and wait <= 0:
                raise subprocess.TimeoutExpired(collected.words, 0)
            for key, _events in ready:
                pipe: IO[bytes] = key.fileobj  # type: ignore[assignment]  # only pipes are registered
                if pipe is process.stdin:
                    left = _write_some(pipe, left)
                    done = not left
                else:
                    chunk = os.read(pipe.fileno(), _CHUNK)
                    key.data.extend(chunk)
                    done = not chunk
                if done:
                    selector.unregister(pipe)
                    pipe.close()
            if len(collected.stdout) + len(collected.stderr) > collected.max_output:
                problem = f"wrote more than {collected.max_output} bytes"
                raise OutputTooLongError(collected.words, problem, bytes(collected.stderr))


def _write_some(pipe: IO[bytes], left: memoryview) -> memoryview:
    """Write what the pipe accepts and return the rest; empty when the program no longer reads."""
    try:
        return left[os.write(pipe.fileno(), left[:_CHUNK]) :]
    except BrokenPipeError:
        return memoryview(b"")


def _end(process: subprocess.Popen[bytes]) -> None:
    """Kill the program's process group if it still runs, and close our ends."""
    if process.poll() is None:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
    for pipe in (process.stdin, process.stdout, process.stderr):
        if pipe and not pipe.closed:
            pipe.close()
