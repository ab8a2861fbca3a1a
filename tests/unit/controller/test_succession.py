"""A controller takes the place of the one that runs once it has proven itself, and systemd follows the new one."""

import contextlib
import os
import select
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import pytest

from stead_controller import main_process, succession, supervisor
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
with succession.beside_the_former() as be_the_main_process:
    be_the_main_process()
    print(os.getpid(), os.getppid() == caller, flush=True)
    exec(sys.argv[1])
print("over", flush=True)
"""


@pytest.fixture
def lock(tmp_path: Path) -> Path:
    return tmp_path / "running"


@contextlib.contextmanager
def _former(lock: Path, at_sigterm: str) -> Iterator["subprocess.Popen[str]"]:
    """Who holds the lock, with its stand-by; both are dead at the end, whatever was seen of them."""
    words = [sys.executable, "-c", _FORMER, str(lock), at_sigterm]
    with subprocess.Popen(words, stdout=subprocess.PIPE, text=True, start_new_session=True) as process:
        try:
            assert process.stdout is not None
            assert process.stdout.readline() == "both\n"
            yield process
        finally:
            with contextlib.suppress(ProcessLookupError):  # both have ended
                os.killpg(process.pid, signal.SIGKILL)


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


def test_another_one_of_the_same_process_id_is_not_told(lock: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It has ended, and its id is another program's, before it is held."""
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as other:
        found = iter([other.pid, None, None, None])
        monkeypatch.setattr(alone, "holder", lambda _path: next(found))
        taken = iter([alone.TakenError("held"), 0])
        monkeypatch.setattr(alone, "take", lambda _path: _given(next(taken)))
        assert succession.take(lock, 60) == 0
        other.communicate(b"\n")
        assert other.returncode == 0


def _given(what: int | Exception) -> int:
    if isinstance(what, Exception):
        raise what
    return what


def test_where_nobody_is_the_place_is_taken_at_once(lock: Path) -> None:
    _take(lock, 60)


