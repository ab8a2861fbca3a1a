"""How a disk is cut into blocks and segments, how these are identified, and how a block is packed.

Both sides must agree: an agent cuts and packs, the controller stores, any agent unpacks. See `v1/blocks.proto`.
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

_LEVEL: Final = 1  # on guests' disks, higher levels take several times as long and save a few percent
_MAX_WINDOW: Final = 8 << 20  # bytes of memory for unpacking


class BadBlockError(Exception):
    """A block or segment is not what it is said to be."""


def digest_of(content: bytes) -> bytes:
    """Return the SHA-256 that identifies a block."""
    return hashlib.sha256(content).digest()


def pack(content: bytes, *, compress: bool = True) -> Block:
    """Pack a whole block for sending; encrypted content should not be compressed, as it would not become smaller."""
    packed = zstandard.ZstdCompressor(level=_LEVEL).compress(content) if compress else content
    if len(packed) < len(content):
        return Block(digest=digest_of(content), content=packed, compression=COMPRESSION_ZSTD)
    return Block(digest=digest_of(content), content=content, compression=COMPRESSION_UNSPECIFIED)


def unpack(block: Block) -> bytes:
    """Return a block's content, checked by its digest; raises BadBlockError.

    At most one block's length is unpacked from a frame, whatever its header claims.
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
    """Make a segment from its blocks' digests by slot."""
    slots = sorted(digests)
    return Segment(position=position, slots=slots, digests=b"".join(digests[slot] for slot in slots))


def digests_of(segment: Segment) -> dict[int, bytes]:
    """Return the digests of a segment by slot; raises BadBlockError for a malformed one."""
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
    """Return the SHA-256 that identifies the content of a segment, independent of its position."""
    whole = hashlib.sha256()
    for slot in segment.slots:
        whole.update(slot.to_bytes(2, "big"))
    whole.update(segment.digests)
    return whole.digest()
