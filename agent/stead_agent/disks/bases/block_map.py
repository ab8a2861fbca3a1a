"""Which blocks a base consists of, where they are, and which of them have arrived. Pure."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Final

from stead_proto.blocks import BLOCK_BYTES, SEGMENT_BLOCKS, BadBlockError, digests_of
from stead_proto.v1.blocks_pb2 import Segment

MOST_BLOCKS: Final = (64 << 40) // BLOCK_BYTES
"""EBS's largest volume has 64 TiB."""


class BadBlockMapError(Exception):
    """The data received or stored about a base is inconsistent."""


@dataclass(frozen=True, slots=True)
class BlockMap:
    """A base: its size in bytes and the digest of each block that is not all zero."""

    size: int
    digests: dict[int, bytes]

    def span(self, block: int) -> tuple[int, int]:
        """Return the offset of a block and how many bytes of it are within the disk."""
        offset = block * BLOCK_BYTES
        return offset, min(BLOCK_BYTES, self.size - offset)

    def stored(self, offset: int, length: int) -> Iterator[int]:
        """List the blocks of a range that are not all zero."""
        return (block for block in blocks_of(offset, length) if block in self.digests)


def block_map_of(size: int, segments: Iterable[Segment]) -> BlockMap:
    """Build a base from its segments; raises BadBlockMapError."""
    digests: dict[int, bytes] = {}
    count = -(-size // BLOCK_BYTES)
    if not 0 < count <= MOST_BLOCKS:
        raise BadBlockMapError(f"a disk of {size} bytes")
    for segment in segments:
        first = segment.position * SEGMENT_BLOCKS
        try:
            found = digests_of(segment)
        except BadBlockError as error:
            raise BadBlockMapError(str(error)) from error
        for slot, digest in found.items():
            block = first + slot
            if block >= count or block in digests:
                raise BadBlockMapError(f"block {block} of a disk of {count}, or twice")
            digests[block] = digest
    return BlockMap(size, digests)


def blocks_of(offset: int, length: int) -> range:
    """List the blocks that a range touches."""
    return range(offset // BLOCK_BYTES, -(-(offset + length) // BLOCK_BYTES))


def same_content(block_map: BlockMap) -> dict[bytes, list[int]]:
    """Group blocks by content, in the order of their first positions: each content is fetched once."""
    places: dict[bytes, list[int]] = {}
    for block in sorted(block_map.digests):
        places.setdefault(block_map.digests[block], []).append(block)
    return places


class Presence:
    """Which blocks have arrived: one bit each."""

    def __init__(self, bits: bytearray) -> None:
        self._bits = bits

    @staticmethod
    def empty(size: int) -> "Presence":
        """Return an empty map for a disk of so many bytes."""
        count = -(-size // BLOCK_BYTES)
        return Presence(bytearray(-(-count // 8)))

    @staticmethod
    def of(content: bytes, size: int) -> "Presence":
        """Parse what `content` returned; raises BadBlockMapError when it is of another size."""
        presence = Presence(bytearray(content))
        if len(content) != len(Presence.empty(size).content()):
            raise BadBlockMapError("a presence map of another size")
        return presence

    def content(self) -> bytes:
        """Return the bits, to be stored."""
        return bytes(self._bits)

    def add(self, block: int) -> None:
        """Record that a block has arrived."""
        self._bits[block >> 3] |= 1 << (block & 7)

    def __contains__(self, block: int) -> bool:
        """Tell whether a block has arrived."""
        return bool(self._bits[block >> 3] >> (block & 7) & 1)
