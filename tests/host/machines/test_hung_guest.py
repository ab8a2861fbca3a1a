"""A QEMU that does not answer (here stopped by a signal): it is noticed, hinders no other guest, and can be ended."""

import os
import signal
import time

from stead_agent.machines import health, waiting
from stead_agent.machines.boot_clock import Patience
from stead_agent.machines.interface import OffReason, Power

from .conftest import World, wait_for


def test_a_hung_qemu_is_noticed_hinders_no_other_guest_and_is_ended(world: World, monkeypatch) -> None:
    monkeypatch.setattr(health, "HUNG_SECONDS", 3.0)
    hung, other = world.spec(), world.spec()
    for spec in (hung, other):
        world.machines.start(spec, 1)
    looks = world.machines.health
    looks._asker = waiting.Asker(0.5)
    process = world.process_of(hung.id)
    began = int(time.time())
    looks.look()
    os.kill(process, signal.SIGSTOP)
    wait_for(lambda: looks.look() or looks.hung_since(hung.id), "it is noticed", 60)
    status = world.machines.status(hung.id)
    assert (status.power, began - 1 <= status.hung_since <= time.time() - 3) == (Power.RUNNING, True)
    assert hung.id in world.heard
    assert world.machines.status(other.id).hung_since == 0
    before = looks._guests[other.id].disks[other.disks[0].id].asked_at
    monkeypatch.setattr("stead_agent.machines.disk_progress.ASK_SECONDS", 0.0)
    looks.look()
    assert looks._guests[other.id].disks[other.disks[0].id].asked_at > before, "the other guest is still looked at"

    os.kill(process, signal.SIGCONT)
    wait_for(lambda: looks.look() or not looks.hung_since(hung.id), "it answers again", 60)
    for start in (1, 2):
        world.machines.start(hung, start)
        os.kill(world.process_of(hung.id), signal.SIGSTOP)
        wait_for(lambda: looks.look() or looks.hung_since(hung.id), "it is noticed again", 60)
        assert world.machines.status(hung.id).volume_ids == {hung.disks[0].id}
        if start == 1:
            status = world.machines.stop(hung.id)
            assert (status.power, status.off_reason, status.hung_since) == (Power.OFF, OffReason.ASKED, 0)
            assert world.machines.status(hung.id) == status
    world.machines.remove(hung.id)
    assert world.machines.present() == {other.id}


def test_one_that_hangs_while_it_stops_is_powered_off_and_hinders_no_other_stop(world: World) -> None:
    """The power button is pressed again and again, which QEMU does not answer then; what is due is done all the same."""
    world.patience = Patience(stop=4, press_again=1)
    world.connect()
    hung, other = world.spec(), world.spec()
    for spec in (hung, other):
        world.machines.start(spec, 1)
        assert world.machines.stop(spec.id).power is Power.STOPPING
    os.kill(world.process_of(hung.id), signal.SIGSTOP)
    for spec in (other, hung):
        world.wait_for_power(spec.id, Power.OFF, 120)
        assert world.machines.status(spec.id).off_reason is OffReason.ASKED
