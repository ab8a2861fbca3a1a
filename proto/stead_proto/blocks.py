"""How a disk is cut into blocks and segments, by what these are known, and how a block is packed to travel and to keep.

Both sides must agree: the agent cuts and packs, the controller stores, any agent unpacks. See `v1/blocks.proto`.
"""

import hashlib
import itertools
from collections.abc import Sequence
from typing import Final

import zstandard

from stead_proto.v1.blocks_pb2 import COMPRESSION_UNSPECIFIED, COMPRESSION_ZSTD, Block, Segment

BLOCK_BYTES: Final = 512 * 1024
"""EBS's block size (https://docs.aws.amazon.com/ebs/latest/userguide/ebs-accessing-snapshot.html)."""

SEGMENT_BLOCKS: Final = 1024
"""Blocks of a segment: 512 MiB of the disk."""

DIGEST_BYTES: Final = 32

ZERO_BLOCK: Final = bytes(BLOCK_BYTES)

_LEVEL: Final = 1  # on guests' disks, higher ones cost several times the time for some percent
_MAX_WINDOW: Final = 8 << 20  # bytes that unpacking may keep


class BadBlockError(Exception):
    """A block or segment is not what it is said to be."""


def digest_of(content: bytes) -> bytes:
    """Give the SHA-256 by which a block is known."""
    return hashlib.sha256(content).digest()


def pack(content: bytes, *, compress: bool = True) -> Block:
    """Pack a whole block for the way; what is encrypted would not become smaller."""
    packed = zstandard.ZstdCompressor(level=_LEVEL).compress(content) if compress else content
    if len(packed) < len(content):
        return Block(digest=digest_of(content), content=packed, compression=COMPRESSION_ZSTD)
    return Block(digest=digest_of(content), content=content, compression=COMPRESSION_UNSPECIFIED)


def unpack(block: Block) -> bytes:
    """Give a block's content, checked by its digest; raises BadBlockError.

    Of a frame that holds more than a block no more is unpacked, whatever its header claims.
    """
    content = block.content
    if block.compression == COMPRESSION_ZSTD:
        try:
            content = (
                zstandard.ZstdDecompressor(max_window_size=_MAX_WINDOW).stream_reader(content).read(BLOCK_BYTES + 1)
            )
        except zstandard.ZstdError as error:
            raise BadBlockError(f"block {block.digest.hex()} cannot be unpacked: {error}") from error
    elif block.compression != COMPRESSION_UNSPECIFIED:
        raise BadBlockError(f"block {block.digest.hex()} is packed in a way that is not known here")
    if len(content) != BLOCK_BYTES or digest_of(content) != block.digest:
        raise BadBlockError(f"block {block.digest.hex()} has another content")
    return content


def make_segment(position: int, digests: dict[int, bytes]) -> Segment:
    """Make a segment of its blocks' digests by slot."""
    slots = sorted(digests)
    return Segment(position=position, slots=slots, digests=b"".join(digests[slot] for slot in slots))


def digests_of(segment: Segment) -> dict[int, bytes]:
    """Give the digests of a segment by slot; raises BadBlockError for one that is malformed."""
    slots: Sequence[int] = segment.slots
    if len(segment.digests) != DIGEST_BYTES * len(slots):
        raise BadBlockError("a segment whose slots and digests differ in number")
    if any(late <= early for early, late in itertools.pairwise(slots)) or (slots and slots[-1] >= SEGMENT_BLOCKS):
        raise BadBlockError("a segment whose slots are not ascending or too many")
    return {
        slot: segment.digests[at : at + DIGEST_BYTES]
        for slot, at in zip(slots, range(0, len(segment.digests), DIGEST_BYTES), strict=True)
    }


def segment_digest(segment: Segment) -> bytes:
    """Give the SHA-256 by which the content of a segment, wherever it stands, is known."""
    whole = hashlib.sha256()
    for slot in segment.slots:
        whole.update(slot.to_bytes(2, "big"))
    whole.update(segment.digests)
    return whole.digest()
