"""What the controller's program says of settings before it does anything."""

import subprocess
import sys
from contextlib import nullcontext
from pathlib import Path
from unittest.mock import MagicMock

import click
import pytest
from click.testing import CliRunner

from stead_controller import __main__, allocator, logs, succession, supervisor
from stead_controller.__main__ import _lock_file, _settings, cli
from stead_controller.db import changes
from stead_controller.secrets import core_dumps
from stead_controller.settings import Settings
from stead_proto import alone, resident


@pytest.mark.parametrize(
    ("option", "needed"),
    [
        ("--block-endpoint", "--block-bucket"),
        ("--block-key-file", "--block-bucket"),
        ("--block-ca-file", "--block-bucket"),
        ("--object-key-file", "--object-endpoint"),
        ("--metrics-token-file", "--metrics-endpoint"),
        ("--metrics-ca-file", "--metrics-endpoint"),
        ("--remote-write-token-file", "--remote-write-url"),
    ],
)
def test_a_setting_that_would_have_no_effect_is_refused(tmp_path: Path, option: str, needed: str) -> None:
    file, state = tmp_path / "file", tmp_path / "state"
    file.touch()
    words = ["init", "--state-dir", str(state), option, str(file)]
    done = CliRunner().invoke(cli, words)
    assert (done.exit_code, f"{option} has no effect without {needed}" in done.output) == (2, True), done.output
    assert not state.exists()
    with cli.commands["init"].make_context("init", [*words[1:], needed, "http://127.0.0.1:9"]) as context:
        assert str(_settings(context.params)).count("http://127.0.0.1:9") == 1


def test_several_controllers_need_a_server(tmp_path: Path) -> None:
    words = ["init", "--state-dir", str(tmp_path / "state"), "--host-address", "192.0.2.1"]
    done = CliRunner().invoke(cli, words)
    assert (done.exit_code, "--database-url=postgresql" in done.output) == (2, True), done.output


def test_a_file_elsewhere_is_of_one_controller(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'shared.sqlite'}"
    code = "import sys; from stead_controller.__main__ import _lock_file; _lock_file(sys.argv[1]); print(flush=True); input()"
    with subprocess.Popen(
        [sys.executable, "-c", code, url], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as first:
        assert first.stdout is not None
        first.stdout.readline()
        with pytest.raises(click.ClickException, match="several need PostgreSQL"):
            _lock_file(url)
        first.communicate("\n")
    _lock_file("")
    _lock_file("postgresql+psycopg://")


def test_what_loading_alone_needed_is_given_back_before_the_first_fork(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GRPC_VERBOSITY", "ERROR")
    for place, name in ((core_dumps, "forbid"), (allocator, "use_one_heap"), (logs, "set_up")):
        monkeypatch.setattr(place, name, MagicMock())
    monkeypatch.setattr(__main__, "_loading", nullcontext)
    done: list[str] = []
    monkeypatch.setattr(resident, "give_back", lambda: done.append("given back"))
    monkeypatch.setattr(supervisor, "fork_until_ended", lambda _: sys.exit(len(done)))
    assert CliRunner().invoke(cli, ["run", "--state-dir", str(tmp_path)]).exit_code == 1
    assert done == ["given back"]


@pytest.mark.parametrize(
    ("url", "prepared"), [("", []), ("postgresql+psycopg://user@/one", ["postgresql+psycopg://user@/one"])]
)
def test_the_copy_of_a_servers_database_is_prepared_before_anybody_stands_aside(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, url: str, prepared: list[str]
) -> None:
    for place, name in ((core_dumps, "forbid"), (allocator, "use_one_heap"), (logs, "set_up"), (resident, "give_back")):
        monkeypatch.setattr(place, name, MagicMock())
    monkeypatch.setattr(__main__, "load", MagicMock())
    done: list[str] = []
    monkeypatch.setattr(changes, "prepare_copy", lambda settings: done.append(settings.database_url))
    monkeypatch.setattr(supervisor, "apart", lambda work: work())

    def refuses(_folder: Path) -> None:
        raise succession.FailedError(f"after {len(done)}")

    monkeypatch.setattr(succession, "standing_aside", refuses)
    monkeypatch.delenv("NOTIFY_SOCKET", raising=False)
    monkeypatch.setenv("GRPC_VERBOSITY", "ERROR")
    words = ["run", "--state-dir", str(tmp_path), *([f"--database-url={url}"] if url else [])]
    said = CliRunner().invoke(cli, words, env={alone.SUCCEEDS: "1"})
    assert (said.exit_code, done) == (1, prepared)
    assert f"after {len(prepared)}; the former controller goes on" in said.output


@pytest.mark.parametrize(
    ("given", "reached"),
    [
        ("", "10.0.0.1:8775"),
        ("one.example", "one.example:8775"),
        ("one.example:9", "one.example:9"),
        ("[2001:db8::1]", "[2001:db8::1]:8775"),
        ("[2001:db8::1]:9", "[2001:db8::1]:9"),
    ],
)
def test_where_hosts_reach_a_controller(tmp_path, given, reached):
    assert Settings(tmp_path, listen="10.0.0.1", host_address=given).reached_at == reached


@pytest.mark.parametrize("everywhere", ["0.0.0.0", "::"])
def test_a_controller_that_listens_everywhere_does_not_know_where_hosts_reach_it(tmp_path, everywhere):
    assert Settings(tmp_path, listen=everywhere).reached_at == ""
    assert Settings(tmp_path, listen=everywhere, host_address="10.0.0.1").reached_at == "10.0.0.1:8775"
