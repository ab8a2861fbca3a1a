"""The scrub finds every damage, names who needs it, removes what nobody knows and takes nothing else."""

import os
import secrets
from datetime import timedelta

import pytest

from stead_controller.blocks.scrub import scrub
from stead_controller.resources.storage import segments, stored_blocks
from stead_controller.resources.storage.block_names import BlockName
from stead_proto.blocks import BLOCK_BYTES, make_segment, pack, unpack
from tests.support import rows


def noise():
    return pack(secrets.token_bytes(BLOCK_BYTES))


@pytest.fixture
async def stored(store, run, world):
    """Four blocks; two snapshots have the first, one the second, none the others."""
    blocks = [noise() for _ in range(4)]
    await store.bring(blocks)
    snapshots = [rows.snapshot(world.one.caller.account_id, state="pending") for _ in range(2)]
    snapshot_ids = [snapshot.id for snapshot in snapshots]
    run(lambda tx: tx.session.add_all(snapshots))
    run(segments.place, snapshot_ids[0], make_segment(0, {0: blocks[0].digest, 1: blocks[1].digest}))
    run(segments.place, snapshot_ids[1], make_segment(2, {0: blocks[0].digest}))
    return blocks, snapshot_ids


@pytest.fixture
def path_of(run, files):
    def find(block):
        return files._folder / run(stored_blocks.copies, [block.digest])[block.digest].path

    return find


@pytest.fixture
def check(database, store, files, time):
    async def run_it():
        last = None
        async for found in scrub(database, store, files, time):
            last = found
        return last

    return run_it


async def test_all_is_well(stored, check):
    found = await check()
    assert (found.blocks, found.blocks_done, found.bad_blocks, found.orphans_removed) == (4, 4, 0, 0)
    assert found.bytes_done == 4 * (BLOCK_BYTES + 1)


async def test_an_empty_store(check):
    found = await check()
    assert (found.blocks, found.blocks_done, found.damaged) == (0, 0, [])


async def test_damage_is_named_with_those_who_need_it(stored, check, path_of):
    blocks, snapshot_ids = stored
    path_of(blocks[0]).unlink()
    path = path_of(blocks[1])
    content = path.read_bytes()
    path.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    path_of(blocks[2]).unlink()
    found = await check()
    assert (found.blocks_done, found.bad_blocks) == (4, 3)
    needing = {damage.digest: damage.snapshot_ids for damage in found.damaged}
    assert needing == {
        blocks[0].digest: sorted(snapshot_ids),
        blocks[1].digest: [snapshot_ids[0]],
        blocks[2].digest: [],
    }
    errors = {damage.digest: damage.error for damage in found.damaged}
    assert "not in the store" in errors[blocks[0].digest]
    assert "another content" in errors[blocks[1].digest]


async def test_files_that_no_row_knows_go(stored, check, files, path_of, run):
    blocks, _ = stored
    old, young, condemned = (BlockName.new(blocks[0].digest) for _ in range(3))
    files.put([(old, blocks[0]), (young, blocks[0]), (condemned, blocks[0])])
    run(stored_blocks.add, {condemned: 1}, rows.NOW)
    moments = {old: 2, young: 0, condemned: 2}
    for name, hours in moments.items():
        moment = (rows.NOW - timedelta(hours=hours)).timestamp()
        os.utime(files._folder / name.path, (moment, moment))
    found = await check()
    assert (found.orphans_removed, found.bad_blocks) == (1, 0)
    left = {one.name for one in files.list_all()}
    assert {young, condemned} <= left
    assert old not in left
    assert path_of(blocks[0]).exists()


async def test_what_is_collected_meanwhile_is_no_damage(stored, check, store, run, monkeypatch):
    blocks, _ = stored
    check_block = store.check

    async def collected_before(digest):
        if digest == blocks[3].digest:
            run(stored_blocks.condemn_unused, rows.NOW + timedelta(hours=1), 10)
            await store.collect()
        return await check_block(digest)

    monkeypatch.setattr(store, "check", collected_before)
    assert (await check()).bad_blocks == 0


async def test_what_is_damaged_is_mended_by_who_has_the_same(stored, check, store, run, path_of):
    blocks, _ = stored
    broken = path_of(blocks[0])
    broken.write_bytes(b"?")
    path_of(blocks[1]).unlink()
    await check()
    segment = make_segment(0, {0: blocks[0].digest, 1: blocks[1].digest})
    snapshot = rows.snapshot("111111111111", state="pending")
    snapshot_id = snapshot.id
    run(lambda tx: tx.session.add(snapshot))
    # It is the very segment of the other snapshot, and yet its blocks are asked for.
    assert await store.place(snapshot_id, segment) == [0, 1]
    assert await store.missing(segment) == [0, 1]
    await store.bring(blocks[:2])
    assert await store.place(snapshot_id, segment) == []
    assert not broken.exists()
    assert await store.read(blocks[0].digest) == blocks[0]
    assert (await check()).bad_blocks == 0
    assert await store.missing(segment) == []


async def test_a_damaged_block_is_no_ground_for_a_new_segment(stored, check, store, run, path_of):
    blocks, (snapshot_id, _) = stored
    path_of(blocks[2]).unlink()
    await check()
    segment = make_segment(5, {9: blocks[2].digest})
    assert await store.place(snapshot_id, segment) == [9]
    assert await store.bring_contents([unpack(blocks[2])]) == [blocks[2].digest]
    assert await store.place(snapshot_id, segment) == []
