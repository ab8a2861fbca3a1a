"""The variables of a UEFI guest: made once, owned by its user, removed with it."""

import os
import zlib

import pytest

from stead_agent.machines import firmware
from stead_agent.machines.interface import MachineError

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="gives files to users")
GUEST = "i-0123456789abcdef0"


@pytest.fixture
def stores(tmp_path):
    """The stores of a host whose firmware has 8 bytes of variables."""
    return firmware.VariableStores(tmp_path / "firmware")


@pytest.fixture
def build(tmp_path):
    """Firmware with 8 bytes of variables, of which the last two are unused."""
    none = tmp_path / "none.fd"
    none.write_bytes(b"no key\0\0")
    return firmware.Build(tmp_path / "code.fd", none)


@pytest.mark.parametrize(("first", "content"), [(b"", b"no key\0\0"), (zlib.compress(b"with key"), b"with key")])
def test_a_guest_begins_with_what_its_image_has_and_keeps_what_it_writes(stores, build, first, content):
    stores.prepare(GUEST, 200_000, build, first)
    path = stores.path(GUEST)
    assert (path.read_bytes(), path.stat().st_uid, path.stat().st_mode & 0o777) == (content, 200_000, 0o600)
    path.write_bytes(b"its own.")
    os.chown(path, 0, 0)
    stores.prepare(GUEST, 200_000, build, first)
    assert (path.read_bytes(), path.stat().st_uid) == (b"its own.", 200_000)
    stores.remove(GUEST)
    stores.remove(GUEST)
    assert not path.parent.exists()


@pytest.mark.parametrize("first", [b"no stream", zlib.compress(b"short"), zlib.compress(b"x" * 9)])
def test_what_is_no_store_is_refused_and_nothing_is_made(stores, build, first):
    with pytest.raises(MachineError, match="UEFI variables"):
        stores.prepare(GUEST, 200_000, build, first)
    assert not stores.path(GUEST).exists()


def test_what_was_stored_elsewhere_takes_the_place_of_what_is_here(stores, build, monkeypatch):
    monkeypatch.setattr(firmware, "BUILDS", {"x86_64": build})
    assert stores.read(GUEST) is None
    stores.prepare(GUEST, 200_000, build)
    stores.replace(GUEST, zlib.compress(b"of there"))
    path = stores.path(GUEST)
    assert (path.read_bytes(), path.stat().st_uid, path.stat().st_mode & 0o777) == (b"of there", 0, 0o600)
    assert zlib.decompress(stores.read(GUEST)) == b"of there"
    stores.prepare(GUEST, 200_000, build)
    assert (path.read_bytes(), path.stat().st_uid) == (b"of there", 200_000)
    with pytest.raises(MachineError, match="UEFI variables"):
        stores.replace(GUEST, zlib.compress(b"short"))
    assert path.read_bytes() == b"of there"


def test_what_an_interrupted_write_left_is_not_in_the_way(stores, build, monkeypatch):
    monkeypatch.setattr(firmware, "BUILDS", {"x86_64": build})
    stores.prepare(GUEST, 200_000, build)
    stores.path(GUEST).with_suffix(".new").symlink_to("/etc/passwd")
    stores.replace(GUEST, zlib.compress(b"of there"))
    assert stores.path(GUEST).read_bytes() == b"of there"
    assert list(stores.path(GUEST).parent.iterdir()) == [stores.path(GUEST)]


def test_what_was_stored_elsewhere_may_be_of_any_firmware_that_is_here(stores, build, tmp_path, monkeypatch):
    larger = firmware.Build(tmp_path / "code.fd", tmp_path / "larger.fd")
    monkeypatch.setattr(firmware, "BUILDS", {"x86_64": build, "arm64": larger})
    state = zlib.compress(b"of arm64".ljust(1 << 20, b"\0"))
    with pytest.raises(MachineError, match="no store of 8 bytes"):
        stores.replace(GUEST, state)
    larger.no_variables.write_bytes(bytes(1 << 20))
    stores.replace(GUEST, state)
    made = stores.path(GUEST)
    assert made.read_bytes() == b"of arm64".ljust(1 << 20, b"\0")
    assert made.stat().st_blocks * 512 < 1 << 16, "the zeros at its end take room"
    monkeypatch.setattr(firmware, "BUILDS", {})
    with pytest.raises(MachineError, match="no UEFI firmware"):
        stores.replace(GUEST, state)
