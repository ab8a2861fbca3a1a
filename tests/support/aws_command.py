"""The real `aws` command, for tests that call it often: each call forks a process that has already loaded it.

A call costs a third of the CPU of a program that loads awscli and botocore itself. The process ends with its parent:

    python -m tests.support.aws_command     # reads calls from stdin, writes their results to stdout, in lines of JSON
"""

import atexit
import json
import os
import subprocess
import sys
import tempfile
import threading
import time
import traceback
from collections.abc import Mapping, Sequence
from typing import IO, Any, Final

from tests.support.processes import ROOT, clean_environment

_SECONDS: Final = 120.0
_GRAIN: Final = 0.005
_KILLED: Final = 9


class _Loaded:
    """The preloaded process, started at the first call in this process."""

    def __init__(self) -> None:
        self._one_at_a_time = threading.Lock()
        self._process: subprocess.Popen[str] | None = None

    def call(self, arguments: Sequence[str], environment: Mapping[str, str]) -> subprocess.CompletedProcess[str]:
        """Run one command."""
        with self._one_at_a_time:
            process = self._started()
            assert process.stdin is not None
            assert process.stdout is not None
            process.stdin.write(json.dumps({"arguments": list(arguments), "environment": dict(environment)}) + "\n")
            process.stdin.flush()
            line = process.stdout.readline()
            assert line, f"the process that has loaded `aws` ended: {process.wait(10)}"
            answer = json.loads(line)
        if answer["status"] is None:
            raise subprocess.TimeoutExpired(["aws", *arguments], _SECONDS, answer["stdout"], answer["stderr"])
        return subprocess.CompletedProcess(["aws", *arguments], answer["status"], answer["stdout"], answer["stderr"])

    def _started(self) -> "subprocess.Popen[str]":
        if self._process is None:
            self._process = subprocess.Popen(
                [sys.executable, "-m", __name__],
                cwd=ROOT,
                env=clean_environment(AWS_CONFIG_FILE=os.devnull, AWS_SHARED_CREDENTIALS_FILE=os.devnull),
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                text=True,
            )
            atexit.register(self._end)
        return self._process

    def _end(self) -> None:
        assert self._process is not None
        self._process.communicate()  # also closes its stdin


_loaded = _Loaded()


def call(arguments: Sequence[str], environment: Mapping[str, str]) -> subprocess.CompletedProcess[str]:
    """Run `aws` with these arguments and only this environment; raises TimeoutExpired after two minutes."""
    return _loaded.call(arguments, environment)


def _answer(arguments: list[str], environment: dict[str, str]) -> dict[str, Any]:
    """Run one command in a fork of this process and return its result; the status is None when it timed out."""
    with tempfile.TemporaryFile() as stdout, tempfile.TemporaryFile() as stderr:
        child = os.fork()
        if child == 0:
            _become(arguments, environment, stdout, stderr)
        status = _wait(child)
        texts = {}
        for name, file in (("stdout", stdout), ("stderr", stderr)):
            file.seek(0)
            texts[name] = file.read().decode().replace("\r\n", "\n").replace("\r", "\n")  # as subprocess reads text
    return {"status": status, **texts}


def _wait(child: int) -> int | None:
    deadline = time.monotonic() + _SECONDS
    while time.monotonic() < deadline:
        found, status = os.waitpid(child, os.WNOHANG)
        if found:
            return os.waitstatus_to_exitcode(status)
        time.sleep(_GRAIN)
    os.kill(child, _KILLED)
    os.waitpid(child, 0)
    return None


def _become(arguments: list[str], environment: dict[str, str], stdout: IO[bytes], stderr: IO[bytes]) -> None:
    """Run the command in the process that was forked for it: never returns."""
    import awscli.clidriver

    status = 1
    try:
        own = {"AWS_DATA_PATH": os.environ["AWS_DATA_PATH"]}  # which awscli sets when it is loaded
        os.environ.clear()
        os.environ.update(environment | own)
        nothing = os.open(os.devnull, os.O_RDONLY)
        for number, descriptor in enumerate((nothing, stdout.fileno(), stderr.fileno())):
            os.dup2(descriptor, number)
        sys.argv = ["aws", *arguments]
        status = awscli.clidriver.main()
    except SystemExit as end:
        status = end.code if isinstance(end.code, int) else 1
    except BaseException:  # any exception would end the program
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(status)


def main() -> None:
    """Load the command, then answer calls until stdin ends."""
    import awscli.clidriver

    awscli.clidriver.create_clidriver()  # which loads its plugins
    for line in sys.stdin:
        call = json.loads(line)
        print(json.dumps(_answer(call["arguments"], call["environment"])), flush=True)


if __name__ == "__main__":
    main()
