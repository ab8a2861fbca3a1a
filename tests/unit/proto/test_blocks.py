"""Blocks and segments: what goes in comes out, and nothing else is believed."""

import hashlib
import tracemalloc

import pytest
import zstandard
from hypothesis import given
from hypothesis import strategies as st

from stead_proto import blocks
from stead_proto.v1.blocks_pb2 import COMPRESSION_ZSTD, Block, Segment

_slots = st.integers(0, blocks.SEGMENT_BLOCKS - 1)
_digests = st.dictionaries(_slots, st.binary(min_size=32, max_size=32), max_size=40)


def _block(seed: bytes) -> bytes:
    return hashlib.shake_128(seed).digest(blocks.BLOCK_BYTES)


@pytest.mark.parametrize("content", [blocks.ZERO_BLOCK, _block(b"noise"), b"stead\n" * 87381 + b"xx"])
def test_a_block_comes_back_as_it_was(content):
    packed = blocks.pack(content)
    assert packed.digest == hashlib.sha256(content).digest()
    assert len(packed.content) <= blocks.BLOCK_BYTES
    assert blocks.unpack(packed) == content


def test_noise_is_not_made_larger():
    assert len(blocks.pack(_block(b"noise")).content) == blocks.BLOCK_BYTES


@given(st.binary(max_size=300), st.sampled_from([0, 1, 7]))
def test_what_is_no_block_is_refused(content, compression):
    with pytest.raises(blocks.BadBlockError):
        blocks.unpack(Block(digest=bytes(32), content=content, compression=compression))


def test_another_content_is_refused():
    packed = blocks.pack(_block(b"one"))
    packed.digest = hashlib.sha256(b"two").digest()
    with pytest.raises(blocks.BadBlockError, match="another content"):
        blocks.unpack(packed)


@pytest.mark.parametrize("size", [1, blocks.BLOCK_BYTES - 1, blocks.BLOCK_BYTES + 1, 64 << 20])
def test_a_frame_of_another_size_is_refused(size):
    content = zstandard.ZstdCompressor().compress(bytes(size))
    with pytest.raises(blocks.BadBlockError):
        blocks.unpack(Block(digest=bytes(32), content=content, compression=COMPRESSION_ZSTD))


def test_no_more_than_a_block_is_unpacked_of_a_bomb():
    bomb = zstandard.ZstdCompressor().compress(bytes(256 << 20))
    tracemalloc.start()
    try:
        with pytest.raises(blocks.BadBlockError):
            blocks.unpack(Block(digest=blocks.digest_of(blocks.ZERO_BLOCK), content=bomb, compression=COMPRESSION_ZSTD))
        assert tracemalloc.get_traced_memory()[1] < 4 * blocks.BLOCK_BYTES
    finally:
        tracemalloc.stop()


@given(st.integers(0, 1 << 20), _digests)
def test_a_segment_comes_back_as_it_was(position, digests):
    segment = blocks.make_segment(position, digests)
    assert blocks.digests_of(Segment.FromString(segment.SerializeToString())) == digests


@given(_digests, _digests)
def test_segments_are_known_by_what_they_hold(one, other):
    left, right = blocks.make_segment(3, one), blocks.make_segment(9, other)
    assert (blocks.segment_digest(left) == blocks.segment_digest(right)) == (one == other)


@pytest.mark.parametrize(
    "segment",
    [
        Segment(slots=[0]),
        Segment(slots=[1, 0], digests=bytes(64)),
        Segment(slots=[1, 1], digests=bytes(64)),
        Segment(slots=[blocks.SEGMENT_BLOCKS], digests=bytes(32)),
        Segment(digests=bytes(32)),
    ],
)
def test_a_malformed_segment_is_refused(segment):
    with pytest.raises(blocks.BadBlockError):
        blocks.digests_of(segment)
