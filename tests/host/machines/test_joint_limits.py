"""All volumes of a guest together stay within its limit, as the QEMU of a guest counts what they do.

Nobody runs in the guest: what reads its disks are commands to QEMU, which its devices' limits hold for as well.
The disks are blank, so that the host's do nothing for it.
"""

import time
from collections.abc import Iterator
from dataclasses import dataclass, field, replace

import libvirt
import pytest

from stead_agent.machines import attach, joint_credit
from stead_agent.machines.interface import Disk, JointLimit, MachineSpec, Power, Saved
from stead_agent.machines.monitor import execute
from tests.support.waiting import wait_for

from .conftest import World

MIB = 1 << 20
KIB = 1 << 10
QUEUE = {256 * KIB: 32, 512: 128}  # requests that wait, by their size
AMPLE = 1 << 30
REACHED = 0.92  # of a limit: shares that differ by 5 % from what they could be stay as they are


@dataclass
class Guest:
    """A guest that runs, and what is read of its disks; each reader has some requests waiting all the time."""

    world: World
    spec: MachineSpec
    domain: libvirt.virDomain
    targets: dict[str, str]  # libvirt's names of its disks
    readers: dict[str, int] = field(default_factory=dict)  # bytes of each request, by disk
    begun: dict[str, int] = field(default_factory=dict)  # requests

    def limit(self, joint: JointLimit | None, *disks: Disk) -> None:
        """Set its joint limit, and those of its disks."""
        self.spec = replace(self.spec, joint=joint, disks=disks or self.spec.disks)
        self.world.machines.update(self.spec)

    def limits(self) -> dict[str, tuple[int, int]]:
        """What is set of each disk: bytes and operations per second."""
        found = attach.limits(self.domain.XMLDesc(0))
        return {each: (limit.total_bytes_sec, limit.total_iops_sec) for each, limit in found.items()}

    def done(self) -> dict[str, tuple[int, int]]:
        """What each disk has read: bytes and operations."""
        ((_, stats),) = self.domain.connect().domainListGetStats([self.domain], libvirt.VIR_DOMAIN_STATS_BLOCK)
        numbers = {stats[f"block.{number}.name"]: f"block.{number}.rd" for number in range(stats["block.count"])}
        names = {each: numbers[target] for each, target in self.targets.items()}
        return {each: (stats[f"{name}.bytes"], stats[f"{name}.reqs"]) for each, name in names.items()}

    def feed(self) -> None:
        """Give each reader's disk as many requests as it has done."""
        done = self.done()
        for disk_id, size in self.readers.items():
            for _ in range(done[disk_id][1] + QUEUE[size] - self.begun.get(disk_id, 0)):
                self.begun[disk_id] = self.begun.get(disk_id, 0) + 1
                line = f'qemu-io -d {self.devices()[disk_id]} "aio_read -q 0 {size}"'
                execute(self.domain, "human-monitor-command", {"command-line": line})

    def devices(self) -> dict[str, str]:
        return {disk.id: f"/machine/peripheral/virtio-disk{n}/virtio-backend" for n, disk in enumerate(self.spec.disks)}

    def rates(self, figure: int, limit: int, *, above: float = REACHED) -> list[float]:
        """How much each disk does per second, of bytes, 0, or operations, 1, once that is above a part of the limit.

        That is waited for: a busy machine does less for a while, and a wrong limit always. More is never done.
        """

        def reached() -> list[float] | None:
            found = self._measured(figure, limit)
            assert sum(found) <= 1.06 * limit
            return found if sum(found) >= above * limit else None

        return wait_for(reached, f"{limit} are done per second", 60)

    def _measured(self, figure: int, limit: int) -> list[float]:
        """How much each disk does per second until all together have done what the limit allows in four seconds."""
        self.feed()
        began, before = time.monotonic(), self.done()  # around all that is counted, so that it is not too much

        def rates() -> list[float] | None:
            done, now = self.done(), time.monotonic()
            self.feed()
            found = [done[disk.id][figure] - before[disk.id][figure] for disk in self.spec.disks]
            return [each / (now - began) for each in found] if sum(found) >= 4 * limit else None

        return wait_for(rates, "there is enough to measure", 60, 0.1)

    def until(self, is_so, what: str) -> None:
        """Wait while the readers go on."""

        def holds() -> bool:
            self.feed()
            return is_so()

        wait_for(holds, what, 30, 0.1)


