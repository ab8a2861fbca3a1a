"""A machine becomes a host of another machine's cloud: what it runs then, and what it must have first."""

import datetime as dt
import os
from pathlib import Path

import pytest
from click.testing import CliRunner

from stead_cli import cloud, join, processes, settings
from stead_cli.__main__ import cli
from stead_cli.processes import Began
from stead_proto.certificates import Authority

ADDRESS = "192.0.2.11"


@pytest.fixture
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A machine whose agent is not started in earnest; what is asked of it is in `asked`."""
    monkeypatch.setenv("STEAD_STATE_DIR", str(tmp_path))
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    monkeypatch.setattr(cloud, "start_agent", lambda _settings: Began.STARTED)
    monkeypatch.setattr(join, "_run", lambda command, stdin: _enrol(tmp_path, command, stdin))
    (tmp_path / "their-ca.pem").write_text("a certificate")
    (tmp_path / "token").write_text("a token\n")
    return tmp_path


def _enrol(folder: Path, command: list[str | Path], stdin: str) -> tuple[int, str]:
    (folder / "asked").write_text(" ".join(map(str, command)) + f" < {stdin}")
    (folder / "agent").mkdir(exist_ok=True)
    (folder / "agent/ca.pem").write_text("a certificate")
    (folder / "agent/identity.pem").touch()
    return 0, ""


def run(*words: str) -> tuple[int, str]:
    result = CliRunner().invoke(cli, ["join", ADDRESS, *words])
    return result.exit_code, result.output


def test_it_enrols_once_and_the_token_is_no_argument(machine: Path) -> None:
    given = (f"--ca={machine / 'their-ca.pem'}", f"--token-file={machine / 'token'}", "--output=json")
    assert run(*given) == (0, '{\n  "agent": "started"\n}\n')
    command, _, stdin = (machine / "asked").read_text().partition(" < ")
    assert f"--controller={ADDRESS}:8776" in command
    assert "--token-file=-" in command
    assert stdin == "a token"
    (machine / "asked").unlink()
    assert run()[0] == 0
    assert not (machine / "asked").exists()


def test_its_agent_calls_that_controller_and_shows_guests_no_ports_of_its_own(machine: Path) -> None:
    run(f"--ca={machine / 'their-ca.pem'}", f"--token-file={machine / 'token'}")
    chosen = settings.load({"STEAD_STATE_DIR": str(machine), "STEAD_UNDERLAY_ADDRESS": "198.51.100.3"})
    command = [str(word) for word in cloud.agent_program(chosen).command]
    assert f"--controller={ADDRESS}:8775" in command
    assert "--underlay-address=198.51.100.3" in command
    assert not [word for word in command if word.startswith(("--guest-port", "--guest-address"))]


def test_without_ca_or_token_it_says_what_is_missing(machine: Path) -> None:
    status, said = run()
    assert (status, "--ca ca.pem" in said) == (1, True)
    status, said = run(f"--ca={machine / 'their-ca.pem'}")
    assert (status, "stead host token" in said) == (1, True)
    assert settings.load().controller_address == ""


def test_a_controllers_machine_stays_its_own(machine: Path) -> None:
    (machine / "controller").mkdir()
    (machine / "controller/ca.pem").touch()
    status, said = run(f"--ca={machine / 'their-ca.pem'}", f"--token-file={machine / 'token'}")
    assert (status, "a controller of its own" in said) == (1, True)


def test_a_host_gets_no_second_cloud(machine: Path) -> None:
    run(f"--ca={machine / 'their-ca.pem'}", f"--token-file={machine / 'token'}")
    result = CliRunner().invoke(cli, ["up"])
    assert (result.exit_code, ADDRESS in result.output) == (1, True)


def test_one_of_another_cloud_is_refused(machine: Path) -> None:
    _enrol(machine, [], "")
    (machine / "agent/ca.pem").write_text("another")
    status, said = run(f"--ca={machine / 'their-ca.pem'}")
    assert (status, "enrolled with another cloud" in said) == (1, True)


def test_it_is_for_root_and_not_for_a_rig(machine: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (machine / cloud.RIG_FILE).touch()
    status, said = run(f"--ca={machine / 'their-ca.pem'}", f"--token-file={machine / 'token'}")
    assert (status, "is a rig" in said) == (1, True)
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    status, said = run()
    assert (status, "needs root" in said) == (1, True)


def test_one_of_a_cloud_whose_controller_was_lost_joins_the_new_one_on_purpose(
    machine: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its agent has the former certificate until it is started anew."""
    stopped = []
    monkeypatch.setattr(processes, "stop", lambda program: stopped.append(program.name) or True)
    _enrol(machine, [], "")
    (machine / "agent/ca.pem").write_text("another")
    given = (f"--ca={machine / 'their-ca.pem'}", f"--token-file={machine / 'token'}")
    assert run(*given)[0] == 1
    assert run(*given, "--again")[0] == 0
    assert "--again" in (machine / "asked").read_text()
    assert stopped == ["agent"]


def test_a_host_whose_certificate_has_expired_is_told_how_it_joins_again(
    machine: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(processes, "stop", lambda _program: True)
    authority = Authority.create()
    (machine / "their-ca.pem").write_bytes(authority.certificate_pem)
    for seconds, status in ((3600, 0), (-1, 1)):
        authority.issue_host("h-1", validity=dt.timedelta(seconds=seconds)).save(machine / "agent")
        answered = run(f"--ca={machine / 'their-ca.pem'}")
        assert answered[0] == status, answered
    assert "has expired on" in answered[1]
    assert "stead host token --host h-1; here: stead join --again" in answered[1]
    assert run(f"--token-file={machine / 'token'}", "--again")[0] == 0
