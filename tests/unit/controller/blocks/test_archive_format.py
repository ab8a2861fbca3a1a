"""Pieces of archived snapshots: what is packed comes back, and what is of another archive or place is refused."""

import random

import pytest
import zstandard
from hypothesis import given, settings
from hypothesis import strategies as st

from stead_controller.blocks import archive_format
from stead_controller.blocks.archive_format import PIECE_BLOCKS, pack_piece, unpack_piece
from stead_proto.blocks import BLOCK_BYTES, ZERO_BLOCK, BadBlockError
from tests.support.examples import examples

HEAD = 32


def noise(seed):
    return random.Random(seed).randbytes(BLOCK_BYTES)


def text(seed):
    return (f"{seed} is said again and again, " * BLOCK_BYTES)[:BLOCK_BYTES].encode()


KINDS = [noise, text, lambda _seed: ZERO_BLOCK, lambda _seed: b"\1" + bytes(BLOCK_BYTES - 1)]
pieces = st.dictionaries(
    st.integers(0, PIECE_BLOCKS - 1), st.tuples(st.sampled_from(KINDS), st.integers(0, 2)), max_size=5
)


@settings(deadline=None, max_examples=examples(15))
@given(pieces, st.integers(0, 2**31))
def test_what_is_packed_comes_back(piece, position):
    contents = {place: make(seed) for place, (make, seed) in piece.items()}
    chunks = pack_piece("snap-1", position, contents)
    assert {len(chunk) for chunk in chunks} == {BLOCK_BYTES}
    assert unpack_piece("snap-1", position, chunks) == contents


def test_a_full_piece_of_noise_takes_little_more_than_its_blocks():
    contents = {place: noise(place) for place in range(PIECE_BLOCKS)}
    chunks = pack_piece("snap-1", 7, contents)
    assert len(chunks) == PIECE_BLOCKS + 1
    assert unpack_piece("snap-1", 7, chunks) == contents


def test_what_blocks_have_in_common_is_stored_once():
    common = noise(1)
    contents = {place: common[place:] + common[:place] for place in range(PIECE_BLOCKS)}
    assert len(pack_piece("snap-1", 0, contents)) == 2


def test_no_chunk_is_one_of_another_archive_or_place():
    contents = {0: noise(1), 5: noise(2)}
    kinds = [("snap-1", 0), ("snap-2", 0), ("snap-1", 1)]
    found = [chunk for kind in kinds for chunk in pack_piece(*kind, contents)]
    assert len(set(found)) == len(found) == 9
    for kind in kinds:
        for other in kinds:
            if kind != other:
                with pytest.raises(BadBlockError, match="is not of the archive"):
                    unpack_piece(*kind, pack_piece(*other, contents))


def test_chunks_in_another_order_are_refused():
    chunks = pack_piece("snap-1", 0, {0: noise(1), 1: noise(2)})
    with pytest.raises(BadBlockError, match="is not of the archive"):
        unpack_piece("snap-1", 0, chunks[::-1])


def repacked(whole):
    """A piece whose frame has any content."""
    packed = zstandard.ZstdCompressor().compress(whole)
    return [archive_format._chunk("snap-1", 0, 0, packed)]


@pytest.mark.parametrize(
    "whole",
    [b"", b"\1", b"\1" + bytes(33) + ZERO_BLOCK[1:], b"\0more", b"\1" + bytes(33) + ZERO_BLOCK + b"more"],
)
def test_a_piece_of_another_length_is_refused(whole):
    with pytest.raises(BadBlockError, match="has another length"):
        unpack_piece("snap-1", 0, repacked(whole))


def test_a_block_that_is_not_what_its_digest_says_is_refused():
    with pytest.raises(BadBlockError, match="has another content"):
        unpack_piece("snap-1", 0, repacked(b"\1" + bytes(33) + ZERO_BLOCK))


def test_what_is_no_frame_or_not_a_whole_one_is_refused():
    chunks = pack_piece("snap-1", 0, {0: noise(1), 1: noise(2)})
    with pytest.raises(BadBlockError):
        unpack_piece("snap-1", 0, chunks[:1])
    with pytest.raises(BadBlockError, match="cannot be unpacked"):
        unpack_piece("snap-1", 0, [chunks[0][:HEAD] + b"\1" + chunks[0][HEAD + 1 :]])
