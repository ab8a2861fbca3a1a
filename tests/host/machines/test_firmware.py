"""A guest boots by UEFI, secure, with a TPM: it sees all that; what it stored stays with it, here and on its next host."""

import uuid
import zlib
from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest

from stead_agent.disks.disk_users import uid_of
from stead_agent.machines.daemon_dirs import DaemonDirs
from stead_agent.machines.firmware_files import FirmwareFiles
from stead_agent.machines.interface import MachineError, Power, Tpm
from stead_agent.machines.life import uuid_of

from .shell import Shell, image_with_shell

pytestmark = pytest.mark.guest

MEMORY = 256 << 20
KEYS = Path("/usr/share/OVMF/OVMF_VARS_4M.ms.fd")
TPM_LOGS = DaemonDirs().tpm_logs


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


def test_a_guest_boots_secure_with_a_tpm_and_what_they_store_goes_with_it(world, image):
    tpm = Tpm(str(uuid.uuid4()), b"k" * 32)
    spec = world.spec(memory=MEMORY, disks=(world.disk(image, "raw"),), nics=0, boot_mode="uefi", tpm=tpm)
    spec = replace(spec, uefi_variables=zlib.compress(KEYS.read_bytes()))
    shell = world.boot(spec, lambda: shell_of(world, spec))
    assert "efi: EFI v2" in shell.run("dmesg | grep -i 'efi: '")
    assert "runtime" in shell.run("ls /sys/firmware/efi").split()
    assert "Secure boot enabled" in shell.run("dmesg | grep -i 'secure boot'")
    assert shell.run("cat /sys/class/tpm/tpm0/tpm_version_major") == "2"
    shell.run("[ -c /dev/tpmrm0 ]")
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
    # The TPM was made at the first start alone.
    log = TPM_LOGS / f"{spec.id}-swtpm.log"
    assert log.read_text().count("Successfully authored TPM state") == 1
    assert "encrypted using a key" in log.read_text()
    state = world.daemon.root / "lib" / "swtpm" / str(uuid_of(spec.id))
    assert list(state.rglob("tpm2-00.permall"))
    world.machines.stop(spec.id, force=True)
    files = FirmwareFiles(world.root, state.parent)
    kept = files.read(spec.id, tpm=True)
    world.machines.remove(spec.id)
    assert [path for path in (variables.parent, state, log) if path.exists()] == []
    # Its next host, which knows nothing of it, is this one again.
    files.lay(spec.id, kept)
    started = world.machines.start(spec, start + 1)
    assert (started.power, started.start_count) == (Power.RUNNING, start + 1)
    assert "Boot0001".encode("utf-16le") in variables.read_bytes()
    assert list(state.rglob("tpm2-00.permall"))
    assert "Successfully authored TPM state" not in (log.read_text() if log.exists() else "")
    world.machines.remove(spec.id)
    files.remove(spec.id)
    assert [path for path in (variables.parent, state, log) if path.exists()] == []


def test_without_the_key_of_its_tpm_a_guest_does_not_start(world, image):
    tpm = Tpm(str(uuid.uuid4()))
    spec = world.spec(memory=MEMORY, disks=(world.disk(image, "raw"),), nics=0, boot_mode="uefi", tpm=tpm)
    with pytest.raises(MachineError, match="key of the TPM"):
        world.machines.start(spec, 1)
    world.machines.remove(spec.id)
