"""A base put together from segments, and the map of what has come of it."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stead_agent.disks.bases.block_map import BadBlockMapError, Presence, block_map_of, blocks_of, same_content
from stead_proto.blocks import BLOCK_BYTES, SEGMENT_BLOCKS, make_segment
from stead_proto.v1.blocks_pb2 import Segment

BLOCKS = st.dictionaries(st.integers(0, 3 * SEGMENT_BLOCKS), st.sampled_from([b"a" * 32, b"b" * 32, b"c" * 32]))


def segments_of(digests):
    positions = {block // SEGMENT_BLOCKS for block in digests}
    return [
        make_segment(
            position,
            {
                block % SEGMENT_BLOCKS: digest
                for block, digest in digests.items()
                if block // SEGMENT_BLOCKS == position
            },
        )
        for position in positions
    ]


@given(BLOCKS, st.integers(1, BLOCK_BYTES))
def test_segments_make_the_block_map(digests, last):
    size = 3 * SEGMENT_BLOCKS * BLOCK_BYTES + last
    block_map = block_map_of(size, segments_of(digests))
    assert block_map.digests == digests
    assert sum(block_map.span(block)[1] for block in blocks_of(0, size)) == size
    places = same_content(block_map)
    assert sorted(block for blocks in places.values() for block in blocks) == sorted(digests)
    assert all(digests[block] == digest for digest, blocks in places.items() for block in blocks)


def test_what_is_beyond_the_disk_or_malformed_is_refused():
    with pytest.raises(BadBlockMapError):
        block_map_of(BLOCK_BYTES, segments_of({1: b"a" * 32}))
    with pytest.raises(BadBlockMapError):
        block_map_of(0, [])
    with pytest.raises(BadBlockMapError):
        block_map_of(BLOCK_BYTES, segments_of({0: b"a" * 32}) * 2)
    with pytest.raises(BadBlockMapError):
        block_map_of(1 << 40, [Segment(position=0, slots=[1, 0], digests=b"a" * 64)])


@given(st.sets(st.integers(0, 99)), st.integers(0, 100 * BLOCK_BYTES), st.integers(1, BLOCK_BYTES * 3))
def test_the_map_remembers(present, offset, length):
    size = 100 * BLOCK_BYTES
    presence = Presence.empty(size)
    for block in present:
        presence.add(block)
    again = Presence.of(presence.content(), size)
    assert {block for block in range(100) if block in again} == present
    touched = blocks_of(offset, length)
    assert touched[0] * BLOCK_BYTES <= offset < (touched[0] + 1) * BLOCK_BYTES
    assert touched[-1] * BLOCK_BYTES < offset + length <= (touched[-1] + 1) * BLOCK_BYTES
    with pytest.raises(BadBlockMapError):
        Presence.of(presence.content() + b"\0", size)
