"""A place of backups is a folder or a bucket, and says the same to programs that are started elsewhere."""

from pathlib import Path

import pytest
from click.testing import CliRunner

from stead_cli.__main__ import cli
from stead_cli.backup_place import Place


def test_a_bucket_keeps_what_the_environment_says(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("AWS_CA_BUNDLE", "AWS_ENDPOINT_URL", "AWS_ENDPOINT_URL_S3", "AWS_REGION", "AWS_DEFAULT_REGION"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.chdir(tmp_path)
    bucket = Place("s3://backups", key_file=Path("key"))
    assert bucket.lasting() == Place("s3://backups", key_file=tmp_path / "key")
    monkeypatch.setenv("AWS_ENDPOINT_URL", "https://any")
    monkeypatch.setenv("AWS_DEFAULT_REGION", "eu-west-1")
    monkeypatch.setenv("AWS_CA_BUNDLE", "bundle.pem")
    assert bucket.lasting().words == [
        "s3://backups",
        "--endpoint-url=https://any",
        "--region=eu-west-1",
        f"--ca-bundle={tmp_path / 'bundle.pem'}",
        f"--key-file={tmp_path / 'key'}",
    ]
    monkeypatch.setenv("AWS_ENDPOINT_URL_S3", "https://s3")
    monkeypatch.setenv("AWS_REGION", "eu-west-2")
    assert bucket.lasting().words[1:3] == ["--endpoint-url=https://s3", "--region=eu-west-2"]
    said = Place("s3://backups", "https://said", "eu-west-3", tmp_path / "said.pem")
    assert said.lasting() == said
    assert Place("backups").lasting() == Place(str(tmp_path / "backups"))


def test_a_bucket_may_always_be_new_and_a_folder_until_it_has_backups(tmp_path: Path) -> None:
    assert Place("s3://backups").may_be_new
    assert Place(str(tmp_path)).may_be_new
    (tmp_path / "stead-backups.json").touch()
    assert not Place(str(tmp_path)).may_be_new


def test_options_of_a_server_are_refused_for_a_folder(tmp_path: Path) -> None:
    result = CliRunner().invoke(cli, ["backup", "list", str(tmp_path), "--region=eu-west-1"])
    assert (result.exit_code, "--region is of an S3 server" in result.output) == (1, True)


def test_a_bucket_that_cannot_be_asked_is_said_so(tmp_path: Path) -> None:
    key = tmp_path / "key"
    key.touch(0o600)
    key.write_text("AKIA\nsecret\n")
    result = CliRunner().invoke(
        cli, ["backup", "list", "s3://Backups", f"--key-file={key}", "--endpoint-url=http://127.0.0.1:1"]
    )
    assert (result.exit_code, "s3://Backups names no bucket" in result.output) == (1, True)
    key.chmod(0o644)
    result = CliRunner().invoke(cli, ["backup", "list", "s3://backups", f"--key-file={key}"])
    assert (result.exit_code, "can be read by others" in result.output) == (1, True)
