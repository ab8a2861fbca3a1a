"""What the firmware and the TPM of a guest store stays with it, here and on its next host."""

import uuid
import zlib
from dataclasses import replace
from pathlib import Path

import pytest

from stead_agent.disks.disk_users import uid_of
from stead_agent.machines.daemon_dirs import DaemonDirs
from stead_agent.machines.firmware_files import FirmwareFiles
from stead_agent.machines.interface import MachineError, Power, Tpm
from stead_agent.machines.life import uuid_of

from .conftest import wait_for

pytestmark = pytest.mark.guest

MEMORY = 256 << 20
KEYS = Path("/usr/share/OVMF/OVMF_VARS_4M.ms.fd")
BOOT_ENTRY = "Boot0001".encode("utf-16le")
TPM_LOGS = DaemonDirs().tpm_logs


def stored(world, spec):
    """The file of a guest's variables, when its firmware has written there which disks it may boot from."""
    variables = world.root / "firmware" / spec.id / "vars.fd"

    def has_looked():
        world.check(spec.id)
        return BOOT_ENTRY in variables.read_bytes()

    wait_for(has_looked, "its firmware has looked for what it may boot", 600)
    return variables


def test_what_firmware_and_tpm_store_goes_with_a_guest(world):
    """Its disk is blank: what a kernel sees of all this is in tests/e2e/test_firmware.py."""
    tpm = Tpm(str(uuid.uuid4()), b"k" * 32)
    spec = world.spec(memory=MEMORY, nics=0, boot_mode="uefi", tpm=tpm)
    spec = replace(spec, uefi_variables=zlib.compress(KEYS.read_bytes()))
    variables = world.boot(spec, lambda: stored(world, spec))
    world.machines.stop(spec.id, force=True)
    made = variables.stat()
    assert (made.st_uid, made.st_mode & 0o777) == (uid_of(spec.id), 0o600)
    start = world.machines.status(spec.id).start_count + 1
    assert world.machines.start(spec, start).power is Power.RUNNING
    assert variables.stat().st_ino == made.st_ino
    assert BOOT_ENTRY in variables.read_bytes()
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
    assert BOOT_ENTRY in variables.read_bytes()
    assert list(state.rglob("tpm2-00.permall"))
    assert "Successfully authored TPM state" not in (log.read_text() if log.exists() else "")
    world.machines.remove(spec.id)
    files.remove(spec.id)
    assert [path for path in (variables.parent, state, log) if path.exists()] == []


def test_without_the_key_of_its_tpm_a_guest_does_not_start(world):
    tpm = Tpm(str(uuid.uuid4()))
    spec = world.spec(memory=MEMORY, nics=0, boot_mode="uefi", tpm=tpm)
    with pytest.raises(MachineError, match="key of the TPM"):
        world.machines.start(spec, 1)
    world.machines.remove(spec.id)