def test_what_cannot_be_ended_keeps_its_place(lock: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(signal, "pidfd_send_signal", lambda *_: None)
    monkeypatch.setattr(succession, "_KILL_SECONDS", 0.1)
    with _former(lock, _STAYS) as former, pytest.raises(alone.TakenError, match=f"process {former.pid} runs"):
        _take(lock, 0.1)


def test_only_the_process_that_was_asked_takes_a_place(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(alone.SUCCEEDS, "1")
    assert [succession.is_wanted(), succession.is_wanted()] == [True, False]


@pytest.fixture
def systemd(tmp_path: Path) -> Iterator[socket.socket]:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as made:
        made.bind(str(tmp_path / "notify"))
        made.settimeout(60)
        yield made


def _successor(
    work: str, before: str = "", stdin: int = subprocess.DEVNULL, **environment: str
) -> "subprocess.Popen[str]":
    return subprocess.Popen(
        [sys.executable, "-c", _SUCCESSOR.replace("caller =", f"{before}caller ="), work],
        stdin=stdin,
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


def test_who_was_not_told_to_go_on_ends(systemd: socket.socket, tmp_path: Path) -> None:
    """What systemd has started was killed before its child was systemd's."""
    dies = "os.waitpid = lambda *_: os.kill(os.getpid(), 9)\n"
    with _successor("pass", dies, NOTIFY_SOCKET=str(systemd.getsockname()), RUNTIME_DIRECTORY=str(tmp_path)) as caller:
        assert caller.wait(60) == -signal.SIGKILL
        assert caller.stdout is not None
        assert caller.stdout.read() == "", "nobody went on"
    assert not (tmp_path / main_process.FILE_NAME).exists()


def test_one_whose_caller_was_killed_by_systemd_goes_on(systemd: socket.socket, tmp_path: Path) -> None:
    of_systemd = {"NOTIFY_SOCKET": str(systemd.getsockname()), "RUNTIME_DIRECTORY": str(tmp_path)}
    with _successor("input()", stdin=subprocess.PIPE, **of_systemd) as caller:
        assert caller.stdout is not None
        assert caller.stdin is not None
        caller.stdout.readline()
        caller.kill()
        caller.wait(60)
        caller.stdin.write("\n")
        caller.stdin.close()
        assert caller.stdout.readline() == "over\n"


def test_without_systemd_it_goes_on_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("NOTIFY_SOCKET", raising=False)
    with _successor("pass") as caller:
        assert caller.stdout is not None
        assert caller.stdout.read() == f"{caller.pid} False\nover\n"


# Serves as its argument says, and prints what became of it.
_PROVES: Final = """
import os, pathlib, signal, sys, time
from stead_controller import succession
def serve(say):
    exec(sys.argv[1])
try:
    server = succession.proven(serve, float(sys.argv[2]))
    print("serves", flush=True)
    os.kill(server, signal.SIGTERM)
    print(os.waitstatus_to_exitcode(os.waitpid(server, 0)[1]), flush=True)
except succession.FailedError as error:
    print(error, flush=True)
"""


@pytest.mark.parametrize(
    ("serves", "seconds", "said"),
    [
        ("signal.signal(15, lambda *_: sys.exit(7)); say(); signal.pause()", 60, "serves\n7\n"),
        ("sys.exit(0)", 60, "it does not serve\n"),
        ("os.kill(os.getpid(), 9)", 60, "it does not serve\n"),
        ("signal.pause()", 0.1, "it does not serve\n"),
    ],
)
def test_a_server_is_one_that_says_so_in_time(serves: str, seconds: float, said: str) -> None:
    words = [sys.executable, "-c", _PROVES, serves, str(seconds)]
    done = subprocess.run(words, capture_output=True, text=True, timeout=20, check=False)
    assert done.stdout == said, done.stderr


def test_where_no_process_can_be_made_nobody_serves(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(supervisor, "fork_bound", lambda: None)
    with pytest.raises(succession.FailedError, match="no process"):
        succession.proven(lambda _say: None)


# Asks for work that its argument prepares, and prints what was done.
_PREPARES: Final = """
import os, sys
from stead_controller import succession
caller = os.getpid()
def fails():
    raise ValueError
def same():
    assert os.getpid() == preparing != caller
def prepare():
    global preparing
    preparing = os.getpid()
    return eval(sys.argv[1])
prepared = succession.Prepared(prepare)
print(prepared.is_prepared, prepared.do(b"same"), flush=True)
if prepared.is_prepared:
    prepared._ours.send(b"same")  # as by one that is killed before it hears the answer
print(*(prepared.do(word) for word in (b"fails", b"same")), flush=True)
prepared.end()
print("over", flush=True)
"""


@pytest.mark.parametrize(
    ("prepares", "said"),
    [
        ("{b'same': same, b'fails': fails}", "True True\nFalse False\nover\n"),
        ("{}", "False False\nFalse False\nover\n"),
        ("fails()", "False False\nFalse False\nover\n"),
    ],
)
def test_prepared_work_is_done_by_who_has_prepared_it_until_it_fails(prepares: str, said: str) -> None:
    words = [sys.executable, "-c", _PREPARES, prepares]
    done = subprocess.run(words, capture_output=True, text=True, timeout=20, check=False)
    assert done.stdout == said, done.stderr


def test_one_successor_alone_has_the_former_one_stand_aside(tmp_path: Path) -> None:
    lock = tmp_path / alone.SUCCESSOR_FILE_NAME
    with succession.standing_aside(tmp_path), _asked(f"alone.take(pathlib.Path({str(lock)!r}))") as other:
        assert "TakenError" in other.communicate()[1]
    with _asked(f"print(alone.holder(pathlib.Path({str(lock)!r})))") as other:
        assert other.communicate()[0] == "None\n"


def _asked(what: str) -> "subprocess.Popen[str]":
    code = f"import pathlib; from stead_proto import alone; {what}"
    return subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def test_the_server_alone_is_ended_and_killed_where_it_does_not_end(tmp_path: Path) -> None:
    succession.end_server(tmp_path)
    for does, code in (("sys.exit(3)", 3), (_STAYS, -signal.SIGKILL)):
        with _former(tmp_path / alone.SERVING_FILE_NAME, does) as server:
            os.killpg(server.pid, 0)
            succession.end_server(tmp_path, 60 if code == 3 else 0.2)
            assert server.wait(60) == code


def test_what_changes_the_database_is_no_server_and_is_awaited(tmp_path: Path) -> None:
    succession.await_changes(tmp_path)
    both = f"""
for name in ({alone.SERVING_FILE_NAME!r}, {alone.CHANGING_FILE_NAME!r}):
    alone.take(pathlib.Path({str(tmp_path)!r}, name))
print("both", flush=True); input()"""
    code = f"import pathlib; from stead_proto import alone{both}"
    with subprocess.Popen(
        [sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as changing:
        assert changing.stdout is not None
        changing.stdout.readline()
        succession.end_server(tmp_path, 0)
        awaits = threading.Thread(target=succession.await_changes, args=(tmp_path,))
        awaits.start()
        awaits.join(0.1)
        assert awaits.is_alive()
        changing.communicate("\n")
        assert changing.returncode == 0, "it was not ended"
        awaits.join(60)
        assert not awaits.is_alive()
