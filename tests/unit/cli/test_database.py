"""`stead database copy`: when the database may be copied, and what is remembered."""

import json

import pytest
from click.testing import CliRunner

from stead_cli import backup, cloud, database, processes
from stead_cli.errors import CliError

URL = "postgresql+psycopg://stead@db/stead"


@pytest.fixture
def asked(tmp_path, monkeypatch):
    """What the controller's program is asked, for a cloud whose controller does not run."""
    state, found = tmp_path / "state", []
    (state / "controller").mkdir(parents=True)
    (state / "controller" / "ca.pem").touch()
    monkeypatch.setenv("STEAD_STATE_DIR", str(state))
    monkeypatch.setattr(cloud, "require_root", lambda _what: None)
    monkeypatch.setattr(processes, "find", lambda _program: None)
    monkeypatch.setattr(backup, "run", found.append)
    return found


def copy(*words):
    return CliRunner().invoke(database.database, ["copy", *words])


def remembered(tmp_path):
    file = tmp_path / "state" / "settings.json"
    return json.loads(file.read_text())["database_url"] if file.exists() else None


def test_what_was_copied_is_used_from_then_on(asked, tmp_path):
    done = copy(URL)
    assert (done.exit_code, remembered(tmp_path)) == (0, URL), done.output
    state = f"--state-dir={tmp_path}/state/controller"
    assert asked == [["move-database", state, URL]]
    assert copy("sqlite", "--output", "json").exit_code == 0
    assert asked[1:] == [["move-database", state, f"--database-url={URL}", "sqlite"]]
    assert remembered(tmp_path) == "sqlite"


def test_a_failed_copy_is_not_remembered(asked, tmp_path, monkeypatch):
    def fails(_words):
        raise CliError("is not empty")

    monkeypatch.setattr(backup, "run", fails)
    assert "is not empty" in copy(URL).output
    assert remembered(tmp_path) is None


@pytest.mark.parametrize(
    ("url", "said"),
    [("mysql://there", "names no database of PostgreSQL"), ("postgresql+psycopg://a:b@c/d", "has a password")],
)
def test_a_url_that_is_none_or_has_a_password_is_refused(asked, url, said):
    done = copy(url)
    assert (done.exit_code, asked) == (1, [])
    assert said in done.output


def test_a_controller_that_runs_and_a_machine_without_one_are_refused(asked, tmp_path, monkeypatch):
    with monkeypatch.context() as patched:
        patched.setattr(processes, "find", lambda _program: 1)
        assert "the controller uses the database" in copy(URL).output
    monkeypatch.setenv("STEAD_CONTROLLER_ADDRESS", "192.0.2.1")
    assert "no controller has its state on this machine" in copy(URL).output
    monkeypatch.delenv("STEAD_CONTROLLER_ADDRESS")
    (tmp_path / "state" / "controller" / "ca.pem").unlink()
    assert "no controller has its state on this machine" in copy(URL).output
    assert asked == []
