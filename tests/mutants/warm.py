"""Tests collected once, and a fork of their process for each mutant: what is set up takes its time once, not each time.

The mutant is put into the loaded module's functions (`swap.py`). Where that cannot be, or could hide something because
the changed function has run at import already, the answer is "unsure", and `fresh.py` imports everything anew.
"""

import contextlib
import gc
import os
import pickle
import resource
import select
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import Generator, Iterator, Sequence
from dataclasses import dataclass, field
from multiprocessing import Pipe
from multiprocessing.connection import Connection
from pathlib import Path
from types import CodeType
from typing import Any, Final, Literal

import hypothesis
import pytest

from tests.mutants.swap import LoadedModule, Place, Swap, inner_codes, is_function, place_of
from tests.mutants.written import Mutant

type Verdict = Literal["noticed", "survived", "nobody comes here", "unsure"]

_OPTIONS: Final = ("-q", "-x", "-s", "--tb=no", "--timeout=0", "-p", "no:cacheprovider")
_TEMPLATES: Final = ("empty_database_file", "world_file")
_TOOL: Final = sys.monitoring.PROFILER_ID
_CPU_FACTOR, _CPU_SECONDS = 3, 1
_WALL_FACTOR, _WALL_SECONDS = 10, 60
_MEMORY: Final = 2 << 30


class RedError(Exception):
    """The tests are red, or none, with the file as it is."""


@dataclass(slots=True)
class Baseline:
    """What was seen when the tests ran with the file as it is."""

    seconds: dict[str, float] = field(default_factory=dict)
    lines: dict[str, set[int]] = field(default_factory=dict)
    templates: dict[str, Any] = field(default_factory=dict)
    cpu: float = 0
    wall: float = 0


class SameExamples:
    """Lets property tests try the same examples each time, and end with the first that fails: nobody reads it."""

    def pytest_sessionstart(self) -> None:
        """Come after the conftest's settings and before the tests are read."""
        phases = (hypothesis.Phase.explicit, hypothesis.Phase.generate)
        hypothesis.settings.register_profile(
            "mutants", hypothesis.settings.default, derandomize=True, phases=phases, report_multiple_bugs=False
        )
        hypothesis.settings.load_profile("mutants")


def pytest_options(folder: str) -> list[str]:
    """Give the options of a quick, quiet run with a folder for its files."""
    return [*_OPTIONS, f"--basetemp={folder}"]


def verdicts(path: Path, source: str, mutants: Sequence[Mutant], tests: Sequence[Path]) -> Iterator[Verdict]:
    """Judge mutants in their order; tests are collected in a process of their own.

    Raises:
        RedError: the tests do not pass as it is.
    """
    receiver, sender = Pipe(duplex=False)
    folder = tempfile.mkdtemp(prefix="stead-mutants-")
    child = os.fork()
    if child == 0:
        receiver.close()
        _collect(_Judge(path, source, mutants, sender), [*pytest_options(folder), *map(str, tests)])
    sender.close()
    try:
        for _ in mutants:
            try:
                yield receiver.recv()
            except EOFError as error:
                raise RedError(path) from error
    finally:
        receiver.close()
        os.waitpid(child, 0)
        shutil.rmtree(folder, ignore_errors=True)


def be_quiet() -> None:
    """Send this process's output nowhere, and give it no input."""
    null = os.open(os.devnull, os.O_RDWR)
    for number in (0, 1, 2):
        os.dup2(null, number)


def ends_well(child: int, seconds: float) -> bool:
    """Wait for a process that leads a group; tell whether it ends with 0 in time. Nothing of its group is left."""
    descriptor = os.pidfd_open(child)
    try:
        waiter = select.poll()
        waiter.register(descriptor, select.POLLIN)
        waiter.poll(int(seconds * 1000))
    finally:
        os.close(descriptor)
        with contextlib.suppress(ProcessLookupError):  # nothing of it is left
            os.killpg(child, signal.SIGKILL)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0


def limit(cpu_seconds: float) -> None:
    """Lead a group, and end at so much time of a processor or memory: a mutant that loops counts as noticed."""
    os.setpgid(0, 0)
    seconds = int(_CPU_FACTOR * cpu_seconds) + _CPU_SECONDS
    resource.setrlimit(resource.RLIMIT_CPU, (seconds, seconds + 1))
    pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[0])
    size = pages * resource.getpagesize() + _MEMORY
    resource.setrlimit(resource.RLIMIT_AS, (size, size))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


def patience(wall_seconds: float) -> float:
    """Give the seconds after which a mutant that waits counts as noticed, also on a machine that has become slower."""
    return _WALL_FACTOR * wall_seconds + _WALL_SECONDS


def _collect(judge: "_Judge", arguments: list[str]) -> None:
    """Run pytest with a judge in this process, which ends with it."""
    status = 2
    try:
        be_quiet()
        judge.watch_imports()
        status = int(pytest.main(arguments, plugins=[judge, SameExamples()]))
    finally:
        os._exit(status)


