"""The block store: what segments refer to stays, what nothing refers to goes, at every interleaving that was thought of."""

import secrets

import pytest
from sqlalchemy import func, select

from stead_controller.blocks.interface import MissingBlockError
from stead_controller.db.tables import BlockSegment, CondemnedBlock, Snapshot, SnapshotSegment, StoredBlock, Volume
from stead_controller.errors import NotFound
from stead_controller.resources.storage import segments, snapshot_life, stored_blocks, written_snapshots
from stead_controller.resources.storage.block_names import BlockName
from stead_proto.blocks import BLOCK_BYTES, BadBlockError, make_segment, pack, unpack
from stead_proto.v1.blocks_pb2 import Block, Segment
from tests.support import rows


def noise():
    return pack(secrets.token_bytes(BLOCK_BYTES))


@pytest.fixture
def new_snapshot(run, world):
    """Add a pending snapshot and give its id."""

    def add(**changes):
        row = rows.snapshot(world.one.caller.account_id, state="pending", **changes)
        run(lambda tx: tx.session.add(row))
        return row.id

    return add


@pytest.fixture
def counts(run):
    """Count the rows of the store: blocks, segments, places of segments, condemned blocks."""

    def count(tx):
        tables = (StoredBlock, BlockSegment, SnapshotSegment, CondemnedBlock)
        return tuple(tx.session.scalar(select(func.count()).select_from(table)) for table in tables)

    return lambda: run(count)


@pytest.fixture
def complete(run, time):
    def end(snapshot_id):
        run(lambda tx: snapshot_life.complete(tx, tx.session.get_one(Snapshot, snapshot_id), time(), inherits=True))

    return end


@pytest.fixture
def delete(run):
    def begin(snapshot_id):
        run(lambda tx: snapshot_life.delete_snapshot(tx, tx.session.get_one(Snapshot, snapshot_id)))

    return begin


async def collect_all(store):
    while await store.collect():
        pass


async def bring(store, snapshot_id, *positions):
    """Bring segments of one fresh block each; gives the blocks."""
    brought = []
    for position in positions:
        block = noise()
        await store.bring([block])
        assert await store.place(snapshot_id, make_segment(position, {7: block.digest})) == []
        brought.append(block)
    return brought


async def test_a_segment_needs_its_blocks(store, new_snapshot, counts):
    snapshot_id = new_snapshot()
    first, second = noise(), noise()
    segment = make_segment(0, {0: first.digest, 3: second.digest, 5: first.digest})
    assert await store.missing(segment) == [0, 3]
    assert await store.place(snapshot_id, segment) == [0, 3]
    await store.bring([first])
    assert await store.place(snapshot_id, segment) == [3]
    assert counts() == (1, 0, 0, 0)
    await store.bring([second])
    assert await store.place(snapshot_id, segment) == []
    assert await store.place(snapshot_id, segment) == []
    assert await store.missing(segment) == []
    assert counts() == (2, 1, 1, 0)
    assert unpack(await store.read(second.digest)) == unpack(second)


async def test_only_pending_snapshots_take_segments(store, run, new_snapshot, delete):
    snapshot_id = new_snapshot()
    block = noise()
    await store.bring([block])
    segment = make_segment(0, {0: block.digest})
    delete(snapshot_id)
    for absent in (snapshot_id, "snap-00000000000000000"):
        with pytest.raises(NotFound):
            await store.place(absent, segment)
    with pytest.raises(BadBlockError):
        await store.place(new_snapshot(), make_segment(16, {0: block.digest}))
    with pytest.raises(BadBlockError):
        await store.place(new_snapshot(), Segment(position=0, slots=[1, 0], digests=block.digest * 2))