@pytest.fixture
def guest(world) -> Iterator[Guest]:
    spec = world.spec(nics=0)
    spec = replace(spec, disks=(*spec.disks, world.disk(), world.disk()))
    world.machines.start(spec, 1)
    live = libvirt.open(world.daemon.uri)
    domain = live.lookupByName(spec.id)
    yield Guest(world, spec, domain, attach.plugged(domain.XMLDesc(0)).targets)
    live.close()


def test_all_volumes_together_stay_within_the_limit_of_the_guest(guest):
    """Two that are read share it alike; what one leaves another has; and the sum of what is set is never more."""
    _, first, second = (disk.id for disk in guest.spec.disks)
    guest.limit(JointLimit(4 * MIB, 4 * MIB, AMPLE, AMPLE))
    assert {bytes_ // KIB for bytes_, _ in guest.limits().values()} == {4 * KIB // 3}
    guest.readers = {first: 256 * KIB, second: 256 * KIB}
    guest.until(
        lambda: min(guest.limits()[each][0] for each in (first, second)) > 1.9 * MIB,
        "the idle one leaves most to the others",
    )
    idle, *both = guest.rates(0, 4 * MIB)
    assert idle == 0
    assert min(both) > 0.45 * sum(both)
    assert sum(bytes_ for bytes_, _ in guest.limits().values()) <= 4 * MIB

    del guest.readers[first]
    guest.until(lambda: guest.limits()[second][0] > 3.8 * MIB, "the other has the rest")
    assert guest.rates(0, 4 * MIB)[:2] == [0, 0]

    guest.readers = {first: 512, second: 512}
    disks = guest.spec.disks
    guest.limit(JointLimit(AMPLE, AMPLE, 60, 60), *disks[:2], replace(disks[2], iops=20))
    guest.until(lambda: guest.limits()[first][1] > 36, "the limit of one volume leaves more to the other")
    *_, other = guest.rates(1, 60)
    assert other <= 20 * 1.06


def test_own_limits_that_are_together_within_that_of_the_guest_stay_and_nobody_looks(guest):
    guest.limit(
        JointLimit(6 * MIB, 8 * MIB, 300, 300), *(replace(d, throughput=2 * MIB, iops=90) for d in guest.spec.disks)
    )
    assert set(guest.limits().values()) == {(2 * MIB, 90)}
    assert guest.world.machines.joint._thread is None
    guest.limit(None, *(replace(disk, throughput=3 * MIB, iops=0) for disk in guest.spec.disks))
    assert set(guest.limits().values()) == {(3 * MIB, 0)}


def test_what_a_guest_has_saved_is_spent_once(guest, monkeypatch):
    """Also by one that a new agent takes over, and after a stop the rest of it is reported."""
    monkeypatch.setattr(joint_credit, "EASE_SECONDS", 3)
    (disk, *_), has = guest.spec.disks, 0.004 * 4 * MIB * 1800
    guest.limit(JointLimit(2 * MIB, 6 * MIB, AMPLE, AMPLE, saved=Saved(bytes=4)))
    guest.readers = {disk.id: 256 * KIB}
    began, before = time.monotonic(), guest.done()[disk.id][0]

    def is_spent() -> bool:
        return sum(bytes_ for bytes_, _ in guest.limits().values()) < 2.1 * MIB

    guest.until(lambda: guest.limits()[disk.id][0] > 5 * MIB, "it has all")
    guest.rates(0, 6 * MIB, above=0.7)
    guest.until(is_spent, "it has nothing left")
    guest.rates(0, int(2.1 * MIB))

    guest.world.connect()
    guest.world.machines.update(guest.spec)
    guest.until(is_spent, "it has nothing left of what it did not do meanwhile")
    guest.rates(0, int(2.1 * MIB))
    done, seconds = guest.done()[disk.id][0] - before, time.monotonic() - began
    assert done <= 2 * MIB * seconds + 1.3 * has  # a busy agent looks somewhat late
    guest.world.machines.stop(guest.spec.id, force=True)
    guest.world.wait_for_power(guest.spec.id, Power.OFF)
    saved = guest.world.machines.status(guest.spec.id).saved
    assert (saved.bytes <= 1, saved.operations) == (True, 1000)
