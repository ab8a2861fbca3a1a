"""A guest boots by UEFI: it sees that itself, and its variables stay with it until it is removed."""

from functools import partial

import pytest

from stead_agent.disks.disk_users import uid_of
from stead_agent.machines.interface import Power

from .shell import Shell, image_with_shell

pytestmark = pytest.mark.guest

MEMORY = 256 << 20


@pytest.fixture
def image(world):
    """The micro image with a shell on its serial port."""
    path = world.root / "disks" / "shell.raw"
    image_with_shell(path)
    path.chmod(0o444)
    return path


def shell_of(world, spec):
    """The shell of a guest that was just started."""
    shell = Shell(world.daemon.uri, spec.id)
    shell.wait_until_up(partial(world.check, spec.id), 600)
    return shell


def test_a_guest_boots_by_uefi_and_keeps_its_variables(world, image):
    spec = world.spec(memory=MEMORY, disks=(world.disk(image, "raw"),), nics=0, boot_mode="uefi")
    shell = world.boot(spec, lambda: shell_of(world, spec))
    assert "efi: EFI v2" in shell.run("dmesg | grep -i 'efi: '")
    assert "runtime" in shell.run("ls /sys/firmware/efi").split()
    assert "Secure boot disabled" in shell.run("dmesg | grep -i 'secure boot'")
    shell.close()
    world.machines.stop(spec.id, force=True)
    variables = world.root / "firmware" / spec.id / "vars.fd"
    made = variables.stat()
    assert (made.st_uid, made.st_mode & 0o777) == (uid_of(spec.id), 0o600)
    content = variables.read_bytes()
    assert "Boot0001".encode("utf-16le") in content  # what the firmware has found at the first start
    start = world.machines.status(spec.id).start_count + 1
    assert world.machines.start(spec, start).power is Power.RUNNING
    assert variables.stat().st_ino == made.st_ino
    assert "Boot0001".encode("utf-16le") in variables.read_bytes()
    world.machines.remove(spec.id)
    assert not variables.parent.exists()
