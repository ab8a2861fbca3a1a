"""A schedule of backups: what is refused, and what becomes of its units."""

import os
import subprocess
from dataclasses import replace
from pathlib import Path

import pytest
from click.testing import CliRunner

from stead_cli import backup_timer, cloud, doctor, services
from stead_cli.__main__ import cli
from stead_cli.backup_place import Place
from stead_cli.backup_timer import Schedule
from stead_cli.errors import CliError
from stead_cli.settings import Settings
from tests.support import empty_database


class Systemd:
    """A systemd that follows its commands, and shows these properties."""

    def __init__(self) -> None:
        self.calls: list[tuple[str, ...]] = []
        self.shows: dict[str, str] = {}

    def __call__(self, *words: str) -> "subprocess.CompletedProcess[str]":
        self.calls.append(words)
        text = "".join(f"{name}={value}\n" for name, value in self.shows.items()) if words[0] == "show" else ""
        return subprocess.CompletedProcess(words, 0, text, "")


@pytest.fixture
def systemd(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Systemd:
    """Where units are in tmp_path."""
    made = Systemd()
    monkeypatch.setattr(services, "_FOLDER", tmp_path)
    monkeypatch.setattr(services, "_systemctl", made)
    monkeypatch.setattr(services, "has_systemd", lambda: True)
    return made


@pytest.fixture
def wanted(tmp_path: Path) -> Schedule:
    """A schedule whose passphrase is root's alone."""
    file = tmp_path / "passphrase"
    file.write_text("correct horse\n")
    file.chmod(0o600)
    os.chown(file, 0, 0)
    return Schedule(Place(str(tmp_path / "backups")), file, "03:30", 14)


pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="only root has files that are root's")


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o610])
def test_a_passphrase_that_others_may_read_is_refused(systemd: Systemd, wanted: Schedule, mode: int) -> None:
    assert wanted.passphrase_file is not None
    backup_timer.check(wanted)
    wanted.passphrase_file.chmod(mode)
    with pytest.raises(CliError, match="others than root may read"):
        backup_timer.check(wanted)
    wanted.passphrase_file.chmod(0o600)
    os.chown(wanted.passphrase_file, 1, 0)
    with pytest.raises(CliError, match="others than root may read"):
        backup_timer.check(wanted)
    assert systemd.calls == []


@pytest.mark.parametrize("at", ["24:00", "3:30", "03:60", "03:30:00", "daily", "03:30\n"])
def test_what_is_no_time_of_day_is_refused(systemd: Systemd, wanted: Schedule, at: str) -> None:
    with pytest.raises(CliError, match="is no time of day"):
        backup_timer.check(replace(wanted, at=at))
    for good in ("00:00", "19:59", "23:05"):
        backup_timer.check(replace(wanted, at=good))
    assert systemd.calls == []


