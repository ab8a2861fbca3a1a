"""A real guest's processors are limited and measured, and it earns and spends CPU credits by that."""

import time
from collections.abc import Iterator
from dataclasses import dataclass, replace

import pytest

from stead_agent.credits import meter as meters
from stead_agent.credits.accounts import AccountFiles
from stead_agent.credits.interface import Terms
from stead_agent.credits.ledger import PER_NANOSECOND
from stead_agent.credits.meter import Meter
from tests.host.machines.conftest import World
from tests.support.vcpu_groups import VcpuGroups
from tests.support.waiting import wait_for

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
def busy(one_guest) -> Iterator[Busy]:
    """The guest of this folder, while it computes."""
    process = one_guest.shell.run("(while :; do :; done) >/dev/null 2>&1 & echo $!")
    world, machine_id = one_guest.world, one_guest.spec.id
    yield Busy(world, machine_id, VcpuGroups(world.process_of(machine_id)))
    one_guest.shell.run(f"kill {process}; wait")


def test_limits_of_vcpus_hold_and_are_measured(busy):
    """The time that the vCPUs' threads used is that of their control groups, and stays within the limit."""
    processors, group = busy.world.machines.processors, busy.group
    assert processors.limit_processors(busy.id, 200) == ""
    at, before = time.monotonic(), group.used()
    process, began, used = processors.processor_time(busy.id)
    in_group = group.used()
    assert began <= time.clock_gettime(time.CLOCK_BOOTTIME) * 1000
    busy.compute()
    in_group_after = group.used()
    same, _, used_after = processors.processor_time(busy.id)
    after, passed = group.used(), time.monotonic() - at
    assert same == process
    least, most = in_group_after - in_group, after - before  # it goes on while it is read
    assert 0.98 * least - 0.03 * SECOND <= used_after - used <= 1.02 * most + 0.03 * SECOND
    assert used_after - used <= (0.2 * passed * 1.02 + 0.03) * SECOND
    assert group.weight() == 32
    assert processors.limit_processors(busy.id, None) == ""
    assert not group.is_limited()


def test_a_guest_uses_no_more_than_it_earns_until_it_is_unlimited(busy, monkeypatch):
    monkeypatch.setattr(meters, "COUNT_SECONDS", 0.5)
    folder, group = busy.world.root / "credits", busy.group
    meter = Meter(busy.world.machines.processors, folder)
    before, at = group.used(), time.monotonic()
    meter.watch(busy.id, TENTH, 1)
    assert group.is_limited()
    began = group.used()  # what was used since `before` is counted in part
    busy.compute()
    used = group.used() - began
    earned = TENTH.per_hour / 60_000 * (time.monotonic() - at)
    assert used / SECOND <= earned * 1.02 + 0.05

    meter.watch(busy.id, replace(TENTH, unlimited=True), 1)
    assert not group.is_limited()
    busy.compute()

    counted = group.used()
    meter.close()  # counts, and saves
    ended = group.used()
    ledger = AccountFiles(folder).load(busy.id).ledger
    spent = ledger.spent / PER_NANOSECOND
    assert 0.98 * (counted - began) - 0.05 * SECOND <= spent <= 1.02 * (ended - before) + 0.05 * SECOND
    assert ledger.balance - ledger.surplus == ledger.gained - ledger.spent
    meter.forget(busy.id)
    assert not (folder / f"{busy.id}.json").exists()


def test_a_guest_that_is_off_is_neither_measured_nor_limited(one_world):
    machines, processors, spec = one_world.machines, one_world.machines.processors, one_world.spec()
    assert processors.processor_time(spec.id) is None
    machines.start(spec, 1)
    assert processors.processor_time(spec.id) is not None
    assert processors.limit_processors(spec.id, 200) == ""
    assert VcpuGroups(one_world.process_of(spec.id)).is_limited()
    machines.stop(spec.id, force=True)
    assert processors.processor_time(spec.id) is None
    assert processors.limit_processors(spec.id, 200) == ""
    machines.remove(spec.id)
