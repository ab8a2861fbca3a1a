"""Where blocks are kept: what a directory and an S3 bucket both promise.

A block is kept under a name of its own: its digest and the number of this copy. A name is given once and never again,
so removing what was given up can never take a copy that came later (`resources/stored_blocks.py`).
"""

import re
import secrets
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final, Protocol, Self

from stead_proto.blocks import BLOCK_BYTES, BadBlockError, unpack
from stead_proto.v1.blocks_pb2 import COMPRESSION_UNSPECIFIED, COMPRESSION_ZSTD, Block

_COPY_BYTES: Final = 6
_PATH: Final = re.compile(r"([0-9a-f]{2})/([0-9a-f]{2})/([0-9a-f]{64})\.([0-9a-f]{12})\Z")
_PACKINGS: Final = {COMPRESSION_UNSPECIFIED: b"\0", COMPRESSION_ZSTD: b"\1"}
_PACKED: Final = {mark: packing for packing, mark in _PACKINGS.items()}

MOST_BYTES: Final = BLOCK_BYTES + 1
"""The most that a kept block takes: what cannot be compressed, and the byte that says so."""


class BlockStoreError(Exception):
    """The store cannot be used now: its disk is full or broken, its endpoint does not answer."""


class MissingBlockError(Exception):
    """A block that must be in the store is not."""


@dataclass(frozen=True, slots=True)
class BlockName:
    """The name of one copy of a block."""

    digest: bytes
    copy: str

    @classmethod
    def new(cls, digest: bytes) -> Self:
        """Give a name that no copy of this block has had."""
        return cls(digest, secrets.token_hex(_COPY_BYTES))

    @property
    def path(self) -> str:
        """Where it is kept, below the store: `ab/cd/abcd….0123456789ab`."""
        digits = self.digest.hex()
        return f"{digits[:2]}/{digits[2:4]}/{digits}.{self.copy}"

    @classmethod
    def of_path(cls, path: str) -> Self | None:
        """Give the name that is kept at a path; None where no name is."""
        found = _PATH.match(path)
        if found is None or not found[3].startswith(found[1] + found[2]):
            return None
        return cls(bytes.fromhex(found[3]), found[4])


@dataclass(frozen=True, slots=True)
class Kept:
    """A copy that a listing found, when it was written, and its size in bytes."""

    name: BlockName
    written: datetime
    size: int


class BlockFiles(Protocol):
    """Keeps blocks under their names; all calls block, so they are made off the event loop, several at a time."""

    def put(self, blocks: Sequence[tuple[BlockName, Block]]) -> None:
        """Keep blocks durably: when this returns they survive a power cut. Raises BlockStoreError."""

    def get(self, name: BlockName) -> Block:
        """Give a block whose content was checked by its digest.

        Raises MissingBlockError, BadBlockError for one that is corrupt or whose place on the disk cannot be read,
        BlockStoreError.
        """

    def remove(self, names: Sequence[BlockName]) -> None:
        """Remove copies; those that are not there are no error. Raises BlockStoreError."""

    def list_all(self) -> Iterator[Kept]:
        """List all copies, sorted by digest, without keeping the list in memory; raises BlockStoreError."""


def encode(block: Block) -> bytes:
    """Give the bytes that are kept of a block: one that says how it is packed, then its content."""
    return _PACKINGS[block.compression] + block.content


def decode(name: BlockName, kept: bytes) -> Block:
    """Give the block of what is kept of it, its content checked by its digest; raises BadBlockError."""
    if kept[:1] not in _PACKED or len(kept) > MOST_BYTES:
        raise BadBlockError(f"block {name.digest.hex()} is kept in no known way")
    block = Block(digest=name.digest, content=kept[1:], compression=_PACKED[kept[:1]])
    unpack(block)
    return block
