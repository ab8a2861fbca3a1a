"""The command line's surface: help without a cloud, root where it is needed, errors with a way out."""

import json
import os
from pathlib import Path

import pytest
from click.testing import CliRunner

from stead_cli import cloud, image_build, services, up
from stead_cli.__main__ import cli
from stead_cli.errors import CliError
from stead_cli.settings import Settings


@pytest.fixture
def nowhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """No cloud: an empty state directory."""
    monkeypatch.setenv("STEAD_STATE_DIR", str(tmp_path))
    return tmp_path


def test_help_lists_the_commands_in_the_order_of_use() -> None:
    shown = CliRunner().invoke(cli, ["--help"]).output
    order = [shown.index(f"\n  {name} ") for name in ("up", "down", "demo", "env", "status", "doctor")]
    assert order == sorted(order)


@pytest.mark.parametrize("command", [["env"], ["account", "list"], ["host", "list"], ["image", "list"]])
def test_without_a_cloud_each_command_says_how_to_make_one(nowhere: Path, command: list[str]) -> None:
    result = CliRunner().invoke(cli, command)
    assert result.exit_code == 1
    assert "./stead up" in result.output


@pytest.mark.parametrize("command", ["up", "down", "demo"])
def test_commands_for_root_say_so(nowhere: Path, command: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    result = CliRunner().invoke(cli, [command])
    assert result.exit_code == 1
    assert "needs root" in result.output
    assert "as root: ./stead" in result.output


def test_down_without_a_cloud_is_well(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    monkeypatch.setenv("STEAD_STATE_DIR", str(tmp_path / "none"))
    assert CliRunner().invoke(cli, ["down", "--purge"]).exit_code == 0


def test_two_at_once_do_not_meet(tmp_path: Path) -> None:
    chosen = Settings(tmp_path)
    with cloud.exclusively(chosen), pytest.raises(CliError, match="another"), cloud.exclusively(chosen):
        pass


def test_a_format_that_lies_is_refused_before_the_upload(nowhere: Path) -> None:
    file = nowhere / "disk.img"
    file.write_bytes(b"QFI\xfb" + bytes(100))
    result = CliRunner().invoke(cli, ["image", "import", str(file), "--name", "x", "--format", "raw"])
    assert result.exit_code == 1
    assert "qcow2" in result.output


def test_the_recipe_of_each_image_has_a_hash_of_its_own() -> None:
    hashes = {image_build._recipe_hash(kind) for kind in image_build.KINDS}
    assert len(hashes) == len(image_build.KINDS)


def test_the_person_behind_sudo_gets_access_of_their_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    chosen = Settings(tmp_path)
    chosen.controller_dir.mkdir()
    for name in ("ca.pem", "instance-identity.pem", "operator.pem", "operator-key.pem", "credentials.json"):
        (chosen.controller_dir / name).write_text(name)
    monkeypatch.setenv("SUDO_UID", str(os.geteuid() or 65534))
    monkeypatch.setenv("SUDO_GID", str(os.getegid() or 65534))
    cloud.share_access(chosen)
    folder = chosen.users_dir / os.environ["SUDO_UID"]
    assert {path.name: path.stat().st_mode & 0o777 for path in folder.iterdir()} == dict.fromkeys(
        ("ca.pem", "operator.pem", "operator-key.pem", "credentials.json"), 0o600
    )
    assert {path.stat().st_uid for path in (folder, *folder.iterdir())} == {int(os.environ["SUDO_UID"])}
    assert folder.stat().st_mode & 0o777 == 0o700
    assert chosen.ca_file.stat().st_mode & 0o777 == chosen.identity_file.stat().st_mode & 0o777 == 0o644


def test_doctor_without_root_says_what_it_could_not_look_at(nowhere: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    checks = json.loads(CliRunner().invoke(cli, ["doctor", "--output", "json"]).stdout)
    assert {"name": "host", "remedy": "as root: ./stead doctor"}.items() <= checks[0].items()


@pytest.mark.parametrize("has_systemd", [True, False])
def test_up_says_what_to_do_at_boot_where_nothing_does_it(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], has_systemd: bool
) -> None:
    monkeypatch.setattr(services, "has_systemd", lambda: has_systemd)
    up._show_next(Settings(), 1.0)
    assert ("at boot" in capsys.readouterr().err) is not has_systemd