class _Judge:
    """Takes over when the tests are collected: a fork of this process runs them for each mutant."""

    def __init__(self, path: Path, source: str, mutants: Sequence[Mutant], answers: Connection) -> None:
        self._path = path
        self._source = source
        self._mutants = mutants
        self._answers = answers
        self._ran: set[Place] = set()
        self._baseline = Baseline()
        self._is_fork = False

    def watch_imports(self) -> None:
        """Note which functions of the file run before the tests do."""

        def started(code: CodeType, _offset: int) -> Any:
            if code.co_filename == str(self._path) and is_function(code):
                self._ran.add(place_of(code))
            return sys.monitoring.DISABLE

        sys.monitoring.use_tool_id(_TOOL, "mutants")
        sys.monitoring.register_callback(_TOOL, sys.monitoring.events.PY_START, started)
        sys.monitoring.set_events(_TOOL, sys.monitoring.events.PY_START)

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtestloop(self, session: pytest.Session) -> bool | None:
        """Judge all mutants; in a fork, let its tests run."""
        sys.monitoring.set_events(_TOOL, 0)
        if session.testsfailed or not session.items:
            return None
        module = LoadedModule(self._path, self._source)
        gc.collect()
        gc.freeze()
        if self._run_as_it_is(session, module):
            return None
        if not self._passes(session, Swap([], frozenset()), range(0)):
            if not self._is_fork:
                self._answers.close()  # they are red in another order, or under limits
                os._exit(1)
            return None
        for mutant in self._mutants:
            swap = module.swap(mutant.source)
            if swap is None:
                self._answers.send("unsure")
                continue
            passed = self._passes(session, swap, range(mutant.line, mutant.last_line + 1))
            if self._is_fork:
                return None
            self._answers.send(self._survived(mutant, swap.changed) if passed else "noticed")
        return True

    @pytest.hookimpl(tryfirst=True)
    def pytest_fixture_setup(self, fixturedef: Any, request: pytest.FixtureRequest) -> Any:
        """Give what the first run has made already, where the file had no part in it."""
        if fixturedef.argname not in self._baseline.templates:
            return None
        value = self._baseline.templates[fixturedef.argname]
        fixturedef.cached_result = (value, fixturedef.cache_key(request), None)
        return value

    def _run_as_it_is(self, session: pytest.Session, module: LoadedModule) -> bool:
        """Let a fork run the tests with the file as it is, and learn from it; True in the fork, which goes on."""
        receiver, sender = Pipe(duplex=False)
        child = os.fork()
        if child == 0:
            os.setpgid(0, 0)
            receiver.close()
            session.config.pluginmanager.register(_Witness(module, sender))
            return True
        sender.close()
        try:
            self._baseline = receiver.recv()
        except EOFError:
            self._answers.close()  # nothing was seen to the end: the reader finds them red
        if not ends_well(child, patience(0)):
            self._answers.close()
            os._exit(1)
        return False

    def _passes(self, session: pytest.Session, swap: Swap, place: range) -> bool:
        """Let a fork run the tests with a swap in force; tell whether all pass. In the fork, which goes on: False."""
        child = os.fork()
        if child:
            return ends_well(child, patience(self._baseline.wall))
        self._is_fork = True
        limit(self._baseline.cpu)
        swap.make()
        session.items[:] = self._in_order(session.items, place)
        session.config.pluginmanager.register(_End())
        return False

    def _in_order(self, items: list[pytest.Item], place: range) -> list[pytest.Item]:
        """Put first those that come to these lines, the quickest of them before all."""
        seen = self._baseline.lines
        coming = [each for each in items if not seen[each.nodeid].isdisjoint(place)]
        others = [each for each in items if seen[each.nodeid].isdisjoint(place)]
        return [*sorted(coming, key=lambda each: self._baseline.seconds[each.nodeid]), *others]

    def _survived(self, mutant: Mutant, changed: frozenset[Place]) -> Verdict:
        if not self._ran.isdisjoint(changed):
            return "unsure"
        place = range(mutant.line, mutant.last_line + 1)
        visited = any(not lines.isdisjoint(place) for lines in self._baseline.lines.values())
        return "survived" if visited else "nobody comes here"


class _End:
    """Ends a process when its tests and their fixtures have ended: what pytest clears up then takes longer than most tests."""

    @pytest.hookimpl(trylast=True)
    def pytest_sessionfinish(self, exitstatus: int) -> None:
        """End with pytest's own status."""
        os._exit(int(exitstatus))


class _Witness:
    """Notes what each test takes, and which of the file's lines it comes to."""

    def __init__(self, module: LoadedModule, answer: Connection) -> None:
        self._answer = answer
        self._seen = Baseline()
        self._begin = time.monotonic()
        self._lines: set[int] = set()
        sys.monitoring.register_callback(_TOOL, sys.monitoring.events.LINE, self._at_line)
        for function in module.functions:
            for code in inner_codes(function.__code__):
                sys.monitoring.set_local_events(_TOOL, code, sys.monitoring.events.LINE)

    def _at_line(self, _code: CodeType, line: int) -> Any:
        self._lines.add(line)
        return sys.monitoring.DISABLE

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_protocol(self, item: pytest.Item) -> Generator[None, Any, Any]:
        """Note the lines and the seconds of a test, its fixtures among them."""
        self._lines = set()
        sys.monitoring.restart_events()
        begin = time.monotonic()
        result = yield
        self._seen.seconds[item.nodeid] = time.monotonic() - begin
        self._seen.lines[item.nodeid] = self._lines
        return result

    @pytest.hookimpl(wrapper=True)
    def pytest_fixture_setup(self, fixturedef: Any) -> Generator[None, Any, Any]:
        """Keep what takes long to make, if the file has no part in it."""
        if fixturedef.argname not in _TEMPLATES:
            return (yield)
        outer, self._lines = self._lines, set()
        sys.monitoring.restart_events()
        value = yield
        if not self._lines:
            # what cannot go to another process is made anew by each
            with contextlib.suppress(pickle.PicklingError, TypeError, AttributeError):
                pickle.dumps(value)
                self._seen.templates[fixturedef.argname] = value
        self._lines |= outer
        return value

    def pytest_sessionfinish(self, exitstatus: int) -> None:
        """Say what was seen, if all passed."""
        self._seen.cpu = time.process_time()
        self._seen.wall = time.monotonic() - self._begin
        if exitstatus == 0:
            self._answer.send(self._seen)
        self._answer.close()
