"""Writes a snapshot as a disk file, and converts that to another format; blocks are checked as they are read."""

import asyncio
import os
from collections.abc import Awaitable, Callable
from itertools import batched
from pathlib import Path
from typing import Final

from stead_controller.blocks import confinement
from stead_controller.blocks.store import BlockStore
from stead_proto.blocks import BLOCK_BYTES, SEGMENT_BLOCKS, digests_of, unpack
from stead_proto.v1.blocks_pb2 import Segment

FORMATS: Final = ("raw", "qcow2", "vmdk", "vhd")

_AT_ONCE: Final = 8  # blocks that are read in parallel, and in memory
_MIB: Final = 1 << 20
_SECONDS: Final = 60
_BYTES_PER_SECOND: Final = 8 * _MIB

type Progress = Callable[[int], None]
type NextSegments = Callable[[int], Awaitable[list[Segment]]]


async def write_disk(store: BlockStore, segments: NextSegments, path: Path, size: int, progress: Progress) -> None:
    """Write a disk of `size` bytes as a sparse file; `segments` returns some from a position on, in ascending order.

    `progress` is called with percents. Raises MissingBlockError, BadBlockError, BlockStoreError, OSError.
    """
    file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600)
    try:
        os.ftruncate(file, size)
        first = 0
        while found := await segments(first):
            for segment in found:
                await _write_segment(store, segment, file, size)
                progress(min(100, (segment.position + 1) * SEGMENT_BLOCKS * BLOCK_BYTES * 100 // size))
            first = found[-1].position + 1
    finally:
        os.close(file)
    progress(100)


async def _write_segment(store: BlockStore, segment: Segment, file: int, size: int) -> None:
    async def write(slot: int, digest: bytes) -> None:
        offset = (segment.position * SEGMENT_BLOCKS + slot) * BLOCK_BYTES
        content = unpack(await store.read(digest))
        await asyncio.to_thread(os.pwrite, file, content[: size - offset], offset)

    for batch in batched(digests_of(segment).items(), _AT_ONCE):
        await asyncio.gather(*(write(slot, digest) for slot, digest in batch))


def convert(disk: Path, image_format: str) -> Path:
    """Convert a raw disk to another format beside it, remove the raw one, and return the path; raises ConversionError.

    Both are alone in their folder. With `raw` the disk itself is returned.
    """
    if image_format == "raw":
        return disk
    size = disk.stat().st_size
    made = confinement.convert(disk, image_format, _SECONDS + size // _BYTES_PER_SECOND)
    disk.unlink()
    return made
