"""Disks in images of a real Ceph cluster of one machine: made, written by QEMU, grown, thrown away; and when it is away."""

import contextlib
import os
import select
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Self

import pytest

from stead_agent.disks.disk_keys import KEY_NAME, passphrase
from stead_agent.disks.disk_options import access_to, bytes_options
from stead_agent.disks.disk_sources import FileSource, Layer, RbdSource
from stead_agent.disks.volumes.interface import DiskFullError, VolumeError, VolumeSpec
from stead_agent.disks.volumes.local_files import LocalStore
from stead_agent.disks.volumes.open_pools import open_pools
from stead_agent.disks.volumes.pooled_volumes import PooledVolumes
from stead_agent.disks.volumes.rbd import RbdPool
from stead_agent.settings import PoolSetting
from tests.support.ceph import POOL, Ceph
from tests.support.waiting import wait_for

MIB = 1 << 20
FIRST, SECOND, THIRD = (f"vol-0123456789abcdef{number}" for number in range(3))
STORE = "i-0123456789abcdef0-store0"
BASE = "snap-0123456789abcdef0"
HOST, OTHER_HOST = "h-0123456789abcdef0", "h-0123456789abcdef1"


class Host:
    """What an agent on a host of this id makes of the cluster's pool; each call is by a new agent."""

    def __init__(self, ceph: Ceph, root: Path, host_id: str = HOST) -> None:
        self.ceph = ceph
        self.root = root
        self.id = host_id
        self._pools: list[RbdPool] = []

    def volumes(self, trash_seconds: float = 3600) -> PooledVolumes:
        store = LocalStore(self.root)
        store.forget_removed(older_than=-1)  # tests use the same few ids
        setting = PoolSetting.parse(f"far:rbd:{POOL}@{self.ceph.conf}:io1,io2")
        found = open_pools(store, (setting,), self.id)
        pool = RbdPool("far", POOL, self.ceph.conf, self.id, trash_seconds=trash_seconds)
        self._pools.append(pool)
        found[1] = (pool, found[1][1])
        return PooledVolumes(store, found, lambda base_id: Layer(FileSource(store.bases / f"{base_id}.raw"), "raw"))

    def images(self) -> list[str]:
        return self.ceph.rbd("ls", POOL).split()

    def trash(self) -> str:
        return self.ceph.rbd("trash", "ls", POOL)

    def clean(self) -> None:
        here = self.volumes(trash_seconds=0)
        for name in here.present():
            here.remove(name)
        for machine in here.instance_stores():
            here.remove_instance_store(machine)
        here.purge()


@pytest.fixture
def host(ceph: Ceph) -> Iterator[Host]:
    parent = Path(tempfile.mkdtemp(prefix="stead-test-", dir="/var/tmp"))
    parent.chmod(0o711)
    made = Host(ceph, parent / "disks")
    yield made
    made.clean()
    assert made.images() == []
    assert made.trash() == ""
    shutil.rmtree(parent)


def qemu_io(source: RbdSource, *commands: str, key: bytes = b"") -> str:
    """Let QEMU itself read and write the disk, as a guest would."""
    assert isinstance(source, RbdSource)
    image = f"driver=qcow2,{bytes_options(source, 'file')}"
    with access_to(source) as (access, handles):
        words = ["qemu-io", "-t", "none", *access]
        if key:
            with passphrase(key) as (secret, handle):
                image += f",encrypt.format=luks,encrypt.key-secret={KEY_NAME}"
                return run([*words, *secret, "--image-opts", image], commands, [*handles, handle])
        return run([*words, "--image-opts", image], commands, handles)