def test_where_there_is_no_systemd_cron_is_named(wanted: Schedule, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(services, "has_systemd", lambda: False)
    with pytest.raises(CliError, match="no systemd here") as refused:
        backup_timer.check(wanted)
    assert refused.value.hint.startswith("cron: 30 3 * * * ")


def test_a_bucket_needs_a_key_file_that_is_roots_and_a_network(
    systemd: Systemd, wanted: Schedule, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    chosen, file = Settings(tmp_path / "state"), tmp_path / "key"
    file.touch(0o600)
    for name in ("AWS_CA_BUNDLE", "AWS_ENDPOINT_URL_S3", "AWS_REGION", "AWS_DEFAULT_REGION"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_ENDPOINT_URL", "https://s3.example.net")
    there = replace(wanted, place=Place("s3://backups/stead", key_file=file).lasting())
    with pytest.raises(CliError, match="needs the access key of the bucket in a file"):
        backup_timer.check(replace(wanted, place=Place("s3://backups/stead")))
    file.chmod(0o640)
    with pytest.raises(CliError, match="others than root may read"):
        backup_timer.check(there)
    file.chmod(0o600)
    backup_timer.check(there)
    backup_timer.begin(chosen, there)
    text = (tmp_path / chosen.unit("backup")).read_text()
    named = f"s3://backups/stead --endpoint-url=https://s3.example.net --key-file={file}"
    assert f"create {named} --passphrase-file" in text
    assert f"prune {named} --keep 14" in text
    assert "PrivateNetwork=no" in text
    backup_timer.begin(chosen, wanted)
    assert "PrivateNetwork=yes" in (tmp_path / chosen.unit("backup")).read_text()


def test_recipients_are_in_the_unit_and_their_file_is_only_roots_to_write(
    systemd: Systemd, wanted: Schedule, tmp_path: Path
) -> None:
    file = tmp_path / "recipients"
    file.touch(0o644)
    chosen = Settings(tmp_path / "state")
    sealing = replace(wanted, passphrase_file=None, recipients=("age1one", "age1two"), recipients_file=file)
    backup_timer.check(sealing)
    backup_timer.begin(chosen, sealing)
    text = (tmp_path / chosen.unit("backup")).read_text()
    assert f"create {wanted.place} --recipient=age1one --recipient=age1two --recipients-file {file}\n" in text
    file.chmod(0o646)
    with pytest.raises(CliError, match="others than root may write to"):
        backup_timer.check(sealing)


def test_of_an_installed_release_the_unit_runs_the_one_that_is_used_then(
    systemd: Systemd, wanted: Schedule, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Not the one that made the schedule, which is removed after further upgrades."""
    (tmp_path / "opt").mkdir()
    (tmp_path / "opt/current").symlink_to(tmp_path / "opt/stead-1")
    monkeypatch.setattr(cloud, "BIN", tmp_path / "opt/stead-1/.venv/bin")
    chosen = Settings(tmp_path / "state")
    backup_timer.begin(chosen, wanted)
    text = (tmp_path / chosen.unit("backup")).read_text()
    assert text.count(f"{tmp_path}/opt/current/.venv/bin/stead backup ") == 2


def test_the_timer_begins_is_shown_and_ends(systemd: Systemd, wanted: Schedule, tmp_path: Path) -> None:
    chosen = Settings(tmp_path / "state")
    service, timer = chosen.unit("backup"), backup_timer.name(chosen)
    assert timer == service.replace(".service", ".timer")
    assert backup_timer.shown(chosen) == {}
    assert not backup_timer.remove(chosen)
    backup_timer.begin(chosen, wanted)
    assert systemd.calls == [("daemon-reload",), ("reset-failed", timer), ("enable", "--now", timer)]
    text = (tmp_path / service).read_text()
    assert f"create {wanted.place} --passphrase-file {wanted.passphrase_file}" in text
    assert f"prune {wanted.place} --keep 14" in text
    systemd.shows = {
        "Description": "each day",
        "NextElapseUSecRealtime": "soon",
        "LastTriggerUSec": "",
        "Result": "success",
    }
    shown = backup_timer.shown(chosen)
    assert shown == {"schedule": "each day", "next": "soon", "last": "", "last_result": ""}
    systemd.shows |= {"LastTriggerUSec": "now", "Result": "exit-code"}
    assert backup_timer.shown(chosen)["last_result"] == "exit-code"
    assert backup_timer.remove(chosen)
    assert not (tmp_path / service).exists()
    assert not (tmp_path / timer).exists()
    assert ("disable", "--now", timer) in systemd.calls
    assert not backup_timer.remove(chosen)


@pytest.mark.parametrize(
    ("last", "result", "status"), [("", "success", "ok"), ("x", "success", "ok"), ("x", "exit-code", "warning")]
)
def test_doctor_names_a_backup_that_failed(
    systemd: Systemd, wanted: Schedule, tmp_path: Path, *, last: str, result: str, status: str
) -> None:
    chosen = Settings(tmp_path / "state")
    assert [check for check in doctor._controller_checks(chosen) if check["name"] == "backups"] == []
    backup_timer.begin(chosen, wanted)
    systemd.shows = {"Description": "each day", "LastTriggerUSec": last, "Result": result}
    [check] = [check for check in doctor._controller_checks(chosen) if check["name"] == "backups"]
    assert check["status"] == status
    assert check["remedy"] == ("" if status == "ok" else f"journalctl -u {chosen.unit('backup')}")


def test_a_schedule_begins_with_a_backup_and_not_without(
    systemd: Systemd, wanted: Schedule, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("STEAD_STATE_DIR", str(tmp_path / "state"))
    folder = str(wanted.place)

    def schedule(*arguments: str) -> tuple[int, str]:
        done = CliRunner().invoke(cli, ["backup", "schedule", *arguments])
        return done.exit_code, done.output

    assert schedule() == (0, "{}\n")
    assert "a schedule needs the passphrase, or recipients" in schedule(folder)[1]
    assert "has no database of Stead" in schedule(folder, f"--passphrase-file={wanted.passphrase_file}")[1]
    assert not systemd.calls
    controller = tmp_path / "state" / "controller"
    controller.mkdir(parents=True)
    empty_database.write(controller / "stead.sqlite")
    code, said = schedule(folder, f"--passphrase-file={wanted.passphrase_file}", "--at", "04:00", "--keep", "3")
    assert (code, "each day at 04:00" in said) == (0, True)
    assert len(list(Path(wanted.place.where).glob("20*"))) == 1
    assert schedule("--off") == (0, "the schedule has ended\n")
    assert schedule("--off") == (0, "nothing was scheduled\n")
