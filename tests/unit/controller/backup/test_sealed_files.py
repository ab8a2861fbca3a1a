"""Sealed files open by their passphrase and for their context alone."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stead_controller.backup.sealed_files import WrongPassphraseError, seal, unseal

names = st.text(st.characters(categories=("L", "N"), max_codepoint=0x24F), min_size=1, max_size=20)


@given(st.dictionaries(names, st.binary(max_size=2000), max_size=4), st.binary(max_size=20))
def test_what_was_sealed_comes_back(files, passphrase):
    assert unseal(seal(files, passphrase, "one", 1), passphrase, "one") == files


def test_no_other_passphrase_context_or_byte_opens_them():
    sealed = seal({"master.key": b"secret"}, b"right", "one", 1)
    assert b"secret" not in sealed
    for passphrase, context in ((b"wrong", "one"), (b"right", "other")):
        with pytest.raises(WrongPassphraseError, match="passphrase does not open"):
            unseal(sealed, passphrase, context)
    for place in (25, len(sealed) - 1):  # salt, and content
        changed = bytearray(sealed)
        changed[place] ^= 1
        with pytest.raises(WrongPassphraseError):
            unseal(bytes(changed), b"right", "one")


@pytest.mark.parametrize(
    "content", [b"", b"stead sealed files 1\n", b"other" * 40, b"stead sealed files 1\n\x3f" + b"\0" * 80]
)
def test_what_is_no_sealed_file_is_refused_before_any_work(content):
    with pytest.raises(WrongPassphraseError, match="no sealed files"):
        unseal(content, b"right", "one")
