"""The metadata process outlives the agent; whoever dies comes back to what was served, and tokens stay valid."""

import os
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from stead_agent.metadata import control
from stead_agent.metadata.interface import MetadataError
from stead_agent.metadata.server_process import MetadataProcess, _pid_of
from tests.host.metadata.conftest import Vpc, guest_of
from tests.support.waiting import wait_for

pytestmark = pytest.mark.root
ID = "/latest/meta-data/instance-id"
TOKEN = "X-aws-ec2-metadata-token"
MOST_MEMORY = 26 << 20

# An agent, as far as metadata is concerned: it says what is served, and waits for its end.
AGENT = """
import sys
from pathlib import Path
from stead_agent.metadata.server_process import MetadataProcess
from tests.support.metadata_guests import guest
service = MetadataProcess(Path(sys.argv[1], "run"), Path(sys.argv[1], "state"))
service.put(sys.argv[2], guest(0, "172.31.0.5", sys.argv[2]))
service.serve(sys.argv[2], Path(sys.argv[3]))
print("served", flush=True)
sys.stdin.read()
"""


@pytest.fixture
def folder() -> Iterator[Path]:
    made = Path(tempfile.mkdtemp(prefix="stead-metadata-", dir="/var/tmp"))
    yield made
    MetadataProcess(made / "run", made / "state").end()
    shutil.rmtree(made)


@pytest.fixture
def agent(folder: Path) -> Iterator[Callable[[], MetadataProcess]]:
    """A maker of agents' services, one after the other, on one host."""
    made: list[MetadataProcess] = []

    def make() -> MetadataProcess:
        made.append(MetadataProcess(folder / "run", folder / "state"))
        return made[-1]

    yield make
    for each in made:
        each.close()


def _pid(folder: Path) -> int:
    pid = _pid_of(folder / "run")
    assert pid is not None, (folder / "run" / "log").read_text()
    return pid


