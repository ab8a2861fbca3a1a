"""A cloud of `stead up` moves to PostgreSQL and an S3 server, is lost, comes back there, and moves back to a file."""

import contextlib
import io
import json
import shutil
import subprocess
import tarfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from stead_cli import processes
from tests.support import box
from tests.support.postgresql import PROGRAMS, PostgresqlServer
from tests.support.processes import BIN
from tests.support.real_cloud import RealCloud
from tests.support.s3_server import S3Server

pytestmark = [
    pytest.mark.story,
    pytest.mark.skipif(not PROGRAMS, reason="needs a PostgreSQL server: ./stead test --postgresql installs it"),
]

KEY_ID, SECRET = "AKIASTEAD", "a/secret+key"


@contextlib.contextmanager
def a_server() -> Iterator[PostgresqlServer]:
    """A server in the box."""
    made = PostgresqlServer()
    try:
        made.start()
        yield made
    finally:
        made.stop()


@contextlib.contextmanager
def a_cloud() -> Iterator[RealCloud]:
    """A cloud in the box; nothing is started."""
    made = RealCloud()
    try:
        yield made
    finally:
        made.purge()


def stead(cloud: RealCloud, *arguments: str, database: str = "", **settings: str) -> "subprocess.CompletedProcess[str]":
    """Run the command line, with a database and further settings named where there are some."""
    more = ({"STEAD_DATABASE_URL": database} if database else {}) | settings
    return subprocess.run(
        [str(BIN / "stead"), *arguments],
        env=cloud.environment | more,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
    )


def well(cloud: RealCloud, *arguments: str, database: str = "", **settings: str) -> str:
    """Run it and give its stdout; fail where it does."""
    done = stead(cloud, *arguments, database=database, **settings)
    assert done.returncode == 0, f"{arguments}: {done.stdout}\n{done.stderr}\n{cloud.log_ends()}"
    return done.stdout


def accounts(cloud: RealCloud) -> set[str]:
    """The accounts that the cloud knows."""
    return {one["account_id"] for one in json.loads(well(cloud, "account", "list", "--output", "json"))}


def test_a_cloud_moves_to_a_server_comes_back_there_and_moves_back(tmp_path: Path) -> None:
    box.run_in_another(_story, tmp_path)


def _story(folder: Path) -> None:
    with a_cloud() as cloud:
        _a_server_that_does_not_answer_is_named(cloud, folder)
    (folder / "s3").mkdir()
    with (
        a_server() as server,
        S3Server(folder / "s3", KEY_ID, SECRET) as blocks,
        a_cloud() as cloud,
    ):
        _move(server, blocks, cloud, folder)


