"""Stores an image file as the content of a pending snapshot: its blocks are stored, segment by segment.

A segment is stored once all its blocks are durable, so a run after a kill finds most of them there. At most
a few blocks are in memory.
"""

import asyncio
from collections.abc import Callable, Iterator
from itertools import islice
from typing import Final

from stead_controller.blocks.image_blocks import Block, ImageBlocks
from stead_controller.blocks.interface import BlockStoreError
from stead_controller.blocks.store import BATCH, BlockStore
from stead_proto.block_cipher import BlockCipher
from stead_proto.blocks import BLOCK_BYTES, SEGMENT_BLOCKS, make_segment

_PASSES: Final = 3

type Progress = Callable[[int], None]


async def ingest(
    store: BlockStore,
    snapshot_id: str,
    open_image: Callable[[], ImageBlocks],
    progress: Progress,
    cipher: BlockCipher | None = None,
) -> None:
    """Store the blocks of an image as a pending snapshot's; `progress` is called with percents of the disk.

    With a cipher they are encrypted first.

    Raises BadImageError, BlockStoreError, NotFound for a snapshot that is not pending any more.
    """
    for _ in range(_PASSES):
        image = await asyncio.to_thread(open_image)
        try:
            if await _Pass(store, snapshot_id, image, progress, cipher).run():
                return
        finally:
            await asyncio.to_thread(image.close)
    raise BlockStoreError("blocks that were there are collected again and again")


class _Pass:
    """One pass over the whole file."""

    def __init__(
        self,
        store: BlockStore,
        snapshot_id: str,
        image: ImageBlocks,
        progress: Progress,
        cipher: BlockCipher | None,
    ) -> None:
        self._store = store
        self._snapshot_id = snapshot_id
        self._image = image
        self._progress = progress
        self._cipher = cipher
        self._position = -1
        self._slots: dict[int, bytes] = {}

    async def run(self) -> bool:
        """Return whether all was stored; not so where an existing block was collected before its segment was stored."""
        blocks = self._image.blocks()
        try:
            while batch := await asyncio.to_thread(_take, blocks):
                contents = await asyncio.to_thread(self._as_stored, batch)
                digests = await self._store.bring_contents(contents, compress=self._cipher is None)
                for block, digest in zip(batch, digests, strict=True):
                    position, slot = divmod(block.index, SEGMENT_BLOCKS)
                    if position != self._position:
                        if not await self._place():
                            return False
                        self._position = position
                    self._slots[slot] = digest
                self._progress(min(99, batch[-1].index * BLOCK_BYTES * 100 // self._image.size))
            return await self._place()
        finally:
            await asyncio.to_thread(_close, blocks)

    def _as_stored(self, batch: list[Block]) -> list[bytes]:
        if self._cipher is None:
            return [block.content for block in batch]
        return [self._cipher.encrypt(block.index, block.content) for block in batch]

    async def _place(self) -> bool:
        slots, self._slots = self._slots, {}
        if not slots:
            return True
        return not await self._store.place(self._snapshot_id, make_segment(self._position, slots))


def _take(blocks: Iterator[Block]) -> list[Block]:
    return list(islice(blocks, BATCH))


def _close(blocks: Iterator[Block]) -> None:
    """End a generator where it is, with the reader process that it has started."""
    close = getattr(blocks, "close", None)
    if close is not None:
        close()
