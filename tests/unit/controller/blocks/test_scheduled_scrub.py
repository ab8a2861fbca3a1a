"""Once in so many days each block is checked, in shares, over restarts; damage is logged with who needs it."""

import logging
import os
import secrets
from datetime import timedelta

import pytest

from stead_controller.blocks import scheduled_scrub
from stead_controller.blocks.interface import BlockStoreError
from stead_controller.blocks.scheduled_scrub import ScheduledScrub
from stead_controller.resources.storage import segments, stored_blocks
from stead_controller.resources.storage.block_names import BlockName
from stead_proto.blocks import BLOCK_BYTES, make_segment, pack
from tests.support import rows

COUNT = 10


@pytest.fixture
async def blocks(store):
    made = [pack(secrets.token_bytes(BLOCK_BYTES)) for _ in range(COUNT)]
    await store.bring(made)
    return sorted(made, key=lambda block: block.digest)


@pytest.fixture
def made(database, store, files, time, monkeypatch):
    """A maker of scrubs, one for each process; four blocks are checked at a time."""
    monkeypatch.setattr(scheduled_scrub, "_FEWEST", 4)

    def make(days=30):
        return ScheduledScrub(database, store, files, time, days)

    return make


@pytest.fixture
def read(store, monkeypatch):
    """The digests that are read."""
    found = []
    real = store.check

    async def reading(digest):
        found.append(digest)
        return await real(digest)

    monkeypatch.setattr(store, "check", reading)
    return found


async def test_all_blocks_are_checked_once_in_the_period_by_any_controller(blocks, made, read, time):
    for expected in (4, 8, 10, 10, 10):
        await made().run()
        assert len(read) == expected
    assert read == [block.digest for block in blocks]
    time.later(days=29)
    await made().run()
    assert len(read) == COUNT
    time.later(days=1)
    for _ in range(5):
        await made().run()
    assert len(read) == 2 * COUNT


async def test_damage_is_logged_with_the_affected_snapshots(blocks, made, run, *, world, files, caplog):
    snapshot = rows.snapshot(world.one.caller.account_id, state="pending")
    snapshot_id = snapshot.id
    run(lambda tx: tx.session.add(snapshot))
    run(segments.place, snapshot_id, make_segment(0, {3: blocks[7].digest}))
    (files._folder / run(stored_blocks.copies, [blocks[7].digest])[blocks[7].digest].path).unlink()
    orphan = BlockName.new(blocks[0].digest)
    files.put([(orphan, blocks[0])])
    moment = (rows.NOW - timedelta(hours=2)).timestamp()
    os.utime(files._folder / orphan.path, (moment, moment))
    with caplog.at_level(logging.INFO):
        for _ in range(3):
            await made().run()
    (damage,) = [one for one in caplog.records if one.message == "block_damaged"]
    assert (damage.digest, damage.snapshots) == (blocks[7].digest.hex(), [snapshot_id])
    (end,) = [one for one in caplog.records if one.message == "blocks_scrubbed"]
    assert (end.bad, end.orphans_removed) == (1, 1)


async def test_a_run_that_fails_is_repeated(blocks, made, read, store, monkeypatch):
    with monkeypatch.context() as patch:

        async def away(_digest):
            raise BlockStoreError("the bucket is away")

        patch.setattr(store, "check", away)
        with pytest.raises(BlockStoreError):
            await made().run()
    for _ in range(3):
        await made().run()
    assert len(read) == COUNT


async def test_never_is_never(blocks, made, read):
    await made(days=0).run()
    assert read == []
