"""A real guest earns and spends CPU credits: held to its baseline without any, free again in the mode unlimited."""

import time
from dataclasses import replace
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

pytestmark = pytest.mark.guest

SECOND = 1_000_000_000
TENTH = Terms(vcpus=1, per_hour=6_000, most=144_000)  # its baseline is a tenth of a vCPU


def test_a_guest_uses_no_more_than_it_earns_until_it_is_unlimited(world, monkeypatch):
    monkeypatch.setattr(meters, "COUNT_SECONDS", 0.5)
    image = with_shell(micro.build(), world.root / "disks" / "credits.raw")
    image.chmod(0o444)
    spec = world.spec(disks=(world.disk(base=image, base_format="raw"),))
    shell = world.boot(spec, lambda: SerialShell(world.machines, spec.id, partial(world.check, spec.id)))
    group = VcpuGroups(world.process_of(spec.id))
    meter = Meter(world.machines.processors, world.root / "credits")
    before, at = group.used(), time.monotonic()
    meter.watch(spec.id, TENTH, 1)
    assert group.is_limited()
    began = group.used()  # of a slow machine: what was used meanwhile is counted in part
    shell.begin("while :; do :; done")
    shell.close()
    wait_for(lambda: group.used() - began >= SECOND, "the guest has computed for a second", 120)
    used = group.used() - began
    earned = TENTH.per_hour / 60_000 * (time.monotonic() - at)
    assert used / SECOND <= earned * 1.02 + 0.05

    meter.watch(spec.id, replace(TENTH, unlimited=True), 1)
    assert not group.is_limited()
    used = group.used()
    wait_for(lambda: group.used() - used >= SECOND, "the guest has computed for another second", 120)

    counted = group.used()
    meter.close()  # counts, and saves
    ended = group.used()
    ledger = AccountFiles(world.root / "credits").load(spec.id).ledger
    spent = ledger.spent / PER_NANOSECOND
    assert 0.98 * (counted - began) - 0.05 * SECOND <= spent <= 1.02 * (ended - before) + 0.05 * SECOND
    assert ledger.balance - ledger.surplus == ledger.gained - ledger.spent
    meter.forget(spec.id)
    assert not (world.root / "credits" / f"{spec.id}.json").exists()
