"""`stead backup` runs the controller's program, shows what it did, and says what to do where it cannot."""

import json
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any, Self

import pyrage
import pytest
from click.testing import CliRunner, Result

from stead_cli import backup
from stead_cli.__main__ import cli
from tests.support import empty_database, loaded_programs

_SECONDS = 120.0


class Forked:
    """What subprocess.Popen gives, of a program that need not be loaded once more: that is most of what it would do."""

    folder: Path

    def __init__(self, command: list[str], **_streams: Any) -> None:
        self.command, self.said = command, self.folder / "said"
        self.stdin, self.stdout = (self.folder / "asked").open("w"), self
        self.said.unlink(missing_ok=True)
        self.returncode = -1

    def __enter__(self) -> Self:
        return self

    def __iter__(self) -> Iterator[str]:
        """It begins once it can read all, and is read when it has ended."""
        errors, asked = self.folder / "errors", Path(self.stdin.name)
        program = loaded_programs.start(self.command, dict(os.environ), self.said, errors, reads=asked)
        assert program is not None
        self.returncode = program.wait(_SECONDS)
        return iter(self.said.read_text().splitlines())

    def __exit__(self, *_error: object) -> None:
        """It has ended."""


@pytest.fixture
def state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The state of a cloud whose programs do not run."""
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    monkeypatch.setenv("STEAD_STATE_DIR", str(tmp_path / "state"))
    controller = tmp_path / "state" / "controller"
    controller.mkdir(parents=True)
    empty_database.write(controller / "stead.sqlite")
    (controller / "master.key").write_bytes(b"k" * 32)
    (tmp_path / "passphrase").write_text("correct horse\nno second line\n")
    return controller


@pytest.mark.story
def test_a_backup_is_made_listed_checked_and_brought_back(
    state: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, passphrase = str(tmp_path / "backups"), f"--passphrase-file={tmp_path / 'passphrase'}"

    def stead(*arguments: str) -> Result:
        return CliRunner().invoke(cli, ["backup", *arguments])

    with monkeypatch.context() as elsewhere:
        elsewhere.setenv("STEAD_BLOCK_BUCKET", "stead-blocks")
        elsewhere.setenv("STEAD_BLOCK_KEY_FILE", "/etc/stead-block-key")
        made = json.loads(stead("create", folder, passphrase, "--output", "json").stdout)
    monkeypatch.setattr(Forked, "folder", tmp_path, raising=False)
    monkeypatch.setattr(backup, "subprocess", SimpleNamespace(Popen=Forked, PIPE=subprocess.PIPE))  # from now on
    listed = stead("list", folder)
    assert listed.stdout.splitlines()[1].split("\t")[0] == made["id"]
    checked = stead("verify", folder, passphrase)
    assert (checked.exit_code, checked.stderr) == (0, f"backup {made['id']} is whole\n")

    refused = stead("restore", folder, passphrase)
    assert (refused.exit_code, "is not empty: move it away" in refused.output) == (1, True)
    state.rename(tmp_path / "lost")
    restored = stead("restore", folder, passphrase)
    assert restored.exit_code == 0, restored.output
    assert "0 blocks; next: ./stead up" in restored.stderr
    assert "its blocks are in the bucket stead-blocks: STEAD_BLOCK_BUCKET=stead-blocks" in restored.stderr
    assert (state / "master.key").read_bytes() == b"k" * 32
    (tmp_path / "passphrase").write_text("another one\n")
    wrong = stead("create", folder, passphrase)
    assert (wrong.exit_code, "The passphrase does not open the keys" in wrong.output) == (1, True)

    assert "1 backups removed, and 0 blocks" not in stead("prune", folder, "--keep", "1").stderr
    identity = pyrage.x25519.Identity.generate()
    (tmp_path / "identity").touch(0o600)
    (tmp_path / "identity").write_text(f"# mine\n{identity}\n")
    sealed = stead("create", folder, f"--recipient={identity.to_public()}", "--output", "json")
    assert json.loads(sealed.stdout)["recipients"] == [str(identity.to_public())]
    assert [line.split("\t")[6] for line in stead("list", folder).stdout.splitlines()] == [
        "KEYS",
        "passphrase",
        f"{str(identity.to_public())[:12]}…",
    ]
    state.rename(tmp_path / "lost again")
    refused = stead("restore", folder, passphrase)
    assert (refused.exit_code, "name the file of an identity" in refused.output) == (1, True)
    assert stead("restore", folder, f"--identity-file={tmp_path / 'identity'}").exit_code == 0
    assert (state / "master.key").read_bytes() == b"k" * 32

    made = json.loads(sealed.stdout)
    (Path(folder) / made["id"] / "database.sqlite").unlink()
    damaged = stead("verify", folder)
    assert damaged.exit_code == 1
    assert damaged.stdout == "database.sqlite: cannot be read: No such file or directory\n"
    assert f"backup {made['id']} is not whole" in damaged.stderr


def test_what_is_missing_is_said(state: Path, tmp_path: Path) -> None:
    folder = str(tmp_path / "none")
    for arguments, said in (
        (["list", folder], "has no backups"),
        (["create", folder], "no passphrase is given"),
        (["prune", folder], "Missing option '--keep'"),
    ):
        result = CliRunner().invoke(cli, ["backup", *arguments])
        assert result.exit_code != 0
        assert said in result.output
