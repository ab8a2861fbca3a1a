"""Sealed bytes say their version, open only for what they were sealed for, and survive the change of the key."""

import pytest
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from hypothesis import given
from hypothesis import strategies as st

from stead_controller.secrets.sealing import Sealer, version_of

OLD, NEW = b"o" * 32, b"n" * 32


@given(st.binary(max_size=100), st.text(max_size=20))
def test_what_is_sealed_opens_for_its_context_only(secret, context):
    sealer = Sealer({1: OLD, 2: NEW})
    sealed = sealer.seal(secret, context)
    assert sealer.open(sealed, context) == secret
    assert (version_of(sealed), sealer.is_newest(sealed)) == (2, True)
    with pytest.raises(InvalidTag):
        sealer.open(sealed, context + "x")


def test_no_byte_can_be_changed():
    sealer = Sealer(OLD)
    sealed = sealer.seal(b"secret", "c")
    for place in range(len(sealed)):
        bad = bytearray(sealed)
        bad[place] ^= 1
        with pytest.raises(InvalidTag):
            sealer.open(bytes(bad), "c")
    for length in range(len(sealed)):
        with pytest.raises(InvalidTag):
            sealer.open(sealed[:length], "c")


@pytest.mark.parametrize(
    "nonce", [b"\0" * 12, b"\xf5K\0\1" + b"x" * 8, b"\xf5K\0\2" + b"x" * 8, b"\xf5K\0\7" + b"x" * 8]
)
def test_what_was_sealed_before_versions_opens_however_it_begins(nonce):
    before = nonce + AESGCM(OLD).encrypt(nonce, b"secret", b"c")
    sealer = Sealer({1: OLD, 2: NEW})
    assert sealer.open(before, "c") == b"secret"
    anew = sealer.reseal(before, "c")
    assert (sealer.open(anew, "c"), version_of(anew)) == (b"secret", 2)
    with pytest.raises(InvalidTag):
        Sealer({2: NEW}).open(before, "c")


def test_a_version_that_is_forgotten_opens_nothing():
    sealer = Sealer({1: OLD, 2: NEW})
    sealed = Sealer({1: OLD}).seal(b"secret", "c")
    assert sealer.open(sealed, "c") == b"secret"
    sealer.use({2: NEW})
    with pytest.raises(InvalidTag):
        sealer.open(sealed, "c")
    assert sealer.versions == (2,)


def test_an_unknown_version_is_looked_for():
    asked = []

    def look(version):
        asked.append(version)
        return {1: OLD, 2: NEW} if len(asked) > 1 else None

    sealer = Sealer({1: OLD}, look)
    sealed = Sealer({2: NEW}).seal(b"secret", "c")
    with pytest.raises(InvalidTag):
        sealer.open(sealed, "c")
    assert sealer.open(sealed, "c") == b"secret"
    assert (asked, sealer.version) == ([2, 2], 2)
