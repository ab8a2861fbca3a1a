"""A guest of another architecture than its host's: found by libvirt, booted by emulation, given disks, interfaces, a TPM."""

import shutil
import uuid
from dataclasses import replace
from functools import partial

import libvirt
import pytest

from stead_agent.machines import architectures
from stead_agent.machines.interface import OffReason, Power, Tpm
from tests.support import micro
from tests.support.serial_shell import SerialShell, with_shell

from .conftest import wait_for

pytestmark = [
    pytest.mark.guest,
    pytest.mark.timeout(900),
    pytest.mark.skipif(not shutil.which("qemu-system-aarch64"), reason="needs qemu-system-arm and qemu-efi-aarch64"),
]

MEMORY = 256 << 20
BOOTS = b"stead-micro: the kernel runs"


def test_libvirt_says_that_arm64_guests_can_be_emulated(daemon):
    connection = libvirt.open(daemon.uri)
    try:
        assert architectures.emulated(connection) == ("arm64",)
    finally:
        connection.close()


def test_an_arm64_guest_boots_and_takes_what_is_plugged_in(world):
    image = with_shell(micro.build("arm64"), world.root / "disks" / "shell.raw")
    image.chmod(0o444)
    tpm = Tpm(str(uuid.uuid4()), b"k" * 32)
    spec = world.spec(
        memory=MEMORY, disks=(world.disk(image, "raw"),), architecture="arm64", boot_mode="uefi", tpm=tpm,
        instance_type="t4g.nano", vcpus=2,
    )  # fmt: skip
    shell = world.boot(spec, lambda: SerialShell(world.machines, spec.id, partial(world.check, spec.id), seconds=600))
    assert shell.run("uname -m") == "aarch64"
    assert shell.run("nproc") == "2"
    assert shell.run("cat /sys/class/dmi/id/sys_vendor /sys/class/dmi/id/product_name").split("\r\n") == [
        "Amazon EC2",
        "t4g.nano",
    ]
    assert shell.run("cat /sys/class/dmi/id/product_uuid").startswith("ec2")
    assert "MSFT0101:00" in shell.run("ls /sys/bus/acpi/devices")
    more = replace(spec, disks=(*spec.disks, world.disk()), nics=(*spec.nics, world.nic()))
    assert not world.machines.update(more)
    shell.run("until [ -b /dev/vdb ] && [ -e /sys/class/net/eth1 ]; do usleep 50000; done")
    assert shell.run("cat /sys/class/block/vdb/serial") == more.disks[1].id.replace("-", "")
    world.machines.update(spec)
    shell.run("while [ -b /dev/vdb ] || [ -e /sys/class/net/eth1 ]; do usleep 50000; done")
    wait_for(lambda: not world.machines.update(spec), "the guest has released both", 60)
    shell.close()
    world.machines.reboot(spec.id, 1)
    wait_for(lambda: world.machines.status(spec.id).reboot_count == 1, "it has rebooted", 100)
    wait_for(lambda: world.machines.console_output(spec.id, 1 << 16).count(BOOTS) == 2, "it boots again", 300)
    world.machines.stop(spec.id)
    world.wait_for_power(spec.id, Power.OFF, 100)
    assert world.machines.status(spec.id).off_reason is OffReason.ASKED
