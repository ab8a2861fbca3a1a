"""What guests do themselves: power off, reboot, write to the console."""

import json

import libvirt
import libvirt_qemu
import pytest

from stead_agent.machines.interface import OffReason, Power

from .conftest import wait_for

pytestmark = pytest.mark.guest


def press_power_button(world, machine_id):
    """Press it past the agent: to it, the guest powers itself off."""
    live = libvirt.open(world.daemon.uri)
    try:
        libvirt_qemu.qemuMonitorCommand(live.lookupByName(machine_id), json.dumps({"execute": "system_powerdown"}), 0)
    except libvirt.libvirtError:
        pass  # it is off already
    finally:
        live.close()


def power_off_by_itself(world, machine_id):
    """Have the guest power itself off, as soon as it has booted so far that it listens."""

    def is_off():
        press_power_button(world, machine_id)
        return world.machines.status(machine_id).power is Power.OFF

    wait_for(is_off, "the guest has powered itself off", 40)


def test_a_guest_powers_itself_off_and_a_restarted_agent_knows(world):
    spec = world.spec(bootable=True)
    world.machines.start(spec, 1)
    power_off_by_itself(world, spec.id)
    assert world.machines.status(spec.id).off_reason is OffReason.GUEST
    assert world.machines.start(spec, 1).power is Power.OFF
    world.connect()
    status = world.machines.status(spec.id)
    assert (status.power, status.start_count, status.off_reason) == (Power.OFF, 1, OffReason.GUEST)


def test_a_guest_reboots_and_stops_when_asked(world):
    spec = world.spec(bootable=True)
    world.machines.start(spec, 1)
    process = world.process_of(spec.id)

    def has_rebooted():
        if world.machines.status(spec.id).reboot_count == 1:
            return True
        world.machines.reboot(spec.id, 1)
        press_power_button(world, spec.id)  # the first one comes too early in its boot
        return False

    wait_for(has_rebooted, "it has rebooted", 40)
    assert world.machines.status(spec.id).power is Power.RUNNING
    assert world.process_of(spec.id) == process
    world.machines.stop(spec.id)

    def is_off():
        press_power_button(world, spec.id)
        return world.machines.status(spec.id).power is Power.OFF

    wait_for(is_off, "it has stopped", 40)
    assert world.machines.status(spec.id).off_reason is OffReason.ASKED
