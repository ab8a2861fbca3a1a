"""The real `aws` command, for tests that call it often: each call forks a process that has already loaded it.

A call costs a quarter of the CPU of a program that loads awscli, botocore and the models of its service itself. The
process ends with its parent:

    python -m tests.support.aws_command     # reads calls from stdin, writes their results to stdout, in lines of JSON
"""

import atexit
import contextlib
import gc
import json
import os
import subprocess
import sys
import tempfile
import threading
import time
import traceback
from collections.abc import Mapping, Sequence
from pathlib import Path
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

    def call(
        self, arguments: Sequence[str], environment: Mapping[str, str], folder: Path, seconds: float
    ) -> subprocess.CompletedProcess[str]:
        """Run one command."""
        asked = {"arguments": list(arguments), "environment": dict(environment), "folder": str(folder)}
        with self._one_at_a_time:
            process = self._started()
            assert process.stdin is not None
            assert process.stdout is not None
            process.stdin.write(json.dumps(asked | {"seconds": seconds}) + "\n")
            process.stdin.flush()
            line = process.stdout.readline()
            assert line, f"the process that has loaded `aws` ended: {process.wait(60)}"
            answer = json.loads(line)
        if answer["status"] is None:
            raise subprocess.TimeoutExpired(["aws", *arguments], seconds, answer["stdout"], answer["stderr"])
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


def call(
    arguments: Sequence[str], environment: Mapping[str, str], folder: Path = ROOT, seconds: float = _SECONDS
) -> subprocess.CompletedProcess[str]:
    """Run `aws` in a folder with these arguments and only this environment; raises TimeoutExpired."""
    return _loaded.call(arguments, environment, folder, seconds)


def _answer(arguments: list[str], environment: dict[str, str], folder: str, seconds: float) -> dict[str, Any]:
    """Run one command in a fork of this process and return its result; the status is None when it timed out."""
    with tempfile.TemporaryFile() as stdout, tempfile.TemporaryFile() as stderr:
        child = os.fork()
        if child == 0:
            _become(arguments, environment, folder, stdout, stderr)
        status = _wait(child, seconds)
        texts = {}
        for name, file in (("stdout", stdout), ("stderr", stderr)):
            file.seek(0)
            texts[name] = file.read().decode().replace("\r\n", "\n").replace("\r", "\n")  # as subprocess reads text
    return {"status": status, **texts}


def _wait(child: int, seconds: float) -> int | None:
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        found, status = os.waitpid(child, os.WNOHANG)
        if found:
            return os.waitstatus_to_exitcode(status)
        time.sleep(_GRAIN)
    os.kill(child, _KILLED)
    os.waitpid(child, 0)
    return None


def _become(
    arguments: list[str], environment: dict[str, str], folder: str, stdout: IO[bytes], stderr: IO[bytes]
) -> None:
    """Run the command in the process that was forked for it: never returns."""
    import awscli.clidriver

    status = 1
    try:
        os.chdir(folder)
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


class _Models:
    """What is read of a service, by the first call of its command, for the forks to find."""

    def __init__(self, loader: Any) -> None:
        """Take botocore's loader of this process, and let those of forks begin with what it has read."""
        self._loader = loader
        self._services = set(loader.list_available_services(type_name="service-2"))
        self._read: set[str] = set()
        of_all: Any = type(loader)
        begin = of_all.__init__

        def begin_with_what_was_read(other: Any, *arguments: Any, **options: Any) -> None:
            begin(other, *arguments, **options)
            if other.search_paths == loader.search_paths:
                other._cache = loader._cache

        of_all.__init__ = begin_with_what_was_read
        for name in ("partitions", "endpoints"):
            loader.load_data(name)

    def read_for(self, arguments: Sequence[str]) -> None:
        """Read the models of the service whose command is among these words, if there is one."""
        from botocore.exceptions import DataNotFoundError

        words = ("s3" if word == "s3api" else word for word in arguments)
        service = next((word for word in words if word in self._services), None)
        if service is None or service in self._read:
            return
        self._read.add(service)
        for kind in ("service-2", "waiters-2", "paginators-1", "endpoint-rule-set-1"):
            with contextlib.suppress(DataNotFoundError):  # not each service has something to wait for
                self._loader.load_service_model(service, type_name=kind)
        gc.freeze()  # forks need not look for garbage in it


def main() -> None:
    """Load the command, then answer calls until stdin ends."""
    import awscli.clidriver

    driver = awscli.clidriver.create_clidriver()  # which loads its plugins
    models = _Models(driver.session.get_component("data_loader"))
    for line in sys.stdin:
        call = json.loads(line)
        models.read_for(call["arguments"])
        print(json.dumps(_answer(**call)), flush=True)


if __name__ == "__main__":
    main()
