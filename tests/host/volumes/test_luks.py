"""Encrypted disks: LUKS in qcow2, made and grown with the key alone, and nothing of it in the open."""

import os
import shutil
import subprocess
import tempfile
from pathlib import Path

import pytest

from stead_agent.disks.disk_sources import FileSource, passphrase_of
from stead_agent.disks.luks_header import LUKS_BYTES, render_luks
from stead_agent.disks.qcow2 import Qcow2Error, render_empty
from stead_agent.disks.volumes.interface import VolumeError, VolumeSpec
from stead_agent.disks.volumes.local_files import LocalStore
from stead_agent.disks.volumes.open_pools import open_pools
from stead_agent.disks.volumes.pooled_volumes import PooledVolumes
from stead_agent.programs.run import Limits, run

VOL = "vol-0123456789abcdef0"
KEY, OTHER = os.urandom(32), os.urandom(32)
MIB = 1 << 20


@pytest.fixture
def volumes():
    parent = Path(tempfile.mkdtemp(prefix="stead-test-", dir="/var/tmp"))
    parent.chmod(0o711)
    store = LocalStore(parent / "store")
    yield PooledVolumes(store, open_pools(store, ()))
    shutil.rmtree(parent)


def spec(size=64 * MIB, key=KEY):
    return VolumeSpec(VOL, size, encrypted=True, encryption_key=key)


def io(path, key, *commands):
    """Open a disk with a key, as QEMU does; the key by a pipe."""
    words = [word for command in commands for word in ("-c", command)]
    return opened(["qemu-io"], path, key, words)


def opened(program, path, key, arguments=()):
    options = f"driver=qcow2,file.driver=file,file.filename={path},encrypt.format=luks,encrypt.key-secret=key"
    secret = ["--object", "secret,id=key,file=/dev/stdin"]
    return subprocess.run(
        [*program, *secret, "--image-opts", options, *arguments],
        input=passphrase_of(key),
        capture_output=True,
        check=False,
    )


def test_what_is_written_can_be_read_with_the_key_alone(volumes):
    source = volumes.ensure(spec()).source
    assert isinstance(source, FileSource)
    assert b"Pattern" not in io(source.path, KEY, "write -P 0x5a 0 4M", "read -P 0x5a 0 4M").stdout
    assert b"\x5a" * 512 not in source.path.read_bytes()
    assert source.path.stat().st_mode & 0o777 == 0o600
    wrong = io(source.path, OTHER, "read 0 512")
    assert wrong.returncode != 0
    assert b"Invalid password" in wrong.stderr
    assert opened(["qemu-img", "check", "-q"], source.path, KEY).returncode == 0
    with pytest.raises(Qcow2Error):
        render_empty(MIB + 1, encryption_key=KEY)


def test_no_two_disks_of_one_key_have_anything_in_common_but_the_form():
    one, other = (render_luks(KEY) for _ in range(2))
    assert len(one) == len(other) < LUKS_BYTES
    assert one[:112] == other[:112]
    same = sum(a == b for a, b in zip(one[4096:], other[4096:], strict=True)) / len(one[4096:])
    assert same < 0.01
    assert KEY not in one
    assert passphrase_of(KEY) not in one


def test_one_grows_with_its_key_and_stays_without(volumes):
    path = volumes.ensure(spec()).source.path
    io(path, KEY, "write -P 7 0 1M")
    volumes.ensure(spec(128 * MIB, key=b""))
    assert volumes.size(VOL) == 64 * MIB
    os.chown(path, 12345, 0)  # as a guest's user has it
    volumes.ensure(spec(128 * MIB))
    assert volumes.size(VOL) == 128 * MIB
    assert b"Pattern" not in io(path, KEY, "read -P 7 0 1M", "read -P 0 64M 64M").stdout
    assert volumes.ensure(spec(128 * MIB, key=b"")).source.path == path


def test_none_is_made_without_its_key(volumes):
    with pytest.raises(VolumeError, match="its key has not come"):
        volumes.ensure(spec(key=b""))
    assert volumes.present() == frozenset()


def test_errors_and_arguments_do_not_show_the_key(volumes, monkeypatch):
    calls = []

    def listen(argv, **options):
        calls.extend(str(word) for word in argv)
        return run(argv, **options | {"limits": Limits(file_size=1)})

    volumes.ensure(spec())
    monkeypatch.setattr("stead_agent.disks.volumes.grow_disk.run", listen)
    with pytest.raises(VolumeError) as failure:
        volumes.ensure(spec(128 * MIB))
    for text in (str(failure.value), *calls, repr(spec())):
        assert KEY.hex() not in text
        assert repr(KEY)[2:-1] not in text
