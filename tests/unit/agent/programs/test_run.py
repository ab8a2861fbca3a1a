"""The function that runs programs: what comes back, what is refused, and that nothing stays behind."""

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from stead_agent.programs import run as run_module
from stead_agent.programs.run import (
    Heard,
    Identity,
    Limits,
    OutputTooLongError,
    ProcessesForbiddenError,
    ProgramFailedError,
    ProgramMissingError,
    ProgramTimeoutError,
    listen,
    run,
)
from tests.support.waiting import wait_for


def test_returns_what_the_program_wrote():
    output = run(["sh", "-c", "cat; echo oops >&2"], timeout=60, stdin=b"x" * 300_000)
    assert output.stdout == b"x" * 300_000
    assert output.stderr == b"oops\n"


def test_an_argument_is_one_word_whatever_it_holds():
    hostile = "a b;$(id) `id` \n -x ' \" \\"
    assert run(["printf", "%s", hostile], timeout=60).stdout.decode() == hostile


def test_a_failure_carries_status_arguments_and_the_end_of_stderr():
    with pytest.raises(ProgramFailedError) as caught:
        run(["sh", "-c", "yes long | head -c 5000 >&2; echo why >&2; exit 7"], timeout=60)
    assert caught.value.status == 7
    assert caught.value.argv[0] == "sh"
    assert caught.value.stderr.endswith("why")
    assert len(caught.value.stderr) <= 2000


def test_a_missing_program_is_named():
    with pytest.raises(ProgramMissingError, match="no-such-program"):
        run(["no-such-program"], timeout=1)


def test_a_nul_byte_is_refused():
    with pytest.raises(ProgramMissingError, match="NUL"):
        run(["printf", "a\0b"], timeout=1)


def test_at_the_deadline_the_whole_group_is_killed(tmp_path):
    pid_file = tmp_path / "pid"
    for timeout in (0.3, 3, 30):  # on a busy machine the shell may not come so far in the first one
        began = time.monotonic()
        with pytest.raises(ProgramTimeoutError):
            run(["sh", "-c", f"sleep 300 & echo $! > {pid_file}; wait"], timeout=timeout)
        assert time.monotonic() - began < 150
        if pid_file.exists() and pid_file.read_text():
            break
    grandchild = int(pid_file.read_text())
    wait_for(lambda: not _alive(grandchild), "the grandchild is dead")


def _alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except FileNotFoundError:
        return False


def test_a_flood_is_cut_off():
    with pytest.raises(OutputTooLongError):
        run(["yes"], timeout=60, max_output=1 << 20)


def test_a_program_that_does_not_read_is_no_error():
    assert run(["true"], timeout=60, stdin=b"x" * 1_000_000).stdout == b""


def test_limits_hold():
    with pytest.raises(ProgramFailedError) as caught:
        run(["sh", "-c", "while :; do :; done"], timeout=120, limits=Limits(cpu_seconds=1))
    assert caught.value.status < 0
    with pytest.raises(ProgramFailedError):
        run(["head", "-c", "200M", "/dev/zero"], timeout=60, limits=Limits(address_space=1 << 20))


def test_the_environment_is_scrubbed(monkeypatch):
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "canary")
    shown = run(["env"], timeout=60).stdout.decode()
    assert "canary" not in shown
    assert {line.split("=")[0] for line in shown.splitlines()} <= {"PATH", "LC_ALL", "PWD", "SHLVL", "_"}


@pytest.mark.skipif(os.geteuid() != 0, reason="only root may become another user")
def test_another_identity_has_no_groups():
    shown = run(["sh", "-c", "id -u; id -G"], timeout=60, identity=Identity(64999, 64998)).stdout.split()
    assert shown == [b"64999", b"64998"]


def test_the_guard_refuses(monkeypatch):
    monkeypatch.setenv(run_module.FORBIDDEN_VARIABLE, "this test is pure")
    with pytest.raises(ProcessesForbiddenError, match="this test is pure"):
        run(["true"], timeout=1)


def test_listening_ends_when_enough_was_heard():
    heard = listen(["sh", "-c", "echo one; echo two >&2; sleep 60"], enough=lambda said: b"two" in said, timeout=60)
    assert heard == Heard(b"one\ntwo\n", None)


def test_listening_ends_with_the_program_at_the_deadline_or_at_too_much():
    assert listen(["sh", "-c", "echo bye; exit 3"], enough=lambda _: False, timeout=60) == Heard(b"bye\n", 3)
    assert listen(["sleep", "60"], enough=lambda _: False, timeout=0.1) == Heard(b"", None)
    assert listen(["sh", "-c", "exec >&- 2>&-; sleep 60"], enough=lambda _: False, timeout=0.3).status is None
    assert len(listen(["yes"], enough=lambda _: False, timeout=60, max_output=100_000).output) > 100_000


_WITH_GRPC = """
import os
from concurrent import futures
from stead_agent.programs.run import Identity, run
import grpc
server = grpc.server(futures.ThreadPoolExecutor(1))
port = server.add_insecure_port("127.0.0.1:0")
server.start()
grpc.channel_ready_future(grpc.insecure_channel(f"127.0.0.1:{port}")).result(10)
me = Identity(os.getuid(), os.getgid())
print({run(["true"], timeout=60, identity=me if os.getuid() == 0 else None).stderr for _ in range(20)}, flush=True)
os._exit(0)
"""


def test_grpc_says_and_does_nothing_where_a_program_is_begun_as_another_user():
    environment = {name: value for name, value in os.environ.items() if not name.startswith("GRPC_")}
    done = subprocess.run(
        [sys.executable, "-c", _WITH_GRPC], capture_output=True, text=True, check=False, timeout=60, env=environment
    )
    assert (done.stdout, done.stderr, done.returncode) == ("{b''}\n", "", 0)
