"""A guest that writes to a volume of another host is moved to its home and back, and releases it."""

import os
import signal
import time
from functools import partial

import pytest

from stead_agent.disks.disk_backups import DiskToFreeze
from stead_agent.disks.exports.daemon import find
from stead_agent.machines import disk_progress
from stead_agent.machines.backups import LibvirtBackups
from stead_proto.nbd.client import NbdClient
from tests.host.exports.conftest import VOLUME, new_world
from tests.host.machines.conftest import wait_for
from tests.host.machines.direct_guest import DirectGuest

pytestmark = pytest.mark.guest

# It rests between two records: a guest that writes as fast as it can would have a processor of the host alone.
WRITER = (
    "i=0; while [ ! -e /tmp/enough ]; do printf '%04095d\\n' $i | "
    "dd of={disk} bs=4096 seek=$i conv=notrunc,fsync 2>>/tmp/said || echo FAILED >/tmp/failed; i=$((i+1)); echo $i >/tmp/at; usleep 20000; done; "
    "echo $i >/tmp/count"
)


class Looks:
    """A look at the health of a guest with each call, in stepped time; tells whether its volume is stalled."""

    def __init__(self, guest):
        self.guest = guest
        self.health = guest.world.machines.health
        self.health.close()  # its thread, which has looked before, would go on with that
        self.time = time.monotonic()
        self.health._now = lambda: self.time

    def __call__(self, seconds=0.0):
        self.time += seconds
        self.health.look()
        return VOLUME in self.guest.world.machines.status(self.guest.id).stalled


def stalls_while_its_home_is_away(guest, looks):
    """End what serves the volume, and serve it again: requests of the guest wait, and are done."""
    daemons = guest.hosts.home.daemons
    wait_for(guest.settled, "nothing is being moved")
    assert not any(looks() for _ in range(3))
    os.kill(find(daemons._place(VOLUME)), signal.SIGKILL)
    waits = partial(looks, disk_progress.STALLED_SECONDS)
    wait_for(waits, "its writes are found to wait", 60, explain=lambda: repr(looks.health._guests))
    assert looks(disk_progress.STALLED_SECONDS)
    daemons.serve(guest.hosts.export())
    wait_for(lambda: not looks(), "it goes on", 60)


def stalls_after_an_error(guest, looks, shell, read):
    """Have a read fail, of which libvirt gives notice: since then none has succeeded."""
    daemons = guest.hosts.home.daemons
    os.kill(find(daemons._place(VOLUME)), signal.SIGKILL)
    shell.run(f"({read} >/dev/null 2>&1 &)")  # no child of the shell, which reads when it ends
    wait_for(lambda: looks(disk_progress.STALLED_SECONDS), "it is found to wait", 60)
    assert not guest.world.machines.health._failures
    guest.world.machines.reach_homes(guest.id, [])
    guest.world.machines.cut_off(guest.id, VOLUME)
    wait_for(lambda: guest.world.machines.health._failures, "libvirt gives notice of the error", 60)
    assert looks()
    daemons.serve(guest.hosts.export())


def is_released_while_it_is_backed_up(guest):
    """Libvirt forgets the backup then, and the proxy is gone when it is ended: QEMU may not wait for that."""
    machines, name = guest.world.machines, "snap-0123456789abcdef0"
    backups = LibvirtBackups(machines, guest.world.root / "backups")
    with machines.domain(guest.id) as domain:
        domain.suspend()
    machines.update(guest.bare)
    machines.reach_homes(guest.id, [])  # as long as it has the disk it is left alone
    backups.begin(guest.id, name, {VOLUME: DiskToFreeze(name)})
    with machines.domain(guest.id) as domain:
        domain.resume()
    wait_for(lambda: VOLUME not in machines.status(guest.id).volume_ids, "the guest has released it", 30)
    guest.hosts.client.daemons.end(VOLUME)
    backups.end(guest.id, name)
    guest.hosts.client.daemons.connect(guest.hosts.remote())


@pytest.fixture
def hosts():
    """A home with a disk, and the host of the guest, on this machine."""
    with new_world() as made:
        yield made


@pytest.fixture
def direct(guest, hosts):
    """The guest of this folder with the volume; the next test has the agent that it had before."""
    world = guest.world
    yield DirectGuest(world, hosts, guest.spec)
    world.machines.reach_homes(guest.spec.id, [])
    guest.has(())
    world.credentials = None
    world.connect()


def test_a_writing_guest_is_not_disturbed_and_releases_the_disk(guest, direct):
    """Moved twenty times each way: each record is written whole, in order, and reaches the home.

    Whenever no record can be written, the volume is found to be stalled.
    """
    world, shell, path = guest.world, guest.shell, guest.path(direct.spec.disks[1])
    shell.run(f"({WRITER.replace('{disk}', path)}) >/dev/null 2>&1 & true")
    for _ in range(20):
        direct.go_direct()
        with world.machines.domain(direct.id) as domain:
            world.machines.direct.fall_back(domain, [VOLUME])
    looks = Looks(direct)
    stalls_while_its_home_is_away(direct, looks)
    direct.go_direct()
    stalls_while_its_home_is_away(direct, looks)
    shell.run("until grep -q ... /tmp/at; do usleep 100000; done", 120)  # a number of three digits
    shell.run("touch /tmp/enough; wait; rm /tmp/enough", 60)
    count = int(shell.run("[ ! -e /tmp/failed ] && cat /tmp/count"))
    assert count >= 100
    stalls_after_an_error(direct, looks, shell, f"dd if={path} of=/dev/null bs=4096 count=1 skip=9000")
    is_released_while_it_is_backed_up(direct)
    world.machines.reach_homes(direct.id, [])
    wait_for(lambda: direct.of_ours() == [], "nothing of ours is left in its QEMU")
    assert direct.connections() == []
    with NbdClient(direct.spec.disks[1].source.socket, VOLUME) as client:
        for number in range(count):
            assert client.read(number * 4096, 4096) == b"%04095d\n" % number
