"""A real guest's processors are limited and measured, and it earns and spends CPU credits by that."""

import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import partial

import pytest

from stead_agent.credits import meter as meters
from stead_agent.credits.accounts import AccountFiles
from stead_agent.credits.interface import Terms
from stead_agent.credits.ledger import PER_NANOSECOND
from stead_agent.credits.meter import Meter
from tests.support import micro
from tests.support.serial_shell import SerialShell, with_shell
from tests.support.vcpu_groups import VcpuGroups
from tests.support.waiting import wait_for

from .conftest import World, new_world

pytestmark = pytest.mark.guest

SECOND = 1_000_000_000
SOON = 300  # seconds, on a slow machine
TENTH = Terms(vcpus=1, per_hour=6_000, most=144_000)  # its baseline is a tenth of a vCPU


@dataclass
class Busy:
    """A guest of one vCPU that computes for ever."""

    world: World
    id: str
    group: VcpuGroups

    def compute(self) -> None:
        """Wait until it has computed for another second."""
        began = self.group.used()
        wait_for(lambda: self.group.used() - began >= SECOND, "the guest has computed for a second", SOON)


@pytest.fixture(scope="module")
def guest(daemon, bridge) -> Iterator[Busy]:
    with new_world(daemon, bridge) as world:
        image = with_shell(micro.build(), world.root / "disks" / "busy.raw")
        image.chmod(0o444)
        spec = world.spec(disks=(world.disk(base=image, base_format="raw"),))
        assert world.machines.processors.processor_time(spec.id) is None
        shell = world.boot(spec, lambda: SerialShell(world.machines, spec.id, partial(world.check, spec.id)))
        shell.begin("while :; do :; done")
        shell.close()
        yield Busy(world, spec.id, VcpuGroups(world.process_of(spec.id)))


def test_limits_of_vcpus_hold_and_are_measured(guest):
    """The time that the vCPUs' threads used is that of their control groups, and stays within the limit."""
    processors, group = guest.world.machines.processors, guest.group
    assert processors.limit_processors(guest.id, 200) == ""
    at, before = time.monotonic(), group.used()
    process, began, used = processors.processor_time(guest.id)
    in_group = group.used()
    assert began <= time.clock_gettime(time.CLOCK_BOOTTIME) * 1000
    guest.compute()
    in_group_after = group.used()
    same, _, used_after = processors.processor_time(guest.id)
    after, passed = group.used(), time.monotonic() - at
    assert same == process
    least, most = in_group_after - in_group, after - before  # it goes on while it is read
    assert 0.98 * least - 0.03 * SECOND <= used_after - used <= 1.02 * most + 0.03 * SECOND
    assert used_after - used <= (0.2 * passed * 1.02 + 0.03) * SECOND
    assert group.weight() == 32
    assert processors.limit_processors(guest.id, None) == ""
    assert not group.is_limited()


def test_a_guest_uses_no_more_than_it_earns_until_it_is_unlimited(guest, monkeypatch):
    monkeypatch.setattr(meters, "COUNT_SECONDS", 0.5)
    folder, group = guest.world.root / "credits", guest.group
    meter = Meter(guest.world.machines.processors, folder)
    before, at = group.used(), time.monotonic()
    meter.watch(guest.id, TENTH, 1)
    assert group.is_limited()
    began = group.used()  # what was used since `before` is counted in part
    guest.compute()
    used = group.used() - began
    earned = TENTH.per_hour / 60_000 * (time.monotonic() - at)
    assert used / SECOND <= earned * 1.02 + 0.05

    meter.watch(guest.id, replace(TENTH, unlimited=True), 1)
    assert not group.is_limited()
    guest.compute()

    counted = group.used()
    meter.close()  # counts, and saves
    ended = group.used()
    ledger = AccountFiles(folder).load(guest.id).ledger
    spent = ledger.spent / PER_NANOSECOND
    assert 0.98 * (counted - began) - 0.05 * SECOND <= spent <= 1.02 * (ended - before) + 0.05 * SECOND
    assert ledger.balance - ledger.surplus == ledger.gained - ledger.spent
    meter.forget(guest.id)
    assert not (folder / f"{guest.id}.json").exists()


def test_a_guest_that_is_off_is_neither_measured_nor_limited(guest):
    guest.world.machines.stop(guest.id, force=True)
    assert guest.world.machines.processors.processor_time(guest.id) is None
    assert guest.world.machines.processors.limit_processors(guest.id, 200) == ""