class Writer:
    """A QEMU that has a disk open for writing, and takes commands as long as it lives."""

    _PROMPT = b"qemu-io> "

    def __init__(self, source: RbdSource) -> None:
        self._held = contextlib.ExitStack()
        access, handles = self._held.enter_context(access_to(source))
        image = f"driver=qcow2,{bytes_options(source, 'file')}"
        self.process = subprocess.Popen(
            ["qemu-io", "-t", "none", *access, "--image-opts", image],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            pass_fds=handles,
        )

    def __enter__(self) -> Self:
        self.done()
        return self

    def __exit__(self, *_: object) -> None:
        self.process.communicate(b"quit\n" if self.process.poll() is None else None, timeout=60)
        self._held.close()

    def kill(self) -> None:
        self.process.kill()
        self.process.wait(60)

    def tell(self, command: str) -> None:
        """Give it one command; the next one when it is done, for it would not hear of two at once."""
        assert self.process.stdin is not None
        self.process.stdin.write(f"{command}\n".encode())
        self.process.stdin.flush()

    def ask(self, command: str) -> None:
        """Have it done; fail when it fails."""
        self.tell(command)
        self.done()

    def done(self) -> None:
        """Wait until it is ready for the next command."""
        said = self.hear()
        assert b"failed" not in said, said

    def hear(self) -> bytes:
        """Wait until it is ready for the next command, and give what it said."""
        assert self.process.stdout is not None
        said = b""
        while not said.endswith(self._PROMPT):
            piece = os.read(self.process.stdout.fileno(), 4096)
            assert piece, f"QEMU ended: {said!r}"
            said += piece
        return said

    def answers_within(self, seconds: float) -> bool:
        return bool(select.select([self.process.stdout], [], [], seconds)[0])


def run(words: list[str], commands: tuple[str, ...], handles: list[int]) -> str:
    options = [word for command in commands for word in ("-c", command)]
    done = subprocess.run(
        [*words, *options], check=False, capture_output=True, text=True, pass_fds=handles, timeout=120
    )
    return done.stdout + done.stderr


def test_a_disk_is_made_written_and_grown(host):
    here = host.volumes()
    made = here.ensure(VolumeSpec(FIRST, 64 * MIB, pool="far"))
    assert (made.format, made.base) == ("qcow2", None)
    assert here.ensure(VolumeSpec(FIRST, 64 * MIB)) == made == host.volumes().source(FIRST)
    assert "failed" not in qemu_io(made.source, "read -P 0 0 64M", "write -P 9 1M 8M")
    assert here.ensure(VolumeSpec(FIRST, 512 * MIB)) == made
    assert (here.size(FIRST), here.present()) == (512 * MIB, {FIRST})
    said = qemu_io(made.source, "read -P 9 1M 8M", "read -P 0 500M 1M", "write -P 8 500M 1M", "read -P 8 500M 1M")
    assert "failed" not in said
    default, far = here.pools()
    assert (default.backend, default.is_default) == ("directory", True)
    assert (far.name, far.backend, far.volume_types) == ("far", "rbd", ("io1", "io2"))
    assert 0 < far.capacity.free <= far.capacity.total
    wait_for(lambda: here.pools()[1].capacity.held > 8 * MIB, "what was written is counted")


def test_a_disk_is_laid_over_a_base(host):
    bases = host.root / "bases"
    here = host.volumes()
    bases.mkdir(exist_ok=True)
    (bases / f"{BASE}.raw").write_bytes(b"\x07" * MIB + bytes(MIB))
    made = here.ensure(VolumeSpec(FIRST, 4 * MIB, base_id=BASE, pool="far"))
    assert made.base == Layer(FileSource(bases / f"{BASE}.raw"), "raw")
    said = qemu_io(made.source, "read -P 7 0 1M", "read -P 0 1M 3M", "write -P 5 0 64k", "read -P 7 64k 64k")
    assert "failed" not in said


def test_a_removed_disk_rests_in_cephs_trash_and_can_be_brought_back(host):
    here = host.volumes()
    made = here.ensure(VolumeSpec(FIRST, 64 * MIB, pool="far"))
    assert "failed" not in qemu_io(made.source, "write -P 9 1M 8M")
    here.remove(FIRST)
    here.remove(FIRST)
    here.purge()
    assert (here.present(), here.source(FIRST), here.size(FIRST)) == (frozenset(), None, None)
    image_id = host.trash().split()[0]
    host.ceph.rbd("trash", "restore", "-p", POOL, image_id)
    assert here.present() == {FIRST}
    assert "failed" not in qemu_io(made.source, "read -P 9 1M 8M")
    host.volumes(trash_seconds=0).remove(FIRST)
    assert host.trash() == ""
    again = host.volumes().ensure(VolumeSpec(FIRST, 64 * MIB, pool="far"))
    assert "failed" not in qemu_io(again.source, "read -P 0 0 64M")


