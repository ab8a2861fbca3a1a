"""The interface of the places where blocks are stored: a directory or an S3 bucket.

A block is stored under its own name: its digest and the number of this copy. A name is used once and never again, so
the removal of an old copy can never remove a later one (`resources/storage/stored_blocks.py`).
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final, Protocol

from stead_controller.resources.storage.block_names import BlockName
from stead_proto.blocks import BLOCK_BYTES, BadBlockError, unpack
from stead_proto.v1.blocks_pb2 import COMPRESSION_UNSPECIFIED, COMPRESSION_ZSTD, Block

_PACKINGS: Final = {COMPRESSION_UNSPECIFIED: b"\0", COMPRESSION_ZSTD: b"\1"}
_PACKED: Final = {mark: packing for packing, mark in _PACKINGS.items()}

MOST_BYTES: Final = BLOCK_BYTES + 1
"""The most that a stored block takes: what cannot be compressed, and the byte that says so."""


class BlockStoreError(Exception):
    """The store cannot be used now: its disk is full or broken, or its endpoint does not answer."""


class MissingBlockError(Exception):
    """A block that must be in the store is missing."""


@dataclass(frozen=True, slots=True)
class ListedBlock:
    """A copy found by a listing, when it was written, and its size in bytes."""

    name: BlockName
    written: datetime
    size: int


class BlockFiles(Protocol):
    """Stores blocks under their names; all calls block, so they are made off the event loop, several at a time."""

    def put(self, blocks: Sequence[tuple[BlockName, Block]]) -> None:
        """Store blocks durably: when this returns they survive a power failure. Raises BlockStoreError."""

    def get(self, name: BlockName) -> Block:
        """Return a block whose content was checked by its digest.

        Raises MissingBlockError, BadBlockError for one that is corrupt or whose place on the disk cannot be read,
        BlockStoreError.
        """

    def remove(self, names: Sequence[BlockName]) -> None:
        """Remove copies; missing ones are not an error. Raises BlockStoreError."""

    def list_all(self) -> Iterator[ListedBlock]:
        """List all copies, sorted by digest, without holding the list in memory; raises BlockStoreError."""


def encode(block: Block) -> bytes:
    """Return the stored bytes of a block: one that states the compression, then its content."""
    return _PACKINGS[block.compression] + block.content


def decode(name: BlockName, stored: bytes) -> Block:
    """Return the block of stored bytes, its content checked by its digest; raises BadBlockError."""
    if stored[:1] not in _PACKED or len(stored) > MOST_BYTES:
        raise BadBlockError(f"block {name.digest.hex()} is stored in an unknown form")
    block = Block(digest=name.digest, content=stored[1:], compression=_PACKED[stored[:1]])
    unpack(block)
    return block
