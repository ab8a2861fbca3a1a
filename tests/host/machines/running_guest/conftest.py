"""One guest with a root shell, booted once for all tests of this folder, which give back what they plug in or start."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import pytest

from stead_agent.disks.disk_sources import FileSource, Layer
from stead_agent.machines.interface import Disk, MachineSpec, OffReason, Power
from stead_agent.programs.run import run
from tests.host.machines.conftest import Daemon, World, new_world, wait_for

from .shell import Shell, image_with_shell

MIB = 1 << 20


@dataclass
class Guest:
    """A guest that runs, and a root shell in it."""

    world: World
    spec: MachineSpec
    shell: Shell

    def has(self, disks: tuple[Disk, ...]) -> None:
        """Have exactly these disks plugged in beside the root disk, and wait until the guest has released others."""
        self.spec = replace(self.spec, disks=(self.spec.disks[0], *disks))
        self.world.machines.update(self.spec)
        wanted = {disk.id for disk in self.spec.disks}
        wait_for(lambda: self.plugged() == wanted, f"the guest has {wanted}", 30)

    def plugged(self) -> frozenset[str]:
        return self.world.machines.status(self.spec.id).volume_ids

    def path(self, disk: Disk) -> str:
        """Wait until the guest shows a disk under its serial number, and name that."""
        link = f"/dev/disk/by-id/virtio-{disk.id.replace('-', '', 1)}"
        self.shell.run(f"for n in $(seq 600); do [ -b {link} ] && break; usleep 100000; done; [ -b {link} ]", 120)
        return link


@contextmanager
def running(world: World) -> Iterator[Guest]:
    """Boot a guest, and wait for its shell."""
    base = world.root / "disks" / "shell.raw"
    image_with_shell(base)
    base.chmod(0o444)
    plain = world.spec()
    root = plain.disks[0]
    run(["qemu-img", "create", "-q", "-f", "qcow2", "-b", base, "-F", "raw", root.source.path], timeout=60)
    # Each disk takes a guest's kernel memory; the micro image's least would be used up by so many.
    spec = replace(plain, memory=192 << 20, disks=(replace(root, base=Layer(FileSource(base), "raw")),))

    def until_up() -> Shell:
        shell = Shell(world.daemon.uri, spec.id)
        try:
            shell.wait_until_up(partial(world.check, spec.id))
        except BaseException:
            shell.close()
            raise
        return shell

    shell = world.boot(spec, until_up)
    yield Guest(world, spec, shell)
    shell.close()


@pytest.fixture(scope="package")
def one_world(daemon: Daemon, bridge: str) -> Iterator[World]:
    """What all tests of this folder have."""
    with new_world(daemon, bridge) as made:
        yield made


@pytest.fixture(scope="package")
def small(one_world: World) -> Iterator[Path]:
    """A directory on a file system of its own, of 32 MiB."""
    image, place = one_world.root / "small.ext4", one_world.root / "small"
    with image.open("wb") as file:
        file.truncate(32 * MIB)
    run(["mkfs.ext4", "-q", "-m", "0", image], timeout=60)
    place.mkdir()
    device = run(["losetup", "--find", "--show", image], timeout=60).stdout.decode().strip()
    # libvirtd, and with it the guests that it starts from now on, has mounts of its own.
    theirs = ["nsenter", "--mount", "--target", str(one_world.daemon.pid)]
    for where in ([], theirs):
        run([*where, "mount", device, place], timeout=60)
    place.chmod(0o711)
    yield place
    for where in ([], theirs):  # the guest may have a file open: it ends after this
        run([*where, "umount", "--lazy", place], timeout=60)
    run(["losetup", "--detach", device], timeout=60)


def stops_when_asked(world: World, machine_id: str) -> None:
    """Have it power itself off, with nothing left to do."""
    world.machines.stop(machine_id)

    def is_off() -> bool:
        world.check(machine_id)
        if world.machines.status(machine_id).power is Power.OFF:
            return True
        world.press_power_button(machine_id)
        return False

    wait_for(is_off, "it has stopped", 60, poll=2)
    assert world.machines.status(machine_id).off_reason is OffReason.ASKED


@pytest.fixture(scope="package")
def one_guest(one_world: World, small: Path) -> Iterator[Guest]:
    """The guest behind `guest`, which finds files in `small`; in the end it stops when asked."""
    with running(one_world) as made:
        yield made
    stops_when_asked(one_world, made.spec.id)


@pytest.fixture
def guest(one_guest: Guest) -> Iterator[Guest]:
    """A guest that has no disk beside its root disk, neither before nor after a test."""
    yield one_guest
    one_guest.has(())
