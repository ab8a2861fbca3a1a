"""Encrypted blocks: they come back, share what they may, and show nothing."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stead_proto import blocks
from stead_proto.block_cipher import BlockCipher
from stead_proto.blocks import BLOCK_BYTES, BadBlockError
from tests.support.examples import examples

KEY, OTHER = bytes(range(32)), bytes(32)
TEXT = (b"what a guest wrote" * (BLOCK_BYTES // 18 + 1))[:BLOCK_BYTES]


@given(key=st.binary(min_size=32, max_size=32), index=st.integers(0, 1 << 40), seed=st.binary(min_size=1, max_size=64))
@settings(max_examples=examples(20))
def test_a_block_comes_back(key: bytes, index: int, seed: bytes) -> None:
    content = (seed * (BLOCK_BYTES // len(seed) + 1))[:BLOCK_BYTES]
    cipher = BlockCipher(key)
    secret = cipher.encrypt(index, content)
    assert len(secret) == BLOCK_BYTES
    assert BlockCipher(key).decrypt(index, blocks.unpack(blocks.pack(secret))) == content


def test_the_same_at_the_same_place_is_the_same_and_nowhere_else() -> None:
    cipher = BlockCipher(KEY)
    same = cipher.encrypt(7, TEXT)
    assert cipher.encrypt(7, TEXT) == same
    assert cipher.encrypt(8, TEXT) != same
    assert BlockCipher(OTHER).encrypt(7, TEXT) != same


def test_nothing_of_the_content_shows() -> None:
    secret = BlockCipher(KEY).encrypt(0, TEXT)
    assert b"guest" not in secret
    assert len({secret[at : at + 16] for at in range(0, BLOCK_BYTES, 16)}) == BLOCK_BYTES // 16
    assert BlockCipher(OTHER).decrypt(0, secret) != TEXT


def test_what_is_no_block_and_no_key_is_refused() -> None:
    with pytest.raises(BadBlockError):
        BlockCipher(KEY).encrypt(0, b"short")
    with pytest.raises(ValueError, match="31 bytes"):
        BlockCipher(KEY[:31])
