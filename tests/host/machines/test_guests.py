"""What guests do when they are asked: reboot, and power off; `test_one_guest.py` has one that does it by itself."""

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


def test_a_guest_reboots_and_stops_when_asked(world):
    spec = world.spec(bootable=True)
    world.boot(spec, lambda: reboot_and_stop(world, spec.id))
    assert world.machines.status(spec.id).off_reason is OffReason.ASKED


def reboot_and_stop(world, machine_id):
    process, number = world.process_of(machine_id), world.machines.status(machine_id).start_count

    def has_rebooted():
        world.check(machine_id)
        if world.machines.status(machine_id).reboot_count == number:
            return True
        world.machines.reboot(machine_id, number)
        press_power_button(world, machine_id)  # the first one comes too early in its boot
        return False

    wait_for(has_rebooted, "it has rebooted", 40)
    assert world.machines.status(machine_id).power is Power.RUNNING
    assert world.process_of(machine_id) == process
    world.machines.stop(machine_id)

    def is_off():
        press_power_button(world, machine_id)
        world.check(machine_id)
        return world.machines.status(machine_id).power is Power.OFF

    wait_for(is_off, "it has stopped", 40)
