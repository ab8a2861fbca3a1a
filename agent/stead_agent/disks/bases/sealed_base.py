"""A base that is encrypted on disk, and decrypted for its readers one block at a time.

Blocks are decrypted whole: those read last are cached, only in memory, because reads are smaller than blocks.
"""

from collections import OrderedDict
from typing import Final, Protocol

from stead_agent.disks.bases.block_map import blocks_of
from stead_agent.disks.nbd.server import Export
from stead_proto.blocks import BLOCK_BYTES, ZERO_BLOCK
from stead_proto.nbd.wire import Extent

_CACHED_BLOCKS: Final = 32  # blocks of 512 KiB


class Cipher(Protocol):
    """Decrypts blocks by their position on the disk (`stead_proto.block_cipher`)."""

    def decrypt(self, index: int, content: bytes) -> bytes:
        """Decrypt a whole block."""


class SealedBase:
    """Another export, decrypted; an `nbd.server.Export`, of one event loop."""

    def __init__(self, inner: Export, cipher: Cipher) -> None:
        """Read from `inner`, in which all-zero blocks are not encrypted, as they are not stored."""
        self.size = inner.size
        self._inner = inner
        self._cipher = cipher
        self._cache: OrderedDict[int, bytes] = OrderedDict()

    async def read(self, offset: int, length: int) -> bytes:
        """Read some bytes, as soon as they are there."""
        parts = []
        for block in blocks_of(offset, length):
            first = block * BLOCK_BYTES
            content = await self._block(block)
            parts.append(content[max(0, offset - first) : offset + length - first])
        return b"".join(parts)

    def extents(self, offset: int, length: int) -> list[Extent]:
        """Return the extents of the inner export."""
        return self._inner.extents(offset, length)

    async def _block(self, block: int) -> bytes:
        """Return a decrypted block; the last one may be partial, since XTS does not chain."""
        if block in self._cache:
            self._cache.move_to_end(block)
            return self._cache[block]
        first = block * BLOCK_BYTES
        stored = await self._inner.read(first, min(BLOCK_BYTES, self.size - first))
        whole = stored.ljust(BLOCK_BYTES, b"\0")
        content = whole if whole == ZERO_BLOCK else self._cipher.decrypt(block, whole)
        self._cache[block] = content
        if len(self._cache) > _CACHED_BLOCKS:
            self._cache.popitem(last=False)
        return content