def test_hosts_that_share_a_pool_leave_each_others_disks_alone(host):
    other = Host(host.ceph, host.root, OTHER_HOST)
    here, there = host.volumes(trash_seconds=0), other.volumes(trash_seconds=0)
    host.ceph.rbd("create", "--size", "1M", f"{POOL}/somebody-elses")
    host.ceph.rbd("create", "--size", "1M", f"{POOL}/{HOST}.new.{THIRD}")  # an agent died over it
    host.ceph.rbd("create", "--size", "1M", f"{POOL}/{OTHER_HOST}.new.{THIRD}")
    here.ensure(VolumeSpec(FIRST, MIB, pool="far"))
    assert there.source(FIRST) is None
    assert set(host.images()) == {f"{HOST}.{FIRST}", f"{OTHER_HOST}.new.{THIRD}", "somebody-elses"}
    there.ensure(VolumeSpec(SECOND, MIB, pool="far"))
    there.remove(FIRST)
    there.purge()
    assert (here.present(), there.present()) == ({FIRST}, {SECOND})
    there.remove(SECOND)
    host.ceph.rbd("rm", "--no-progress", f"{POOL}/somebody-elses")


@pytest.fixture
def other(host: Host) -> Iterator[Host]:
    """Another host of the pool, with another folder for its own files."""
    made = Host(host.ceph, host.root.parent / "other", OTHER_HOST)
    yield made
    made.clean()


@pytest.mark.parametrize("has_written", [True, False])
def test_a_disk_is_taken_over_from_a_host_that_is_given_up_and_its_guest_can_write_no_more(host, other, has_written):
    here = host.volumes()
    spec = VolumeSpec(FIRST, 64 * MIB, pool="far")
    made = here.ensure(spec)
    assert "failed" not in qemu_io(made.source, "write -P 9 0 4M")
    taken = replace(spec, size=128 * MIB, former_homes=("h-00000000000000000", HOST))
    with Writer(made.source) as old:
        if has_written:
            old.ask("write -P 8 4M 1M")
            old.ask("flush")
        there = other.volumes()
        found = there.ensure(taken)
        assert host.images() == [f"{OTHER_HOST}.{FIRST}"]
        old.tell("write -P 1 0 4M")
        assert b"failed" in old.hear()
        with Writer(found.source) as new:
            new.ask("read -P 9 0 4M")
            new.ask(f"read -P {8 if has_written else 0} 4M 1M")
            new.ask("write -P 7 100M 1M")
            old.tell("write -P 1 0 4M")
            assert b"failed" in old.hear()
            new.ask("read -P 9 0 4M")
    assert there.ensure(taken) == found, "again is nothing"
    assert "failed" not in qemu_io(found.source, "read -P 9 0 4M", "read -P 7 100M 1M")
    assert there.size(FIRST) == 128 * MIB
    assert here.source(FIRST) is None


def test_a_disk_that_was_half_taken_over_is_taken_over(host, other):
    made = host.volumes().ensure(VolumeSpec(FIRST, 64 * MIB, pool="far"))
    assert "failed" not in qemu_io(made.source, "write -P 9 0 4M")
    host.ceph.rbd("rename", f"{POOL}/{HOST}.{FIRST}", f"{POOL}/{OTHER_HOST}.taken.{FIRST}")  # the agent died then
    there = other.volumes()
    assert there.present() == frozenset()
    found = there.ensure(VolumeSpec(FIRST, 64 * MIB, pool="far", former_homes=(HOST,)))
    assert "failed" not in qemu_io(found.source, "read -P 9 0 4M")
    assert host.images() == [f"{OTHER_HOST}.{FIRST}"]


def test_a_disk_over_a_base_is_taken_over_wherever_the_other_host_has_its_bases(host, other):
    here, there = host.volumes(), other.volumes()
    for each, content in ((host, b"\x07"), (other, b"\x07")):
        (each.root / "bases").mkdir(exist_ok=True)
        (each.root / "bases" / f"{BASE}.raw").write_bytes(content * MIB)
    spec = VolumeSpec(FIRST, 4 * MIB, base_id=BASE, pool="far")
    here.ensure(spec)
    found = there.ensure(replace(spec, former_homes=(HOST,)))
    assert found.base == Layer(FileSource(other.root / "bases" / f"{BASE}.raw"), "raw")


