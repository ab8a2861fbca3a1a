"""Libvirtd killed, stopped and hung: no lie about guests, and nothing is lost (FAULTS 28)."""

import os
import signal
import threading
import time

import pytest

from stead_agent.machines.interface import MachineError, MachinesUnavailableError, OffReason, Power

from .conftest import wait_for


def test_guests_and_the_agent_outlive_a_killed_libvirtd(world):
    spec = world.spec()
    world.machines.start(spec, 1)
    process = world.process_of(spec.id)
    world.heard.clear()
    world.daemon.kill()
    wait_for(lambda: spec.id in world.heard, "the loss was reported")
    world.wait_for_power(spec.id, Power.RUNNING)  # `revive` has started it again
    assert world.process_of(spec.id) == process
    assert world.machines.stop(spec.id, force=True).off_reason is OffReason.ASKED


def test_while_libvirt_is_away_a_living_guest_is_unknown_and_a_dead_one_off(world, monkeypatch):
    spec, off = world.spec(), world.spec()
    world.machines.start(off, 1)
    world.machines.stop(off.id, force=True)
    world.machines.start(spec, 7)
    process = world.process_of(spec.id)
    monkeypatch.setattr(world.machines._link, "_revive", lambda: None)
    world.daemon.kill()
    world.wait_for_power(spec.id, Power.UNKNOWN)
    assert world.machines.status(off.id).power is Power.OFF
    with pytest.raises(MachinesUnavailableError):
        world.machines.present()
    with pytest.raises(MachinesUnavailableError):
        world.machines.start(off, 2)
    with pytest.raises(MachinesUnavailableError):
        world.machines.status("i-00000000000000000")
    os.kill(process, signal.SIGKILL)
    world.wait_for_power(spec.id, Power.OFF)
    status = world.machines.status(spec.id)
    assert (status.power, status.start_count, status.off_reason) == (Power.OFF, 7, OffReason.CRASHED)
    world.daemon.revive()
    wait_for(world.machines._link.is_up, "libvirt is back")
    status = world.machines.status(spec.id)
    assert (status.power, status.start_count, status.off_reason) == (Power.OFF, 7, OffReason.CRASHED)


def test_a_hung_libvirtd_hides_no_dead_guest(world):
    spec = world.spec()
    world.machines.start(spec, 1)
    process = world.process_of(spec.id)
    hung = world.daemon.pid
    os.kill(hung, signal.SIGSTOP)
    goes_on = threading.Timer(120, os.kill, (hung, signal.SIGCONT))  # else this test would wait without end if it fails
    goes_on.start()
    try:
        os.kill(process, signal.SIGKILL)
        began = time.monotonic()
        status = world.machines.status(spec.id)
        assert time.monotonic() - began < 100  # without end, if it waited for libvirtd
        assert (status.power, status.off_reason) == (Power.OFF, OffReason.CRASHED)
    finally:
        goes_on.cancel()
        os.kill(hung, signal.SIGCONT)
    wait_for(world.machines._link.is_up, "libvirt is back")
    world.wait_for_power(spec.id, Power.OFF)
    assert world.machines.status(spec.id).off_reason is OffReason.CRASHED


@pytest.mark.parametrize("moment", [0, 0.03, 0.06, 0.09, 0.12], ids="{:.0%} of a second".format)
def test_a_start_cut_off_by_a_dying_libvirtd_is_repeated_or_found(world, moment):
    spec = world.spec()

    def start():
        try:
            return world.machines.start(spec, 1).power is Power.RUNNING
        except MachineError:
            return False

    thread = threading.Thread(target=start)
    thread.start()
    wait_for(lambda: world.machines._domains.unsure, "the start is under way")
    threading.Event().wait(moment)  # the fault comes at a moment of its own, whatever the start is at
    world.daemon.kill()
    thread.join()
    wait_for(world.machines._link.is_up, "libvirt is back")
    wait_for(start, "the start has happened")
    process = world.process_of(spec.id)
    assert start()
    assert world.process_of(spec.id) == process


def test_the_reason_of_an_end_outlives_both_the_agent_and_libvirtd(world):
    spec = world.spec()
    world.machines.start(spec, 1)
    os.kill(world.process_of(spec.id), signal.SIGTERM)  # libvirt takes this for a shutdown by the guest
    world.wait_for_power(spec.id, Power.OFF)
    wait_for(lambda: world.machines._domains.find(spec.id).record.off_of == 1, "the reason is noted")
    world.machines.close()
    world.machines = None
    world.daemon.kill()
    world.daemon.revive()
    world.connect()
    assert world.machines.status(spec.id).off_reason is OffReason.GUEST
