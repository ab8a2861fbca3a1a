import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support import loaded_programs
from tests.support.processes import BIN, Child, clean_environment

_HELP = [str(BIN / "stead-agent"), "simulate", "--help"]


def test_it_is_a_child_with_a_session_an_environment_and_a_log_of_its_own(tmp_path):
    log = tmp_path / "log"
    log.write_text("before\n")
    program = loaded_programs.start(_HELP, clean_environment(COLUMNS="50"), log)
    assert program is not None
    assert os.getsid(program.pid) == program.pid
    assert program.wait(60) == program.poll() == 0
    before, usage, *_ = log.read_text().splitlines()
    assert (before, usage) == ("before", "Usage: stead-agent simulate [OPTIONS]")
    program.send_signal(signal.SIGTERM)  # which another process of that id would get


def test_its_status_is_that_of_the_program(tmp_path):
    program = Child("agent", [*_HELP[:2], "--nothing"], tmp_path / "log")
    program.start()
    assert program.process.wait(60) == 2
    assert "No such option" in program.tail()


def test_who_does_not_end_in_time_is_waited_for_no_longer(tmp_path):
    token = tmp_path / "token"
    os.mkfifo(token)  # which nobody writes
    program = loaded_programs.start([*_HELP[:2], f"--token-file={token}"], clean_environment(), tmp_path / "log")
    assert program.poll() is None
    with pytest.raises(subprocess.TimeoutExpired):
        program.wait(0.01)
    program.kill()
    assert program.wait(60) == -signal.SIGKILL


@pytest.mark.parametrize(
    ("command", "environment"),
    [
        ([str(BIN / "stead-agent"), "run"], {}),
        ([sys.executable, "-m", "stead_agent", "simulate"], {}),
        (_HELP, {"PYTHONPATH": "elsewhere"}),
    ],
    ids=["another command", "another program", "other modules"],
)
def test_others_are_not_loaded(command, environment, tmp_path):
    assert loaded_programs.start(command, clean_environment(**environment), tmp_path / "log") is None


def test_a_benchmark_starts_what_it_measures_itself(tmp_path):
    ask = "from pathlib import Path; from tests.support import loaded_programs as l; print(l.start({!r}, {{}}, Path('log')))"
    root = Path(__file__).parents[3]
    found = subprocess.run(
        [sys.executable, "-c", ask.format(_HELP)], cwd=root, capture_output=True, text=True, check=True
    )
    assert found.stdout == "None\n"