def test_a_disk_that_is_not_there_to_be_taken_over_is_not_made(host, other):
    there = other.volumes()
    with pytest.raises(VolumeError, match=f"there is no disk of it, of {HOST}"):
        there.ensure(VolumeSpec(FIRST, 64 * MIB, pool="far", former_homes=(HOST,)))
    assert host.images() == []


def test_hosts_call_a_pool_the_same(host, other):
    names = [each.shared_id for one in (host, other) for each in one.volumes().pools()]
    assert names[0] == names[2] == ""
    assert names[1] == names[3] != ""
    assert host.ceph.ceph("fsid")["fsid"] in names[1]


def test_an_instance_store_is_deleted_at_once(host):
    store = LocalStore(host.root)
    found = open_pools(store, (PoolSetting.parse(f"default:rbd:{POOL}@{host.ceph.conf}"),), HOST)
    here = PooledVolumes(store, found)
    made = here.ensure_instance_store(STORE, 64 * MIB, fresh=True)
    assert "failed" not in qemu_io(made.source, "write -P 9 0 4M")
    here.ensure_instance_store(STORE, 64 * MIB, fresh=True)
    assert "failed" not in qemu_io(made.source, "read -P 0 0 64M")
    assert here.instance_stores() == {"i-0123456789abcdef0"}
    here.remove_instance_store("i-0123456789abcdef0")
    assert (host.images(), host.trash()) == ([], "")


def test_an_encrypted_disk_is_made_written_and_grown(host):
    here, key = host.volumes(), bytes(range(32))
    spec = VolumeSpec(FIRST, 64 * MIB, pool="far", encrypted=True, encryption_key=key)
    made = here.ensure(spec)
    here.ensure(replace(spec, size=128 * MIB))
    said = qemu_io(made.source, "write -P 9 100M 4M", "read -P 9 100M 4M", "read -P 0 0 9M", key=key)
    assert "failed" not in said
    assert "wrote 4194304/4194304 bytes" in said
    assert "Invalid password" in qemu_io(made.source, "read 0 4k", key=bytes(32))
    plain = host.root / "image"
    host.ceph.rbd("export-diff", "--whole-object", "--no-progress", f"{POOL}/{HOST}.{FIRST}", str(plain))
    assert b"\x09" * 512 not in plain.read_bytes()


def test_a_full_pool_says_so_and_takes_disks_again_when_there_is_room(host):
    here = host.volumes()
    made = here.ensure(VolumeSpec(FIRST, 64 * MIB, pool="far"))
    assert "failed" not in qemu_io(made.source, "write -P 9 0 16M")
    here.remove(here.ensure(VolumeSpec(SECOND, 64 * MIB, pool="far")) and SECOND)
    assert SECOND in host.trash()
    host.ceph.ceph("osd", "pool", "set-quota", POOL, "max_bytes", str(40 * MIB))
    try:
        wait_for(lambda: here.pools()[1].capacity.free < 40 * MIB, "the quota is counted")
        with pytest.raises(DiskFullError, match=f"{THIRD}: no room"):
            here.ensure(VolumeSpec(THIRD, 64 * MIB, pool="far"))
        assert not here.has_room(FIRST)
        assert SECOND not in host.trash()  # it was emptied for the room
        assert here.source(THIRD) is None
        assert "failed" not in qemu_io(made.source, "read -P 9 0 16M")
    finally:
        host.ceph.ceph("osd", "pool", "set-quota", POOL, "max_bytes", "0")
    wait_for(lambda: here.has_room(FIRST), "there is room again")
    here.ensure(VolumeSpec(THIRD, 64 * MIB, pool="far"))


