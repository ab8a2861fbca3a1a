"""An encrypted base reads as the disk that was encrypted, wherever a read begins and ends, and keeps few blocks."""

import asyncio

from hypothesis import given
from hypothesis import strategies as st

from stead_agent.disks.bases.sealed_base import _CACHED_BLOCKS, SealedBase
from stead_proto.block_cipher import BlockCipher
from stead_proto.blocks import BLOCK_BYTES, ZERO_BLOCK
from stead_proto.nbd.wire import Extent
from tests.support.fake_block_store import random_disk

SIZE = 5 * BLOCK_BYTES + 512
DISK = random_disk(4, SIZE, holes=0.3)
CIPHER = BlockCipher(bytes(range(32)))


def sealed(disk):
    blocks = [disk[at : at + BLOCK_BYTES].ljust(BLOCK_BYTES, b"\0") for at in range(0, len(disk), BLOCK_BYTES)]
    stored = [each if each == ZERO_BLOCK else CIPHER.encrypt(number, each) for number, each in enumerate(blocks)]
    return b"".join(stored)[: len(disk)]


class Stored:
    """What is in the file, and how often it was asked for."""

    def __init__(self, content):
        self.size = len(content)
        self.content = content
        self.reads = []

    async def read(self, offset, length):
        self.reads.append(offset)
        return self.content[offset : offset + length]

    def extents(self, offset, length):
        return [Extent(offset, length, 0)]


STORED = sealed(DISK)


@given(st.integers(0, SIZE - 1), st.integers(1, 3 * BLOCK_BYTES))
def test_any_read_is_of_the_disk(offset, length):
    length = min(length, SIZE - offset)
    base = SealedBase(Stored(STORED), CIPHER)
    assert asyncio.run(base.read(offset, length)) == DISK[offset : offset + length]
    assert base.extents(offset, length) == [Extent(offset, length, 0)]


def test_small_reads_decrypt_a_block_once_and_few_are_cached():
    inner = Stored(STORED)
    base = SealedBase(inner, CIPHER)

    async def read():
        for offset in range(0, BLOCK_BYTES, 65536):
            await base.read(offset, 65536)

    asyncio.run(read())
    assert inner.reads == [0]

    inner = Stored(bytes((_CACHED_BLOCKS + 3) * BLOCK_BYTES))
    base = SealedBase(inner, CIPHER)

    async def read_all():
        for block in range(_CACHED_BLOCKS + 3):
            assert await base.read(block * BLOCK_BYTES, 512) == bytes(512)

    asyncio.run(read_all())
    assert len(base._cache) == _CACHED_BLOCKS
