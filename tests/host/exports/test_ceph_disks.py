"""A disk in a Ceph pool goes to a guest of another host, is grown there, and is read for a snapshot when no guest has it."""

import subprocess
from collections.abc import Iterator
from dataclasses import replace

import pytest

from stead_agent.disks.disk_sources import Layer, NbdSource, RbdSource
from stead_agent.disks.snapshots.interface import QuietDisk
from stead_agent.disks.snapshots.quiet_disk import QuietDisks
from stead_agent.disks.volumes.interface import VolumeSource, VolumeSpec
from stead_agent.disks.volumes.local_files import LocalStore
from stead_agent.disks.volumes.pooled_volumes import PooledVolumes
from stead_agent.disks.volumes.rbd import RbdPool
from tests.host.exports.conftest import MIB, SIZE, VOLUME, World, holds, write
from tests.support.ceph import POOL, Ceph

KEY = bytes(range(32))


@pytest.fixture
def volumes(world: World, ceph: Ceph) -> Iterator[PooledVolumes]:
    """The home's disks, all of them in the pool."""
    pool = RbdPool("default", POOL, ceph.conf, "h-0123456789abcdef0", trash_seconds=0)
    yield PooledVolumes(LocalStore(world.root / "disks"), [(pool, ())])
    for end in (world.client, world.home):
        end.daemons.end(VOLUME)
    pool.give_up()
    assert ceph.rbd("ls", POOL).split() == []


def joined(world: World, made: VolumeSource, key: bytes = b"") -> NbdSource:
    export = replace(world.export(key=key), disk=Layer(made.source, made.format))
    world.home.daemons.serve(export)
    return world.client.daemons.connect(world.remote())


@pytest.mark.parametrize("key", [b"", KEY])
def test_what_another_host_wrote_is_in_the_pool_and_is_read_for_a_snapshot(
    world: World, volumes: PooledVolumes, key: bytes
) -> None:
    made = volumes.ensure(VolumeSpec(VOLUME, SIZE, encrypted=bool(key), encryption_key=key))
    assert isinstance(made.source, RbdSource)
    source = joined(world, made, key)
    write(source, 0x5A, MIB, MIB)
    assert holds(source, 0x5A, MIB, MIB)
    for path in world.root.rglob("about"):
        assert made.source.key not in path.read_text()
    world.client.daemons.end(VOLUME)
    world.home.daemons.end(VOLUME)

    quiet = QuietDisks(world.root / "quiet")
    with quiet.exported(VOLUME, QuietDisk(Layer(made.source, made.format), None, key)) as socket:
        reads = ["-c", f"read -P 0x5A {MIB} {MIB}", "-c", f"read -P 0 {2 * MIB} {SIZE - 2 * MIB}"]
        command = ["qemu-io", "-r", "-f", "raw", *reads, f"nbd+unix:///?socket={socket}"]
        done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=60)
        assert "failed" not in done.stdout
        assert f"read {MIB}/{MIB}" in done.stdout
    assert quiet.present() == frozenset()


def test_it_grows_while_another_host_has_it(world: World, volumes: PooledVolumes) -> None:
    made = volumes.ensure(VolumeSpec(VOLUME, SIZE))
    source = joined(world, made)
    write(source, 0x5A, MIB, MIB)
    volumes.make_room(VOLUME, 2 * SIZE)
    world.home.daemons.grow(VOLUME, 2 * SIZE)
    assert volumes.size(VOLUME) == 2 * SIZE
    grown = world.client.daemons.connect(world.remote(size=2 * SIZE))
    write(grown, 0x77, SIZE + MIB, MIB)
    assert holds(grown, 0x5A, MIB, MIB)
