"""Processes are held, awaited and watched, whoever their parent is."""

import subprocess
import threading

import pytest

from stead_agent.programs import processes
from stead_agent.programs.processes import Watch


@pytest.fixture
def sleeper():
    process = subprocess.Popen(["sleep", "60"])
    yield process
    process.kill()
    process.wait()


def test_a_held_process_is_the_right_one_or_none(sleeper):
    with processes.held(sleeper.pid, lambda: False) as process:
        assert process is None
    with processes.held(sleeper.pid) as process:
        assert not processes.ends(process, 0)
        sleeper.kill()
        assert processes.ends(process, 5)
    sleeper.wait()
    with processes.held(sleeper.pid) as process:
        assert process is None


def test_an_end_is_reported_once_and_only_of_what_is_watched(sleeper):
    reported, again = [], threading.Event()

    def hear(name):
        reported.append(name)
        again.set()

    other = subprocess.Popen(["sleep", "60"])
    watch = Watch(hear, "test")
    try:
        assert not watch.add("wrong", sleeper.pid, lambda: False)
        assert watch.add("dropped", sleeper.pid)
        assert watch.add("kept", other.pid)
        assert watch.sees("dropped")
        watch.drop("dropped")
        sleeper.kill()
        sleeper.wait()
        assert not watch.add("late", sleeper.pid)
        other.kill()
        assert again.wait(60)
        assert reported == ["kept"]
        assert not watch.sees("kept")
    finally:
        watch.close()
        other.kill()
        other.wait()
