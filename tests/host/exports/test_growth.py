"""A volume grows while another host's guest has it: in the same processes, and not before its home has grown it."""

import subprocess

import pytest

from stead_agent.disks.disk_files import write_disk
from stead_agent.disks.exports.interface import ExportError, HomeAwayError
from stead_agent.disks.qcow2 import render_empty
from tests.host.exports.conftest import MIB, SIZE, VOLUME, World, daemons_of, holds, qemu_io, write


@pytest.mark.parametrize("key", [b"", b"\x07" * 32], ids=["plain", "encrypted"])
def test_a_volume_grows_while_it_is_used(world: World, key: bytes) -> None:
    if key:
        world.disk.unlink()
        world.disk.touch(mode=0o600)
        write_disk(world.disk, render_empty(SIZE, encryption_key=key))
    world.home.daemons.serve(world.export(key=key))
    source = world.client.daemons.connect(world.remote())
    write(source, 0x5A, 0, MIB)
    processes = sorted(daemons_of(world.root))
    for at, size in enumerate((SIZE, 2 * SIZE, 3 * SIZE), start=1):
        with pytest.raises(HomeAwayError, match="yet"):
            world.client.daemons.connect(world.remote(size=size + SIZE))
        assert holds(source, 0x5A, 0, MIB), "what it was is served on"
        world.home.daemons.grow(VOLUME, size + SIZE)
        assert world.client.daemons.connect(world.remote(size=size + SIZE)) == source
        assert holds(source, 0x5A, 0, MIB)
        assert holds(source, 0, size, SIZE)
        write(source, at, size + SIZE - MIB, MIB)
        world.home.restart_agent()
        world.client.restart_agent()
    world.home.daemons.serve(world.export(key=key))
    world.client.daemons.connect(world.remote(size=4 * SIZE))
    assert sorted(daemons_of(world.root)) == processes
    assert holds(source, 3, 4 * SIZE - MIB, MIB)


def test_a_growth_that_is_cut_off_halfway_is_made_good(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """The agent dies between the end of the old export and the new one: nobody takes what is left for whole."""
    world.home.daemons.serve(world.export())
    source = world.client.daemons.connect(world.remote())
    write(source, 0x5A, 0, MIB)

    class DeathError(BaseException):
        pass

    def die(*_arguments: object, **_options: object) -> None:
        raise DeathError

    for end, act in (
        (world.home, lambda: world.home.daemons.grow(VOLUME, 2 * SIZE)),
        (world.client, lambda: world.client.daemons.connect(world.remote(size=2 * SIZE))),
    ):
        with monkeypatch.context() as patch:
            patch.setattr("stead_agent.disks.exports.graph.export_of", die)
            with pytest.raises(DeathError):
                act()
        end.restart_agent()
        world.home.daemons.serve(world.export())
    world.client.daemons.connect(world.remote(size=2 * SIZE))
    assert holds(source, 0x5A, 0, MIB)
    write(source, 1, 2 * SIZE - MIB, MIB)


def test_what_cannot_grow_is_not_served_and_grows_on_file(world: World) -> None:
    with pytest.raises(ExportError, match="not served"):
        world.home.daemons.grow(VOLUME, 2 * SIZE)
    world.home.daemons.serve(world.export())
    source = world.client.daemons.connect(world.remote())
    with pytest.raises(ExportError, match="not grown"):
        world.home.daemons.grow(VOLUME, -1)
    assert world.home.daemons.generation(VOLUME) is None
    subprocess.run(["qemu-img", "resize", "-q", "-f", "qcow2", world.disk, str(2 * SIZE)], check=True)
    world.home.daemons.serve(world.export())
    world.client.daemons.connect(world.remote(size=2 * SIZE))
    done = qemu_io(source, f"write {2 * SIZE - MIB} {MIB}", "flush")
    assert f"wrote {MIB}/{MIB}" in done.stdout, done
