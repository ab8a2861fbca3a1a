"""A new controller is begun only where the former one is lost, and a host is there to say what it has."""

import os
from pathlib import Path

import pytest
from click.testing import CliRunner

from stead_cli import processes, recover, settings
from stead_cli.__main__ import cli


@pytest.fixture(autouse=True)
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A machine on which nothing may be started."""
    monkeypatch.setenv("STEAD_STATE_DIR", str(tmp_path))
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    monkeypatch.setattr(processes, "find", lambda _program: None)
    monkeypatch.setattr(recover, "bring_up", lambda *_, **__: pytest.fail("it was begun"))
    (tmp_path / "agent").mkdir()
    (tmp_path / "agent/identity.pem").touch()
    return tmp_path


def refusal(*words: str) -> str:
    result = CliRunner().invoke(cli, ["recover", *words])
    assert result.exit_code == 1
    return result.output


def test_a_controllers_state_is_not_passed_over(machine: Path) -> None:
    (machine / "controller").mkdir()
    (machine / "controller/ca.pem").touch()
    assert "a controller's state is in" in refusal()


def test_a_controller_that_runs_is_not_lost(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(processes, "find", lambda _program: 7)
    assert "the controller runs" in refusal()


def test_a_machine_that_was_no_host_has_nothing_to_bring_back(machine: Path) -> None:
    (machine / "agent/identity.pem").unlink()
    assert "this machine was no host of a cloud" in refusal()


def test_a_host_of_another_machine_joins_that_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("STEAD_CONTROLLER_ADDRESS", "192.0.2.11")
    chosen = settings.load()
    assert chosen.controller_address == "192.0.2.11"
    assert "stead join --again" in refusal()


def test_up_does_not_begin_another_cloud_beside_guests_of_a_lost_one(machine: Path) -> None:
    for words in (["up"], ["demo"]):
        result = CliRunner().invoke(cli, words)
        assert (result.exit_code, "./stead recover" in result.output) == (1, True), words
    assert not (machine / "controller").exists()


def test_it_is_for_root(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    assert "needs root" in refusal()
