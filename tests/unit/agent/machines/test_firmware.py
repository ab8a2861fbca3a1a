"""The variables of a UEFI guest: made once, owned by its user, removed with it."""

import os
import zlib

import pytest

from stead_agent.machines import firmware
from stead_agent.machines.interface import MachineError

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="gives files to users")
GUEST = "i-0123456789abcdef0"


@pytest.fixture
def stores(tmp_path, monkeypatch):
    """The stores of a host whose firmware has 8 bytes of variables."""
    none = tmp_path / "none.fd"
    none.write_bytes(b"no keys!")
    monkeypatch.setattr(firmware, "NO_VARIABLES", none)
    return firmware.VariableStores(tmp_path / "firmware")


@pytest.mark.parametrize(("first", "content"), [(b"", b"no keys!"), (zlib.compress(b"with key"), b"with key")])
def test_a_guest_begins_with_what_its_image_has_and_keeps_what_it_writes(stores, first, content):
    stores.prepare(GUEST, 200_000, first)
    path = stores.path(GUEST)
    assert (path.read_bytes(), path.stat().st_uid, path.stat().st_mode & 0o777) == (content, 200_000, 0o600)
    path.write_bytes(b"its own.")
    os.chown(path, 0, 0)
    stores.prepare(GUEST, 200_000, first)
    assert (path.read_bytes(), path.stat().st_uid) == (b"its own.", 200_000)
    stores.remove(GUEST)
    stores.remove(GUEST)
    assert not path.parent.exists()


@pytest.mark.parametrize("first", [b"no stream", zlib.compress(b"short"), zlib.compress(b"x" * 9)])
def test_what_is_no_store_is_refused_and_nothing_is_made(stores, first):
    with pytest.raises(MachineError, match="UEFI variables"):
        stores.prepare(GUEST, 200_000, first)
    assert not stores.path(GUEST).exists()


def test_what_was_stored_elsewhere_takes_the_place_of_what_is_here(stores):
    assert stores.read(GUEST) is None
    stores.prepare(GUEST, 200_000)
    stores.replace(GUEST, zlib.compress(b"of there"))
    path = stores.path(GUEST)
    assert (path.read_bytes(), path.stat().st_uid, path.stat().st_mode & 0o777) == (b"of there", 0, 0o600)
    assert zlib.decompress(stores.read(GUEST)) == b"of there"
    stores.prepare(GUEST, 200_000)
    assert (path.read_bytes(), path.stat().st_uid) == (b"of there", 200_000)
    with pytest.raises(MachineError, match="UEFI variables"):
        stores.replace(GUEST, zlib.compress(b"short"))
    assert path.read_bytes() == b"of there"


def test_what_an_interrupted_write_left_is_not_in_the_way(stores):
    stores.prepare(GUEST, 200_000)
    stores.path(GUEST).with_suffix(".new").symlink_to("/etc/passwd")
    stores.replace(GUEST, zlib.compress(b"of there"))
    assert stores.path(GUEST).read_bytes() == b"of there"
    assert list(stores.path(GUEST).parent.iterdir()) == [stores.path(GUEST)]