def _move(server: PostgresqlServer, blocks: S3Server, cloud: RealCloud, tmp_path: Path) -> None:
    first, second = server.new_database(), server.new_database()
    passphrase = tmp_path / "passphrase"
    passphrase.write_text("correct horse\n")
    option, folder = f"--passphrase-file={passphrase}", str(tmp_path / "backups")
    controller = cloud.settings.controller_dir
    cloud.prepare()

    def lose() -> None:
        well(cloud, "down")
        shutil.rmtree(controller)

    well(cloud, "up", "--no-host")
    made = {cloud.new_account().account_id}
    refused = stead(cloud, "up", "--no-host", database=first)
    assert (refused.returncode, "STEAD_DATABASE_URL names another" in refused.stderr) == (1, True), refused.stderr
    assert json.loads((cloud.state_dir / "settings.json").read_text())["database_url"] == ""
    well(cloud, "backup", "create", folder, option)
    lose()
    well(cloud, "backup", "restore", folder, option, database=first)
    assert not (controller / "stead.sqlite").exists()
    in_bucket = _move_blocks(blocks, cloud, tmp_path)
    well(cloud, "up", "--no-host", **in_bucket)  # which remembers it, and the database
    assert blocks_read(cloud) == len(blocks.keys("blocks"))
    assert accounts(cloud) >= made
    made.add(cloud.new_account().account_id)

    saved = json.loads(well(cloud, "backup", "create", folder, option, "--output", "json"))
    assert (saved["database"], saved["bucket"], saved["unreadable"]) == ("postgresql", "blocks", [])
    lose()
    for command in ("up", "recover"):
        begun = stead(cloud, command, "--no-host")
        assert (begun.returncode, "whose keys are not in" in begun.stderr) == (1, True), begun.stderr
    assert not controller.exists()
    full = stead(cloud, "backup", "restore", folder, option)
    assert (full.returncode, "is not empty" in full.stderr) == (1, True), full.stderr
    (cloud.state_dir / "settings.json").unlink()  # the backup has them, too
    well(cloud, "backup", "restore", folder, option, database=second)
    well(cloud, "up", "--no-host")
    assert {f"--database-url={second}", "--block-bucket=blocks"} <= {*arguments_of(cloud)}
    assert blocks_read(cloud) == len(blocks.keys("blocks"))
    assert accounts(cloud) >= made
    bundle = tmp_path / "bundle.tar.gz"
    well(cloud, "support-bundle", str(bundle))
    with tarfile.open(bundle) as tar:
        counted = json.loads((tar.extractfile("stead-support/rows.json") or io.BytesIO()).read())
    assert counted["rows"]["accounts"] == len(accounts(cloud)), counted
    assert len(counted["revision"]) == 12

    used = stead(cloud, "database", "copy", "sqlite")
    assert (used.returncode, "the controller uses the database" in used.stderr) == (1, True), used.stderr
    well(cloud, "down")
    well(cloud, "database", "copy", "sqlite")
    well(cloud, "up", "--no-host")
    assert (controller / "stead.sqlite").exists()
    assert not [word for word in arguments_of(cloud) if word.startswith("--database-url")]
    assert accounts(cloud) >= made


def _move_blocks(server: S3Server, cloud: RealCloud, tmp_path: Path) -> dict[str, str]:
    """Copy the blocks to a bucket as docs/operate/settings.md says, and give the settings that name it."""
    server.make_bucket("blocks")
    key_file = tmp_path / "key"
    key_file.touch(0o600)
    key_file.write_text(f"{KEY_ID}\n{SECRET}\n")
    settings = {
        "STEAD_BLOCK_BUCKET": "blocks",
        "STEAD_BLOCK_ENDPOINT": server.https_url,
        "STEAD_BLOCK_CA_FILE": str(server.ca_file),
        "STEAD_BLOCK_KEY_FILE": str(key_file),
    }
    folder = cloud.settings.controller_dir / "blocks"
    refused = stead(cloud, "up", "--no-host", **settings)
    assert (refused.returncode, f"are in {folder}, and STEAD_BLOCK_BUCKET" in refused.stderr) == (1, True), refused
    for file in folder.glob("??/??/*"):
        server.client.put_object(Bucket="blocks", Key=f"stead/{file.relative_to(folder)}", Body=file.read_bytes())
    folder.rename(tmp_path / "blocks.before")
    return settings


def blocks_read(cloud: RealCloud) -> int:
    """How many blocks the cloud has, all of which can be read."""
    found = json.loads(well(cloud, "blocks", "scrub", "--output", "json"))
    assert found["blocks"] > 0
    return int(found["blocks"])


def arguments_of(cloud: RealCloud) -> list[str]:
    """What the controller was started with."""
    process = processes.find(cloud.controller)
    assert process is not None
    return Path(f"/proc/{process}/cmdline").read_bytes().decode().split("\0")


def _a_server_that_does_not_answer_is_named(cloud: RealCloud, tmp_path: Path) -> None:
    cloud.prepare()
    url = f"postgresql+psycopg://stead@/stead?host={tmp_path}"
    done = stead(cloud, "up", "--no-host", database=url)
    assert done.returncode == 1
    assert str(tmp_path) in done.stderr