async def test_a_copy_counts_each_place_that_it_inherits(store, run, new_snapshot, complete, statements):
    parent = new_snapshot(size=40 << 29, volume_size=20)
    block, own = noise(), noise()
    await store.bring([block, own])
    for position in range(40):
        assert await store.place(parent, make_segment(position, {position % 2: block.digest})) == []
    complete(parent)
    child = new_snapshot(size=40 << 29, volume_size=20, parent_id=parent)
    assert await store.place(child, make_segment(3, {0: own.digest})) == []
    statements.clear()
    complete(child)
    assert len(statements) < 15, "not one for each segment"
    assert run(segments.positions, child) == list(range(40))
    used = select(BlockSegment.reference_count, func.count(SnapshotSegment.position)).join(SnapshotSegment)
    for count, places in run(lambda tx: tx.session.execute(used.group_by(BlockSegment.digest)).all()):
        assert count == places


async def test_a_damaged_block_fails_the_written_snapshot_that_needs_it_and_no_other(store, run, new_snapshot, time):
    bad, good = noise(), noise()
    await store.bring([bad, good])
    ids = [new_snapshot(id=f"snap-0000000000000000{n}", write_timeout=60, last_written=time()) for n in range(2)]

    def write(tx):
        for snapshot_id, block in zip(ids, (bad, good), strict=True):
            snapshot = tx.session.get_one(Snapshot, snapshot_id)
            written_snapshots.put(tx, snapshot, 3, block.digest, progress=0, now=time())
            tx.session.flush()
            written_snapshots.end(tx, snapshot, written_snapshots.Ending(1), time())

    run(write)
    name = await store.name_of(bad.digest)
    run(stored_blocks.mark_damaged, name)
    while await store.compose():
        pass
    states = run(lambda tx: [tx.session.get_one(Snapshot, each).state for each in ids])
    assert states == ["error", "completed"]
    assert run(segments.positions, ids[0]) == []
    await collect_all(store)
    assert run(lambda tx: tx.session.get_one(StoredBlock, bad.digest).reference_count) == 0


async def test_what_is_not_what_it_says_is_refused(store, counts):
    good, other = noise(), noise()
    with pytest.raises(BadBlockError):
        await store.bring([good, Block(digest=good.digest, content=other.content)])
    assert counts() == (0, 0, 0, 0)
    assert list(store._files.list_all()) == []


async def test_blocks_that_come_twice_are_stored_once(store, new_snapshot, counts):
    block = noise()
    await store.bring([block, block])
    await store.bring([block])
    assert counts() == (1, 0, 0, 0)
    assert len(list(store._files.list_all())) == 1
    assert await store.bring_contents([unpack(block)] * 2) == [block.digest] * 2
    assert counts() == (1, 0, 0, 0)


async def test_unused_blocks_go_after_the_grace(store, time, counts):
    block = noise()
    await store.bring([block])
    await collect_all(store)
    assert counts() == (1, 0, 0, 0)
    time.later(hours=2)
    await collect_all(store)
    assert counts() == (0, 0, 0, 0)
    assert list(store._files.list_all()) == []
    with pytest.raises(MissingBlockError):
        await store.read(block.digest)


@pytest.fixture
async def shared(store, new_snapshot, complete):
    """A snapshot and its child, which has one segment of its own and one that became all zero."""
    first = new_snapshot()
    await bring(store, first, 0, 1)
    complete(first)
    second = new_snapshot(parent_id=first)
    (changed,) = await bring(store, second, 1)
    await store.place(second, make_segment(2, {}))
    complete(second)
    return first, second, changed


async def test_what_snapshots_share_stays_with_the_last(store, run, shared, counts, delete):
    first, second, changed = shared
    time = store._clock
    sizes = run(lambda tx: [tx.session.get_one(Snapshot, one).stored_size for one in (first, second)])
    assert sizes == [2 * BLOCK_BYTES, 2 * BLOCK_BYTES]
    delete(first)
    time.later(hours=2)
    await collect_all(store)
    time.later(hours=2)
    await collect_all(store)
    assert counts() == (2, 3, 3, 0)
    listed = run(lambda tx: segments.page(tx, second, 0, 10))
    assert [segment.position for segment in listed] == [0, 1, 2]
    assert listed[1].digests == changed.digest
    for segment in listed[:2]:
        await store.read(segment.digests)
    delete(second)
    for _ in range(2):
        await collect_all(store)
        time.later(hours=2)
    await collect_all(store)
    assert counts() == (0, 0, 0, 0)
    assert list(store._files.list_all()) == []


