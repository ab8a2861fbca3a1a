"""`stead doctor --fix` starts what does not run, has hosts repair themselves, and says what was done."""

import json
import os
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from stead_cli import cloud, doctor, processes
from stead_cli.__main__ import cli
from stead_cli.errors import CliError
from stead_cli.settings import Settings
from stead_proto.v1 import host_pb2
from stead_proto.v1 import operator_pb2 as pb


def host(**changes: Any) -> pb.RepairedHost:
    """A host that has answered."""
    values: dict[str, Any] = {"repairs": [], "removed": [], "left": [], "failing": [], "settled": True}
    return pb.RepairedHost(host_id="h-1", hostname="one", repaired=host_pb2.Repaired(**values | changes))


def test_what_a_host_did_is_said() -> None:
    found = doctor._repaired(host(repairs=["firewall: host: table inet stead"], removed=["vpc vpc-1"]))
    assert found == {
        "name": "fix one",
        "status": "ok",
        "detail": "repaired firewall: host: table inet stead\nremoved vpc vpc-1",
        "remedy": "",
    }
    assert doctor._repaired(host())["detail"] == "nothing was to be repaired"


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"left": ["vpc vpc-1"]}, "cannot be removed yet: vpc vpc-1"),
        ({"failing": ["base snap-1: away"]}, "fails: base snap-1: away"),
        ({"settled": False}, "it is still at work: look again in a minute"),
    ],
)
def test_what_it_could_not_do_is_a_warning(changes: dict[str, Any], said: str) -> None:
    found = doctor._repaired(host(**changes))
    assert found["status"] == "warning"
    assert said in found["detail"].splitlines()
    assert "stead logs agent" in found["remedy"]


def test_a_host_that_did_not_answer_has_repaired_nothing() -> None:
    found = doctor._repaired(pb.RepairedHost(hostname="one", error="it is not up"))
    assert (found["status"], found["detail"]) == ("warning", "it is not up")


@pytest.fixture
def chosen(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Settings:
    """A cloud of which nothing runs; what is started is noted in its folder."""
    made = Settings(tmp_path)
    for file in (made.controller_dir / "ca.pem", made.agent_dir / "identity.pem"):
        file.parent.mkdir()
        file.touch()
    made.remember()
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    (tmp_path / "started").mkdir()
    monkeypatch.setattr(processes, "find", lambda program: int((tmp_path / "started" / program.name).exists()) or None)
    monkeypatch.setattr(cloud, "start_controller", lambda _: (tmp_path / "started" / "controller").touch())
    monkeypatch.setattr(cloud, "wait_for_host", lambda *_: (tmp_path / "started" / "agent").rename(tmp_path / "waited"))
    monkeypatch.setattr(cloud, "controller_health", lambda _: cloud.Health(answers=False, detail=""))
    monkeypatch.setattr(cloud, "start_agent", lambda _: (tmp_path / "started" / "agent").touch())
    return made


def test_what_does_not_run_is_started_once(chosen: Settings) -> None:
    names = [(one["name"], one["status"], one["detail"]) for one in doctor._start(chosen)]
    assert names == [(f"fix {name}", "ok", "did not run, and was started") for name in ("controller", "agent")]
    assert doctor._start(chosen) == []


def test_the_controller_hears_of_the_agent_before_it_is_asked(
    chosen: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cloud, "controller_health", lambda _: cloud.Health(answers=True, detail="ok"))
    doctor._start(chosen)
    assert (chosen.state_dir / "waited").exists()


def test_what_was_never_here_is_not_begun(chosen: Settings) -> None:
    (chosen.agent_dir / "identity.pem").unlink()
    assert [one["name"] for one in doctor._start(chosen)] == ["fix controller"]
    (chosen.state_dir / "started" / "controller").unlink()
    chosen.memory_file.unlink()
    assert doctor._start(chosen) == []


def test_only_root_starts_programs(chosen: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    assert [(one["status"], one["detail"]) for one in doctor._start(chosen)] == [
        ("warning", "only root can start it")
    ] * 2
    assert list((chosen.state_dir / "started").iterdir()) == []


def test_hosts_are_asked_only_with_fix(chosen: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []

    class FakeOperator:
        def __init__(self, _settings: Settings) -> None:
            pass

        def list_hosts(self) -> list[pb.Host]:
            return []

        def repair_hosts(self) -> list[pb.RepairedHost]:
            asked.append("repair")
            if len(asked) > 1:
                raise CliError("it is gone", "look")
            return [host()]

        def mend_rows(self, *, only_look: bool = False) -> list[pb.OrphanedRow]:
            looks.append(only_look)
            if len(looks) > 2:
                raise CliError("it is gone", "look")
            return [pb.OrphanedRow(kind="tag", id="i-1 k", names="i-1", done="deleted")]

    looks: list[bool] = []
    health = cloud.Health(answers=True, detail="ok")
    monkeypatch.setattr(cloud, "wait_for_host", lambda *_: None)
    monkeypatch.setattr(cloud, "controller_health", lambda _: health)
    monkeypatch.setattr(doctor, "Operator", FakeOperator)
    monkeypatch.setattr(doctor, "agent_checks", lambda _: [])
    monkeypatch.setenv("STEAD_STATE_DIR", str(chosen.state_dir))

    def said(*arguments: str) -> dict[str, dict[str, str]]:
        done = CliRunner().invoke(cli, ["doctor", "--output", "json", *arguments])
        return {one["name"]: one for one in json.loads(done.stdout)}

    shown = said()
    assert not [name for name in shown if name.startswith("fix")]
    assert (shown["database"]["status"], shown["database"]["detail"]) == (
        "warning",
        "tag i-1 k: names i-1, which is not there",
    )
    assert "doctor --fix" in shown["database"]["remedy"]
    assert asked == []
    shown = said("--fix")
    assert [name for name in shown if name.startswith("fix")] == [
        "fix controller",
        "fix agent",
        "fix one",
        "fix database",
    ]
    assert shown["fix database"] == {
        "name": "fix database",
        "status": "ok",
        "detail": "tag i-1 k: named i-1, which is not there; deleted",
        "remedy": "",
    }
    assert [name for name in said("--fix") if name.startswith("fix")] == ["fix hosts"]
    assert looks == [True, False, False]
    health = cloud.Health(answers=False, detail="away")
    assert doctor._repair(chosen) == []
    assert doctor._row_checks(chosen, fix=True) == []
