"""A server stands still while its files are opened, and goes on afterwards, whatever becomes of who held it."""

import contextlib
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from stead_controller.backup import standstill
from tests.support.waiting import wait_for

_SERVER = """
import sys, threading, pathlib
from stead_controller.network_sandbox import take
take(pathlib.Path(sys.argv[1]))
def work():
    while True:
        threading.Thread(target=pow, args=(3, 100_000)).run()
for _ in range(7):
    threading.Thread(target=work, daemon=True).start()
print("ready", flush=True)
sys.stdin.read()
"""
_HOLDER = """
import sys, pathlib
from stead_controller.backup import standstill
with standstill.held(pathlib.Path(sys.argv[1])):
    print("held", flush=True)
    sys.stdin.read()
"""


@contextlib.contextmanager
def program(text, *arguments):
    """Run it until the end of the test, from its first line of output on."""
    command = [sys.executable, "-c", text, *map(str, arguments)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout.readline()
            yield process
        finally:
            process.kill()


def states(process):
    """The states of all threads, as proc_pid_stat(5) has them."""
    threads = Path(f"/proc/{process.pid}/task").iterdir()
    return {(path / "stat").read_text().rpartition(")")[2].split()[0] for path in threads}


@pytest.fixture
def server(tmp_path):
    with program(_SERVER, tmp_path / "server.pid") as process:
        yield process


def test_all_threads_stand_still_and_go_on(server, tmp_path):
    for _ in range(5):
        with standstill.held(tmp_path / "server.pid"):
            assert states(server) == {"t"}
            used = Path(f"/proc/{server.pid}/stat").read_text().rpartition(")")[2].split()[11:13]
            again = Path(f"/proc/{server.pid}/stat").read_text().rpartition(")")[2].split()[11:13]
            assert used == again
        assert "t" not in states(server)
    assert server.poll() is None


def test_a_failure_meanwhile_lets_it_go_on(server, tmp_path):
    with pytest.raises(BlockingIOError, match="of the caller"), standstill.held(tmp_path / "server.pid"):
        raise BlockingIOError("of the caller")
    assert "t" not in states(server)


def test_it_goes_on_when_who_held_it_is_killed(server, tmp_path):
    with program(_HOLDER, tmp_path / "server.pid") as holder:
        assert states(server) == {"t"}
        os.kill(holder.pid, signal.SIGKILL)
        holder.wait()
        wait_for(lambda: "t" not in states(server), "it goes on")
    assert server.poll() is None


def test_one_that_does_not_run_cannot_start_meanwhile(tmp_path):
    file = tmp_path / "server.pid"
    with standstill.held(file), program("print('begins')\n" + _SERVER, file) as process:
        assert process.wait(20) != 0, "the file is locked"
    with program(_SERVER, file) as process:
        assert process.poll() is None


def test_one_that_never_says_who_it_is_is_given_up(server, tmp_path, monkeypatch):
    monkeypatch.setattr(standstill, "_BEGIN_SECONDS", 0.05)
    (tmp_path / "server.pid").write_text("1 2 of another boot\n")
    with pytest.raises(TimeoutError, match="does not say which it is"), standstill.held(tmp_path / "server.pid"):
        raise AssertionError("nothing is held")