def test_guests_are_served_while_the_agent_is_dead_and_adopted_by_the_next(
    folder: Path, agent: Callable[[], MetadataProcess], vpc: Vpc
) -> None:
    vm, another = vpc.vm("172.31.0.5"), vpc.vm("172.31.0.6")
    command = [sys.executable, "-c", AGENT, str(folder), vpc.vpc_id, str(vpc.path)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as first:
        assert first.stdout
        assert first.stdout.readline() == b"served\n"
        token = vm.token()
        first.kill()
    process = _pid(folder)
    for known in (token, vm.token()):
        assert vm.curl(ID, "-H", f"{TOKEN}: {known}") == (200, "i-0123456789abcde00")

    second = agent()
    assert second.present() == {vpc.vpc_id: {"i-0123456789abcde00"}}
    second.put(vpc.vpc_id, guest_of(vpc, 1, "172.31.0.6", http_tokens_required=True))
    second.serve(vpc.vpc_id, vpc.path)
    assert (vm.curl(ID)[0], another.curl(ID)[0]) == (200, 401)
    uses = second.uses()
    assert {name: (each.without_token, each.refused) for name, each in uses.items()} == {
        "i-0123456789abcde00": (1, 0),
        "i-0123456789abcde01": (0, 1),
    }
    assert len({each.process for each in uses.values()}) == 1
    assert another.curl(ID, "-H", f"{TOKEN}: {another.token()}") == (200, "i-0123456789abcde01")
    assert another.curl(ID, "-H", f"{TOKEN}: {token}")[0] == 401
    assert vm.curl(ID, "-H", f"{TOKEN}: {token}") == (200, "i-0123456789abcde00")
    command = [sys.executable, "-I", "-m", "stead_agent.metadata", str(folder / "run"), str(folder / "state")]
    subprocess.run(command, check=True, capture_output=True, timeout=60)  # ends at once, since one serves already
    assert _pid(folder) == process
    assert (folder / "run").stat().st_mode & 0o077 == 0
    open_to_others = {path.name for path in (folder / "run").rglob("*") if path.stat().st_mode & 0o077}
    assert open_to_others <= {"log"}, "which the agent made, and has nothing of guests"

    second.remove(vpc.vpc_id, "i-0123456789abcde00")
    assert vm.curl(ID)[0] == 404
    second.withdraw(vpc.vpc_id)
    assert second.present() == {}
    listing = subprocess.run(["ss", "-N", vpc.namespace, "-Htln"], capture_output=True, text=True, check=True).stdout
    assert listing == ""


def test_a_killed_process_is_back_at_once_with_all_it_served(
    folder: Path, agent: Callable[[], MetadataProcess], vpc: Vpc
) -> None:
    vm = vpc.vm("172.31.0.5")
    service = agent()
    service.put(vpc.vpc_id, replace(guest_of(vpc, http_tokens_required=True), user_data=b"\x00secret\xff"))
    service.serve(vpc.vpc_id, vpc.path)
    service.put(vpc.vpc_id, guest_of(vpc, 1, "172.31.0.6"))
    service.remove(vpc.vpc_id, "i-0123456789abcde01")
    token = vm.token()
    for _ in range(2):
        process = _pid(folder)
        os.kill(process, signal.SIGKILL)
        gone = {None, process}
        wait_for(lambda gone=gone: _pid_of(folder / "run") not in gone, "another process serves", 10, poll=0.02)
        assert vm.curl(ID, "-H", f"{TOKEN}: {token}") == (200, "i-0123456789abcde00")
        assert vm.curl(ID)[0] == 401
        assert service.present() == {vpc.vpc_id: {"i-0123456789abcde00"}}, "who was removed is not back"


def test_what_is_asked_while_it_is_dead_is_done(folder: Path, agent: Callable[[], MetadataProcess], vpc: Vpc) -> None:
    vm = vpc.vm("172.31.0.5")
    service = agent()
    service.serve(vpc.vpc_id, vpc.path)
    os.kill(_pid(folder), signal.SIGKILL)
    service.put(vpc.vpc_id, guest_of(vpc))
    assert vm.curl(ID)[0] == 200


def test_a_process_of_other_code_is_replaced(
    folder: Path, agent: Callable[[], MetadataProcess], vpc: Vpc, monkeypatch: pytest.MonkeyPatch
) -> None:
    vm = vpc.vm("172.31.0.5")
    old = agent()
    old.put(vpc.vpc_id, guest_of(vpc))
    old.serve(vpc.vpc_id, vpc.path)
    process, token = _pid(folder), vm.token()
    old.close()
    true_version = control.code_version()
    calls = []

    def running_version(self: MetadataProcess) -> str | None:
        """The first that is asked says that it is older."""
        calls.append(original(self))
        return "older" if len(calls) == 1 and calls[0] else calls[-1]

    original = MetadataProcess._running_version
    monkeypatch.setattr(MetadataProcess, "_running_version", running_version)
    new = agent()
    assert new.present() == {vpc.vpc_id: {"i-0123456789abcde00"}}
    assert calls[-1] == true_version
    assert _pid(folder) != process
    assert vm.curl(ID, "-H", f"{TOKEN}: {token}") == (200, "i-0123456789abcde00")


def test_one_that_hangs_is_replaced(folder: Path, agent: Callable[[], MetadataProcess], vpc: Vpc, monkeypatch) -> None:
    monkeypatch.setattr("stead_agent.metadata.server_process._ABOUT_SECONDS", 0.5)
    monkeypatch.setattr("stead_agent.metadata.server_process._END_SECONDS", 0.5)
    vm = vpc.vm("172.31.0.5")
    old = agent()
    old.put(vpc.vpc_id, guest_of(vpc))
    old.serve(vpc.vpc_id, vpc.path)
    old.close()
    os.kill(_pid(folder), signal.SIGSTOP)
    assert agent().present() == {vpc.vpc_id: {"i-0123456789abcde00"}}
    assert vm.curl(ID)[0] == 200


def test_it_ends_with_its_host_and_starts_no_sooner_than_needed(folder: Path, agent, vpc: Vpc) -> None:
    service = agent()
    assert service.present() == {}
    service.withdraw(vpc.vpc_id)
    service.remove(vpc.vpc_id, "i-0123456789abcde00")
    assert not (folder / "run").exists()
    service.serve(vpc.vpc_id, vpc.path)
    process = _pid(folder)
    service.end()
    assert not (folder / "run").exists()
    assert not Path(f"/proc/{process}").exists() or "Z" in Path(f"/proc/{process}/stat").read_text().split()[2]


def test_refusals_are_errors(folder: Path, agent: Callable[[], MetadataProcess], vpc: Vpc) -> None:
    service = agent()
    with pytest.raises(MetadataError, match="none-of-this-name"):
        service.serve(vpc.vpc_id, Path("/run/netns/none-of-this-name"))
    with pytest.raises(MetadataError, match="no id"):
        service.put("../x", guest_of(vpc))
    assert service.present() == {}


def test_it_is_small(folder: Path, agent: Callable[[], MetadataProcess], vpc: Vpc) -> None:
    service = agent()
    for number in range(10):
        service.put(vpc.vpc_id, replace(guest_of(vpc, number, f"172.31.0.{number + 5}"), user_data=b"x" * 16384))
    service.serve(vpc.vpc_id, vpc.path)
    status = Path(f"/proc/{_pid(folder)}/status").read_text()
    (resident,) = [int(line.split()[1]) << 10 for line in status.splitlines() if line.startswith("VmRSS:")]
    assert resident < MOST_MEMORY, f"{resident >> 10} KiB"
