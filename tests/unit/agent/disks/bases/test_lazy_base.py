"""A base that is read while it comes, over a disk that fails: readers get their bytes, and in the end it is whole."""

import asyncio
import errno
import hashlib
import threading
import time

import pytest

from stead_agent.disks.bases import lazy_base
from stead_agent.disks.bases.filling import Filling
from stead_agent.disks.bases.lazy_base import LazyBase
from stead_agent.disks.block_store import BlockStoreAway
from stead_proto.blocks import BLOCK_BYTES, digest_of, make_segment
from tests.support.waiting import wait_for

CONTENTS = [hashlib.shake_128(bytes([number])).digest(BLOCK_BYTES) for number in range(4)]
DISK = b"".join([*CONTENTS, CONTENTS[0]])  # the last block is as the first


class Store:
    """Has all blocks, at once."""

    def __init__(self):
        self.by_digest = {digest_of(content): content for content in CONTENTS}

    def fetch(self, _snapshot_id, digests, *, ahead):
        assert ahead > 0
        for digest in digests:
            yield self.by_digest[digest]


@pytest.fixture
def filling(tmp_path):
    digests = {number: digest_of(DISK[number * BLOCK_BYTES :][:BLOCK_BYTES]) for number in range(5)}
    with Filling(tmp_path, "snap-0123456789abcdef0", len(DISK), [make_segment(0, digests)]) as made:
        yield made


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EIO])
@pytest.mark.parametrize("good", [0, 1, 3])
async def test_blocks_that_cannot_be_stored_are_read_and_fetched_later(filling, monkeypatch, number, good):
    monkeypatch.setattr(lazy_base, "_LONGEST_PAUSE", 0.05)
    monkeypatch.setattr(lazy_base, "_QUIET_SECONDS", 0.0)
    put, puts = filling.put, []

    def failing(block, content):
        puts.append(block)
        if good < len(puts) <= good + 3:
            raise OSError(number, "the disk")
        put(block, content)

    monkeypatch.setattr(filling, "put", failing)
    base = LazyBase(filling, Store(), lambda: False)
    base.start()
    try:
        assert await asyncio.wait_for(base.read(100, len(DISK) - 200), 60) == DISK[100:-100]
        await asyncio.wait_for(base.whole.wait(), 60)
    finally:
        base.close()
    assert list(filling.missing()) == []
    assert filling.path.read_bytes() == DISK
    assert len(puts) > good + 3


class AwayStore:
    """Cannot be reached; notes when it was tried, and by which of the two streams."""

    def __init__(self):
        self.tries = {"asked": [], "behind": []}

    def fetch(self, _snapshot_id, _digests, *, ahead):
        assert ahead > 0
        self.tries[threading.current_thread().name].append(time.monotonic())
        raise BlockStoreAway("nobody listens")
        yield b""


async def test_a_store_that_is_away_is_tried_less_and_less_often(filling):
    """A failure of the one stream does not make the other try at once."""
    store = AwayStore()
    base = LazyBase(filling, store, lambda: False)
    base.start()
    try:
        await asyncio.to_thread(wait_for, lambda: all(len(tries) >= 4 for tries in store.tries.values()), "four tries")
    finally:
        base.close()
    for first, second, third, fourth, *_later in store.tries.values():
        assert second - first >= 0.1
        assert third - second >= 0.2
        assert fourth - third >= 0.4
