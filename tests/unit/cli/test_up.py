"""The machine of a controller is enrolled again where its certificate is not accepted any more."""

import datetime as dt
from pathlib import Path
from types import SimpleNamespace

import pytest

from stead_cli import cloud, processes, up
from stead_cli.errors import CliError
from stead_cli.settings import Settings
from stead_cli.steps import Steps
from stead_proto.certificates import Authority

HOUR = dt.timedelta(hours=1)


class Machine:
    """A controller's machine whose agent has a certificate; what is asked of both is in `asked`."""

    def __init__(self, folder: Path) -> None:
        self.chosen = Settings(folder)
        self.authority = Authority.create()
        self.chosen.ca_file.write_bytes(self.authority.ca_pem)
        self.known = ["h-1"]
        self.states = ["up", "up", "down"]
        self.asked: list[tuple[object, ...]] = []

    def list_hosts(self) -> list[SimpleNamespace]:
        return [SimpleNamespace(id=each) for each in self.known]

    def show_host(self, host_id: str) -> SimpleNamespace:
        assert host_id == "h-1"
        return SimpleNamespace(state=self.states.pop(0) if len(self.states) > 1 else self.states[0])

    def create_token(self, *, host_id: str = "", any_authority: bool = False) -> SimpleNamespace:
        self.asked.append((host_id, any_authority))
        return SimpleNamespace(token="a token")

    def run(self, command: list[str | Path], stdin: str) -> tuple[int, str]:
        self.asked.append((stdin, "--again" in command))
        return 0, ""

    def enrol(self, *, again: bool = False) -> list[tuple[object, ...]]:
        self.asked.clear()
        up.enrol(self.chosen, Steps(), again=again)
        return self.asked


@pytest.fixture
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Machine:
    made = Machine(tmp_path)
    monkeypatch.setattr(up, "Operator", lambda _chosen: made)
    monkeypatch.setattr(up, "_run_here", made.run)
    monkeypatch.setattr(cloud, "agent_program", lambda _chosen: "agent")
    monkeypatch.setattr(processes, "stop", lambda program: made.asked.append((program,)) or True)
    return made


def test_one_that_is_accepted_stays(machine: Machine) -> None:
    machine.authority.issue_host("h-1", validity=HOUR).save(machine.chosen.agent_dir)
    assert machine.enrol() == []
    machine.authority.issue_host("h-1", validity=-HOUR).save(machine.chosen.agent_dir)
    assert machine.enrol(again=True) == [("", False), ("a token", True), ("agent",)], "a controller was lost"


def test_a_machine_that_is_no_host_becomes_one(machine: Machine) -> None:
    assert machine.enrol() == [("", False), ("a token", False)]


@pytest.mark.parametrize("foreign", [False, True])
def test_one_that_is_not_is_replaced_once_the_host_is_down(machine: Machine, *, foreign: bool) -> None:
    authority = Authority.create("Stead CA 2") if foreign else machine.authority
    authority.issue_host("h-1", validity=HOUR if foreign else -HOUR).save(machine.chosen.agent_dir)
    assert machine.enrol() == [("h-1", foreign), ("a token", True), ("agent",)]
    assert machine.states == ["down"], "it was awaited"
    machine.states = ["enrolled"]
    assert machine.enrol()[0] == ("h-1", foreign), "it was never seen"


def test_that_of_another_cloud_stays(machine: Machine) -> None:
    Authority.create("another").issue_host("h-2", validity=HOUR).save(machine.chosen.agent_dir)
    with pytest.raises(CliError, match="enrolled with another cloud"):
        machine.enrol()
    assert machine.asked == []


def test_one_that_is_connected_all_the_time_is_another_machine(
    machine: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(up, "_AWAY_SECONDS", 0.0)
    machine.authority.issue_host("h-1", validity=-HOUR).save(machine.chosen.agent_dir)
    machine.states = ["cordoned"]
    with pytest.raises(CliError, match="h-1 is connected"):
        machine.enrol()
    assert machine.asked == []