async def test_a_parent_waits_for_its_child(store, run, new_snapshot, complete, delete):
    time = store._clock
    parent = new_snapshot()
    await bring(store, parent, 0)
    complete(parent)
    child = new_snapshot(parent_id=parent)
    delete(parent)
    time.later(hours=2)
    await collect_all(store)
    assert run(segments.positions, parent) == [0]
    complete(child)
    await collect_all(store)
    assert run(lambda tx: tx.session.get(Snapshot, parent)) is None
    assert run(segments.positions, child) == [0]


async def test_a_deleted_snapshot_stays_for_the_volumes_that_are_laid_over_it(
    store, run, new_snapshot, *, complete, delete, world
):
    """Their hosts may still ask for its blocks: a base comes while the guest runs."""
    time = store._clock
    snapshot_id = new_snapshot()
    (block,) = await bring(store, snapshot_id, 0)
    complete(snapshot_id)

    def lay(tx):
        volume = rows.volume(rows.launch(tx, world, world.one), world, snapshot_id=snapshot_id)
        tx.session.add(volume)
        return volume.id

    volume_id = run(lay)
    delete(snapshot_id)
    for _ in range(3):
        time.later(hours=2)
        await collect_all(store)
    assert run(segments.positions, snapshot_id) == [0]
    await store.read(block.digest)
    run(lambda tx: tx.session.delete(tx.session.get_one(Volume, volume_id)))
    for _ in range(3):
        time.later(hours=2)
        await collect_all(store)
    assert run(lambda tx: tx.session.get(Snapshot, snapshot_id)) is None
    assert list(store._files.list_all()) == []


async def test_a_condemned_block_is_brought_anew(store, time, run, new_snapshot, counts):
    """Killed between the condemnation and the removal; the block is needed again before that goes on."""
    snapshot_id = new_snapshot()
    block = noise()
    await store.bring([block])
    time.later(hours=2)
    run(stored_blocks.condemn_unused, time(), 10)
    (old,) = run(stored_blocks.condemned, 10)
    segment = make_segment(0, {0: block.digest})
    assert await store.place(snapshot_id, segment) == [0]
    await store.bring([block])
    assert await store.place(snapshot_id, segment) == []
    await collect_all(store)
    assert counts() == (1, 1, 1, 0)
    assert unpack(await store.read(block.digest)) == unpack(block)
    assert old not in {stored.name for stored in store._files.list_all()}


async def test_a_block_that_was_brought_anew_while_it_is_read(store, run, time, monkeypatch):
    block = noise()
    await store.bring([block])
    get = store._files.get
    tries = []

    def slow(name):
        tries.append(name)
        if len(tries) == 1:  # collected and brought again between the row and the file
            store._files.remove([name])
            run(lambda tx: tx.session.delete(tx.session.get_one(StoredBlock, block.digest)))
            new = BlockName.new(block.digest)
            store._files.put([(new, block)])
            run(stored_blocks.add, {new: 1}, time())
        return get(name)

    monkeypatch.setattr(store._files, "get", slow)
    assert await store.read(block.digest) == block
    assert len(tries) == 2


async def test_a_copy_that_came_too_late_goes(store, run, time):
    block = noise()
    early, late = BlockName.new(block.digest), BlockName.new(block.digest)
    store._files.put([(early, block), (late, block)])
    assert run(stored_blocks.add, {early: 1}, time()) == []
    assert run(stored_blocks.add, {late: 1}, time()) == [late]
    await store.collect()
    assert [stored.name for stored in store._files.list_all()] == [early]


async def test_the_snapshots_that_need_a_block_are_named(store, run, new_snapshot):
    first, second = new_snapshot(), new_snapshot()
    (one,) = await bring(store, first, 0)
    await store.place(second, make_segment(3, {7: one.digest}))
    (other,) = await bring(store, second, 1)
    needing = run(segments.needing, {one.digest, other.digest, bytes(32)})
    assert needing == {one.digest: {first, second}, other.digest: {second}, bytes(32): set()}
