"""A controller takes the place of the one that runs: that is ended, by force if need be, and systemd follows the new one."""

import os
import select
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import pytest

from stead_controller import main_process, succession
from stead_proto import alone
from tests.support.waiting import wait_for

# Who holds the lock; its argument is what SIGTERM does.
_FORMER: Final = """
import os, pathlib, signal, sys
from stead_proto import alone
held = alone.take(pathlib.Path(sys.argv[1]))
signal.signal(signal.SIGTERM, lambda *_: exec(sys.argv[2]))
if os.fork() == 0:
    alone.stand_by(held)
    print("both", flush=True)
while True:
    signal.pause()
"""
_ENDS: Final = "print('told', flush=True); os.killpg(0, 9)"
_STAYS: Final = "print('told', flush=True)"
# Its argument is done in the block.
_SUCCESSOR: Final = """
import os, sys
from stead_controller import succession
caller = os.getpid()
with succession.beside_the_former():
    print(os.getpid(), os.getppid() == caller, flush=True)
    exec(sys.argv[1])
print("over", flush=True)
"""


@pytest.fixture
def lock(tmp_path: Path) -> Path:
    return tmp_path / "running"


def _former(lock: Path, at_sigterm: str) -> "subprocess.Popen[str]":
    words = [sys.executable, "-c", _FORMER, str(lock), at_sigterm]
    process = subprocess.Popen(words, stdout=subprocess.PIPE, text=True, start_new_session=True)
    assert process.stdout is not None
    assert process.stdout.readline() == "both\n"
    return process


def _take(lock: Path, stop_seconds: float) -> None:
    """Take the lock as the test's process, and let go of it."""
    os.close(succession.take(lock, stop_seconds))


def test_the_former_is_told_to_end_and_awaited(lock: Path) -> None:
    with _former(lock, _ENDS) as former:
        _take(lock, 60)
        assert former.stdout is not None
        assert former.stdout.read() == "told\n"
        assert former.wait(60) == -signal.SIGKILL


def test_one_that_does_not_end_is_killed_with_its_stand_by_and_told_but_once(lock: Path) -> None:
    with _former(lock, _STAYS) as former:
        _take(lock, 0.3)
        assert former.stdout is not None
        assert former.stdout.read() == "told\n"  # ends once the stand-by, too, is dead
        assert former.wait(60) == -signal.SIGKILL


def test_where_nobody_is_the_place_is_taken_at_once(lock: Path) -> None:
    _take(lock, 60)


def test_what_cannot_be_ended_keeps_its_place(lock: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(signal, "pidfd_send_signal", lambda *_: None)
    monkeypatch.setattr(succession, "_KILL_SECONDS", 0.1)
    with _former(lock, _STAYS) as former:
        with pytest.raises(alone.TakenError, match=f"process {former.pid} runs"):
            _take(lock, 0.1)
        os.killpg(former.pid, signal.SIGKILL)


def test_only_the_process_that_was_asked_takes_a_place(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(alone.SUCCEEDS, "1")
    assert [succession.is_wanted(), succession.is_wanted()] == [True, False]


@pytest.fixture
def systemd(tmp_path: Path) -> Iterator[socket.socket]:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as made:
        made.bind(str(tmp_path / "notify"))
        made.settimeout(60)
        yield made


def _successor(work: str, **environment: str) -> "subprocess.Popen[str]":
    return subprocess.Popen(
        [sys.executable, "-c", _SUCCESSOR, work],
        env={**os.environ, **environment},
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )


def test_it_is_systemds_main_process_from_before_the_end_of_the_former(systemd: socket.socket, tmp_path: Path) -> None:
    of_systemd = {"NOTIFY_SOCKET": systemd.getsockname(), "RUNTIME_DIRECTORY": str(tmp_path)}
    with _successor("pass", **of_systemd) as caller:
        assert caller.stdout is not None
        pid, is_child = caller.stdout.readline().split()
        assert is_child == "False", "systemd would take it for a stranger's"
        assert systemd.recv(100) == f"MAINPID={pid}".encode() != f"MAINPID={caller.pid}".encode()
        assert (tmp_path / main_process.FILE_NAME).read_text() == f"{pid}\n"
        ended = f"/proc/{caller.pid}/stat"
        wait_for(lambda: Path(ended).read_text().rpartition(")")[2].split()[0] == "Z", "the caller has exited", 60)
        assert not select.select([caller.stdout], [], [], 0.2)[0], "systemd has not yet read who follows"
        assert caller.wait(60) == 0
        assert caller.stdout.readline() == "over\n"


@pytest.mark.parametrize("work", ["sys.exit('no')", "os.kill(os.getpid(), 9)"])
def test_systemd_hears_of_one_that_fails(systemd: socket.socket, tmp_path: Path, work: str) -> None:
    with _successor(work, NOTIFY_SOCKET=str(systemd.getsockname()), RUNTIME_DIRECTORY=str(tmp_path)) as caller:
        assert caller.wait(60) == 1


def test_without_systemd_it_goes_on_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("NOTIFY_SOCKET", raising=False)
    with _successor("pass") as caller:
        assert caller.stdout is not None
        assert caller.stdout.read() == f"{caller.pid} False\nover\n"