def test_a_write_to_a_full_pool_waits_and_is_done_when_there_is_room(host):
    here = host.volumes()
    made = here.ensure(VolumeSpec(FIRST, 64 * MIB, pool="far"))
    with Writer(made.source) as qemu:
        qemu.ask("write -P 9 0 16M")
        host.ceph.ceph("osd", "pool", "set-quota", POOL, "max_bytes", str(8 * MIB))
        try:
            wait_for(lambda: POOL in host.ceph.full_pools(), "Ceph knows that it is full")
            qemu.tell("write -P 8 16M 16M")
            assert not qemu.answers_within(2.0)
            assert here.pools()[1].capacity.free == 0
        finally:
            host.ceph.ceph("osd", "pool", "set-quota", POOL, "max_bytes", "0")
        qemu.done()
        qemu.ask("read -P 9 0 16M")
        qemu.ask("read -P 8 16M 16M")


@pytest.mark.parametrize("least", [0, 1 << 40])
def test_a_disk_grows_under_the_qemu_that_has_it_open(host, monkeypatch, least):
    monkeypatch.setattr("stead_agent.disks.volumes.rbd._LEAST_IMAGE", least)
    here = host.volumes()
    made = here.ensure(VolumeSpec(FIRST, 16 * MIB, pool="far"))
    image = f"{POOL}/{HOST}.{FIRST}"
    before = host.ceph.rbd("info", image)
    with Writer(made.source) as qemu:
        qemu.ask("write -P 7 0 16M")
        here.make_room(FIRST, 512 * MIB)
        assert host.ceph.rbd("info", image).splitlines()[1].split()[:3] == before.splitlines()[1].split()[:3]
        qemu.ask("truncate 512M")
        qemu.ask("write -P 9 400M 100M")
        qemu.ask("read -P 7 0 16M")
        qemu.ask("read -P 9 400M 100M")
    said = qemu_io(made.source, "read -P 7 0 16M", "read -P 0 16M 384M", "read -P 9 400M 100M")
    assert "failed" not in said
    assert here.size(FIRST) == 512 * MIB
    here.make_room(FIRST, 4096 * MIB)  # now that nobody has it open
    here.ensure(VolumeSpec(FIRST, 4096 * MIB))
    said = qemu_io(made.source, "read -P 9 400M 100M", "write -P 8 4000M 32M", "read -P 8 4000M 32M")
    assert "failed" not in said


def test_a_disk_whose_guest_was_killed_is_removed_all_the_same(host):
    here = host.volumes()
    made = here.ensure(VolumeSpec(FIRST, 64 * MIB, pool="far"))
    with Writer(made.source) as qemu:
        qemu.ask("write -P 9 0 1M")
        qemu.kill()
    here.remove(FIRST)
    assert here.present() == frozenset()
    assert FIRST in host.trash()
    host.volumes(trash_seconds=0).give_up()
    assert host.trash() == ""


def test_an_unreachable_cluster_is_reported_and_found_again(host, ceph):
    here = host.volumes()
    made = here.ensure(VolumeSpec(FIRST, 64 * MIB, pool="far"))
    ceph.end_daemon("mon")
    assert here.pools()[1].capacity.total == 0  # it was connected, and must not wait for long
    away = host.volumes()
    assert away.pools()[1].capacity.total == 0
    assert away.pools()[0].capacity.total > 0
    with pytest.raises(VolumeError, match=r"pool far: connecting as client\.stead"):
        away.source(FIRST)
    ceph.start_daemon("mon", "a")
    wait_for(lambda: away.pools()[1].capacity.total > 0, "the new agent has found it", 60)
    assert away.source(FIRST) == here.source(FIRST) == made


def test_what_is_wrong_with_a_pool_is_said(host):
    def refusal(text: str, host_id: str = HOST) -> str:
        store = LocalStore(host.root)
        here = PooledVolumes(store, open_pools(store, (PoolSetting.parse(text),), host_id))
        with pytest.raises(VolumeError) as refused:
            here.ensure(VolumeSpec(FIRST, MIB, pool="x"))
        return str(refused.value)

    conf = host.ceph.conf
    assert "pool nowhere" in refusal(f"x:rbd:nowhere@{conf}")
    assert "/nowhere.conf" in refusal(f"x:rbd:{POOL}@/nowhere.conf")
    assert "no id yet" in refusal(f"x:rbd:{POOL}@{conf}", "")
    shut = host.root.parent / "shut.conf"
    shut.write_text(conf.read_text())
    shut.chmod(0o600)
    assert "chmod o+r" in refusal(f"x:rbd:{POOL}@{shut}")
