"""A support bundle has what is needed to find a fault, says what cannot be had, and hides keys."""

import json
import os
import tarfile
from pathlib import Path

import pytest
from click.testing import CliRunner

from stead_cli import doctor, support_bundle
from stead_cli.__main__ import cli
from stead_cli.support_bundle import redacted
from tests.support import empty_database

KEY = b"-----BEGIN PRIVATE KEY-----\nMIIEv\nabc=\n-----END PRIVATE KEY-----"


@pytest.fixture
def state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The state of a cloud whose programs do not run."""
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    monkeypatch.setenv("STEAD_STATE_DIR", str(tmp_path / "state"))
    monkeypatch.setenv("STEAD_HTTP_PORT", "1")
    monkeypatch.setattr(doctor, "agent_checks", lambda _chosen: [{"name": "kvm", "status": "ok"}])
    monkeypatch.setattr(support_bundle, "_COMMANDS", {"machine.txt": ("uname", "-s"), "none.txt": ("no-such-program",)})
    (tmp_path / "state" / "controller").mkdir(parents=True)
    (tmp_path / "state" / "log").mkdir()
    return tmp_path / "state"


def read(file: Path) -> dict[str, bytes]:
    with tarfile.open(file) as tar:
        found = {entry.name.removeprefix("stead-support/"): tar.extractfile(entry) for entry in tar}
        return {name: content.read() for name, content in found.items() if content is not None}


def test_it_has_all_that_can_be_had_and_says_what_cannot(state: Path, tmp_path: Path) -> None:
    empty_database.write(state / "controller" / "stead.sqlite", of_program=True)
    (state / "controller" / "master.key").write_bytes(b"k" * 32)
    (state / "log" / "agent.log").write_bytes(b"x" * support_bundle._LOG_BYTES + b"the end\n")
    (state / "log" / "controller.log.1").write_bytes(KEY)
    done = CliRunner().invoke(cli, ["support-bundle", str(tmp_path / "made")])
    assert done.exit_code == 0, done.output
    made = tmp_path / "made.tar.gz"
    assert made.stat().st_mode & 0o777 == 0o600
    found = read(made)
    rows = json.loads(found["rows.json"])
    assert (rows["rows"]["instances"], len(rows["revision"])) == (0, 12)
    assert found["log/agent.log"].endswith(b"xxthe end\n")
    assert len(found["log/agent.log"]) == support_bundle._LOG_BYTES
    assert found["log/controller.log.1"] == b"(hidden)"
    assert found["machine.txt"] == b"Linux\n"
    assert found["none.txt"].startswith(b"cannot be had: ")
    assert found["hosts.json"].startswith(b"cannot be had: ")
    assert json.loads(found["checks.json"]) == [{"name": "kvm", "status": "ok"}]
    assert json.loads(found["settings.json"])["http_port"] == "1"
    assert b"k" * 32 not in b"".join(found.values())


def test_it_replaces_no_file_and_needs_a_cloud(state: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "made.tgz").write_bytes(b"other")
    done = CliRunner().invoke(cli, ["support-bundle", str(tmp_path / "made.tgz")])
    assert (done.exit_code, (tmp_path / "made.tgz").read_bytes()) == (1, b"other")
    assert "is there already" in done.output
    monkeypatch.setenv("STEAD_STATE_DIR", str(tmp_path / "none"))
    assert "there is no cloud" in CliRunner().invoke(cli, ["support-bundle", str(tmp_path / "new")]).output
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    assert "needs root" in CliRunner().invoke(cli, ["support-bundle", str(tmp_path / "new")]).output
    assert not (tmp_path / "new.tar.gz").exists()


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        (b"a " + KEY + b" b " + KEY, b"a (hidden) b (hidden)"),
        (b"-----BEGIN RSA PRIVATE KEY-----\nx\n-----END RSA PRIVATE KEY-----\n", b"(hidden)\n"),
        (b'"secret_access_key": "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY"', b'"secret_access_key": "(hidden)"'),
        (b"aws-secret-access-key=wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY", b"aws-secret-access-key=(hidden)"),
        (b"-----BEGIN CERTIFICATE-----\nMII\n-----END CERTIFICATE-----", None),
        (b"i-0123456789abcdef0 of secret_access_key_rotation", None),
    ],
    ids=["two keys", "an RSA key", "JSON", "a setting", "a certificate", "words"],
)
def test_keys_are_hidden_and_nothing_else(text: bytes, shown: bytes | None) -> None:
    assert redacted(text) == (text if shown is None else shown)
