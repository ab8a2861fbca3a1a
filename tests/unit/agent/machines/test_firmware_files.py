"""What UEFI guests store beside their disks, as files: read whole or not at all, laid for libvirt to find."""

import os
import zlib

import pytest

from stead_agent.machines import firmware
from stead_agent.machines.firmware_files import FirmwareFiles
from stead_agent.machines.interface import FirmwareState
from stead_agent.machines.life import uuid_of
from stead_proto import limits

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="gives files to users")
GUEST = "i-0123456789abcdef0"
VARIABLES = zlib.compress(b"of there")


@pytest.fixture
def files(tmp_path, monkeypatch):
    """The files of a host whose firmware has 8 bytes of variables, and on which no guest had a TPM yet."""
    none = tmp_path / "none.fd"
    none.write_bytes(b"no keys!")
    monkeypatch.setattr(firmware, "BUILDS", {"x86_64": firmware.Build(tmp_path / "code.fd", none)})
    return FirmwareFiles(tmp_path, tmp_path / "swtpm")


def tpm_of(tmp_path):
    return tmp_path / "swtpm" / str(uuid_of(GUEST)) / "tpm2" / "tpm2-00.permall"


@pytest.mark.parametrize("tpm", [b"", b"encrypted"])
def test_what_is_laid_is_what_was_read(tmp_path, files, tpm):
    state = FirmwareState(VARIABLES, tpm)
    files.lay(GUEST, state)
    files.lay(GUEST, state)
    assert files.read(GUEST, tpm=bool(tpm)) == state
    assert tpm_of(tmp_path).exists() == bool(tpm)
    if tpm:
        path = tpm_of(tmp_path)
        found = {each.name: each.stat().st_mode & 0o777 for each in (path, *list(path.parents)[:2])}
        assert found == {path.name: 0o600, "tpm2": 0o700, str(uuid_of(GUEST)): 0o711}
    files.remove(GUEST)
    files.remove(GUEST)
    assert files.read(GUEST, tpm=False) is None
    assert not tpm_of(tmp_path).parent.parent.exists()
    assert not (tmp_path / "firmware" / GUEST).exists()


def test_without_the_state_of_its_tpm_it_is_not_whole(tmp_path, files):
    files.lay(GUEST, FirmwareState(VARIABLES))
    assert files.read(GUEST, tpm=True) is None


@pytest.mark.parametrize(("more", "is_read"), [(0, True), (1, False)])
def test_too_much_stays_where_it_is(files, more, is_read):
    most = limits.FIRMWARE_BYTES - len(VARIABLES)
    files.lay(GUEST, FirmwareState(VARIABLES, bytes(most + more)))
    assert (files.read(GUEST, tpm=True) is not None) == is_read
