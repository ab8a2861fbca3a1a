"""Archiving and restoring over a real block store: what is stored then, byte for byte, and after a kill at any step."""

import random
from datetime import UTC, datetime, timedelta
from functools import partial

import pytest
from sqlalchemy import func, select

from stead_controller.blocks.directory import BlockDirectory
from stead_controller.blocks.scrub import remove_orphans
from stead_controller.blocks.store import BlockStore
from stead_controller.db.tables import (
    ArchivedPiece,
    BlockSegment,
    Image,
    Snapshot,
    SnapshotDamage,
    SnapshotSegment,
    SnapshotTier,
    StoredBlock,
)
from stead_controller.resources.storage import (
    archived_pieces,
    delete_snapshot,
    segments,
    snapshot_life,
    snapshot_tier_life,
    snapshot_tiers,
    stored_blocks,
)
from stead_controller.resources.storage.snapshot_tiers import RestoreRequest
from stead_controller.workflows.engine import Done, GiveUp, Wait
from stead_controller.workflows.snapshot_tiers import ArchiveSnapshot, RestoreSnapshot
from stead_proto.blocks import BLOCK_BYTES, SEGMENT_BLOCKS, BadBlockError, digests_of, make_segment, pack, unpack
from tests.support import rows
from tests.unit.controller.blocks.test_kills import Fate, Killed, MortalDatabase, MortalFiles


def noise(seed):
    return random.Random(seed).randbytes(BLOCK_BYTES)


# Two segments, of which the first has three pieces; the last block is that of another snapshot too.
CONTENT = {0: noise(0), 1: noise(1), 63: noise(2), 64: bytes([7]) * BLOCK_BYTES, 1023: noise(3), 1024: noise(4)}
SHARED = {1024: noise(4), 1030: noise(5)}


class Cloud:
    """A block store, and an account with snapshots in it."""

    def __init__(self, database, files, store, world, time):
        self.database, self.files, self.store, self.world, self.time = database, files, store, world, time
        self.caller = world.one.caller

    def run(self, function, *args):
        return self.database.run_blocking(lambda tx: function(tx, *args))

    async def take(self, content, **changes):
        """A complete snapshot with a content, by block."""
        size = 8 * SEGMENT_BLOCKS * BLOCK_BYTES
        row = rows.snapshot(self.caller.account_id, state="pending", completed=None, size=size, **changes)
        snapshot_id = row.id
        self.run(lambda tx: tx.session.add(row))
        for position in sorted({index // SEGMENT_BLOCKS for index in content}):
            here = {
                index % SEGMENT_BLOCKS: one for index, one in content.items() if index // SEGMENT_BLOCKS == position
            }
            blocks = {slot: pack(one) for slot, one in here.items()}
            await self.store.bring(list(blocks.values()))
            segment = make_segment(position, {slot: block.digest for slot, block in blocks.items()})
            assert await self.store.place(snapshot_id, segment) == []
        self.run(lambda tx: snapshot_life.complete(tx, tx.session.get_one(Snapshot, snapshot_id), self.time()))
        return snapshot_id

    def archive(self, snapshot_id):
        return self.run(lambda tx: snapshot_tiers.archive(tx, self.caller, snapshot_id, self.time()).operation_id)

    def restore(self, snapshot_id, days=None):
        asked = RestoreRequest(snapshot_id, days, permanent=days is None)
        return self.run(lambda tx: snapshot_tiers.restore(tx, self.caller, asked, self.time()).operation_id)

    def life(self, kind, operation_id, snapshot_id, database=None, store=None):
        facts = {"snapshot": snapshot_id}
        return kind(database or self.database, self.time, operation_id, facts, store=store or self.store)

    async def archived(self, snapshot_id):
        life = self.life(ArchiveSnapshot, self.archive(snapshot_id), snapshot_id)
        assert await life.begin() == Done()
        await self.collect()

    async def restored(self, snapshot_id, days=None):
        life = self.life(RestoreSnapshot, self.restore(snapshot_id, days), snapshot_id)
        assert await life.begin() == Done()

    async def collect(self):
        """Remove all that nothing refers to."""
        while await self.store.collect():
            pass
        self.time.later(hours=2)
        while await self.store.collect():
            pass

    async def read(self, snapshot_id):
        """All of a snapshot, by block."""
        found = {}
        for segment in self.run(segments.page, snapshot_id, 0, 100):
            for slot, digest in digests_of(segment).items():
                found[segment.position * SEGMENT_BLOCKS + slot] = unpack(await self.store.read(digest))
        return found

    def tier(self, snapshot_id):
        return self.run(lambda tx: tx.session.get_one(SnapshotTier, snapshot_id))

    def shown(self, snapshot_id):
        def read(tx):
            row, tier = tx.session.get_one(Snapshot, snapshot_id), tx.session.get_one(SnapshotTier, snapshot_id)
            return row.storage_tier, f"{tier.operation}-{tier.status}", tier.progress

        return self.run(read)

    def stored(self):
        """The names of all blocks that are there: in rows, and as files."""
        names = {listed.name for listed in self.files.list_all()}
        listed = set(
            self.run(lambda tx: stored_blocks.copies(tx, tx.session.scalars(select(StoredBlock.digest)))).values()
        )
        assert names == listed
        return {name.digest for name in names}

    def count(self, table):
        return self.run(lambda tx: tx.session.scalars(select(func.count()).select_from(table)).one())


@pytest.fixture
def cloud(database, files, store, world, time):
    return Cloud(database, files, store, world, time)


def digests(content):
    return {pack(one).digest for one in content.values()}


async def test_an_archive_is_a_copy_by_itself_and_comes_back_byte_for_byte(cloud):
    snapshot_id = await cloud.take(CONTENT)
    other = await cloud.take(SHARED)
    before = cloud.stored()
    await cloud.archived(snapshot_id)
    assert cloud.shown(snapshot_id) == ("archive", "archival-completed", 100)
    assert await cloud.read(snapshot_id) == {}
    assert await cloud.read(other) == SHARED
    kept = cloud.stored()
    assert kept & before == digests(SHARED), "only what the other one has is left of the blocks"
    assert cloud.run(archived_pieces.blocks, snapshot_id) == len(CONTENT)
    assert cloud.run(archived_pieces.positions, snapshot_id) == [0, 1, 15, 16]
    await cloud.restored(snapshot_id)
    assert cloud.shown(snapshot_id) == ("standard", "permanent-restore-completed", 100)
    assert await cloud.read(snapshot_id) == CONTENT
    await cloud.collect()
    assert cloud.stored() == before, "the archive is gone, and nothing else"
    assert await cloud.read(snapshot_id) == CONTENT
    cloud.run(lambda tx: delete_snapshot.delete(tx, cloud.caller, snapshot_id, cloud.time()))
    await cloud.collect()
    assert cloud.stored() == digests(SHARED)


async def test_one_that_is_restored_for_days_is_in_the_archive_all_the_time(cloud):
    snapshot_id = await cloud.take(CONTENT)
    await cloud.archived(snapshot_id)
    kept = cloud.stored()
    await cloud.restored(snapshot_id, 3)
    await cloud.collect()
    assert cloud.shown(snapshot_id)[:2] == ("standard", "temporary-restore-completed")
    assert cloud.stored() == kept | digests(CONTENT)
    cloud.time.later(days=4)
    cloud.run(lambda tx: snapshot_tier_life.archive_again(tx, cloud.time()))
    await cloud.collect()
    assert cloud.shown(snapshot_id)[0] == "archive"
    assert cloud.stored() == kept
    await cloud.restored(snapshot_id)
    assert await cloud.read(snapshot_id) == CONTENT


async def test_archives_of_equal_disks_share_nothing(cloud):
    found = []
    for _ in range(2):
        snapshot_id = await cloud.take(CONTENT)
        before = cloud.stored()
        await cloud.archived(snapshot_id)
        found.append(cloud.stored() - before)
    assert not found[0] & found[1]
    assert len(found[0]) == len(found[1]) >= 4


async def test_an_empty_disk_can_be_archived(cloud):
    snapshot_id = await cloud.take({})
    await cloud.archived(snapshot_id)
    assert cloud.stored() == set()
    await cloud.restored(snapshot_id)
    assert await cloud.read(snapshot_id) == {}


async def test_what_a_volume_was_made_of_stays_while_it_is_there(cloud):
    snapshot_id = await cloud.take(CONTENT)
    instance_id = cloud.run(lambda tx: rows.launch(tx, cloud.world, cloud.world.one).id)

    def made(tx):
        volume = tx.session.scalars(select(rows.Volume).where(rows.Volume.instance_id == instance_id)).first()
        volume.snapshot_id = snapshot_id
        return volume.id

    volume_id = cloud.run(made)
    await cloud.archived(snapshot_id)
    assert await cloud.read(snapshot_id) == CONTENT, "its host may still ask for it"

    def gone(tx):
        tx.session.get_one(rows.Volume, volume_id).snapshot_id = None

    cloud.run(gone)
    await cloud.collect()
    assert await cloud.read(snapshot_id) == {}


async def test_what_a_child_that_is_taken_needs_stays_until_it_is_complete(cloud):
    parent = await cloud.take(CONTENT)
    child = rows.snapshot(cloud.caller.account_id, state="pending", completed=None, parent_id=parent)
    child_id = child.id
    cloud.run(lambda tx: tx.session.add(child))
    await cloud.archived(parent)
    cloud.run(
        lambda tx: snapshot_life.complete(tx, tx.session.get_one(Snapshot, child_id), cloud.time(), inherits=True)
    )
    await cloud.collect()
    assert await cloud.read(child_id) == CONTENT
    assert await cloud.read(parent) == {}


async def test_an_image_that_is_made_meanwhile_stops_it(cloud):
    snapshot_id = await cloud.take(CONTENT)
    before = cloud.stored()
    life = cloud.life(ArchiveSnapshot, cloud.archive(snapshot_id), snapshot_id)
    image = rows.image(account_id=cloud.caller.account_id, snapshot_id=snapshot_id, name="own")
    image_id = image.id

    def register(tx):
        tx.session.add(image)
        tx.session.flush()
        tx.session.add(rows.image_device(image))

    cloud.run(register)
    assert await life.begin() == Done()
    assert cloud.shown(snapshot_id)[:2] == ("standard", "archival-failed")
    assert cloud.tier(snapshot_id).detail == snapshot_tier_life.IN_USE
    await cloud.collect()
    assert cloud.stored() == before, "what was packed is gone"
    cloud.run(lambda tx: setattr(tx.session.get_one(Image, image_id), "state", "disabled"))
    await cloud.archived(snapshot_id)
    assert cloud.shown(snapshot_id)[0] == "archive"


@pytest.mark.parametrize("direction", ["archive", "restore"])
async def test_one_that_is_deleted_meanwhile_leaves_nothing(cloud, direction, monkeypatch):
    snapshot_id = await cloud.take(CONTENT)
    if direction == "archive":
        life = cloud.life(ArchiveSnapshot, cloud.archive(snapshot_id), snapshot_id)
    else:
        await cloud.archived(snapshot_id)
        life = cloud.life(RestoreSnapshot, cloud.restore(snapshot_id), snapshot_id)
    bring, calls = life.bring, []

    async def bring_and_delete(*args, **kwargs):
        found = await bring(*args, **kwargs)
        calls.append(1)
        if len(calls) == 2:
            cloud.run(lambda tx: delete_snapshot.delete(tx, cloud.caller, snapshot_id, cloud.time()))
        return found

    monkeypatch.setattr(life, "bring", bring_and_delete)
    assert await life.begin() == Done()
    assert len(calls) < 4, "it stopped soon"
    await cloud.collect()
    assert cloud.stored() == set()
    for table in (ArchivedPiece, SnapshotSegment, BlockSegment, SnapshotTier):
        assert cloud.count(table) == 0
    assert await life.begin() == Done()
    await life.fail("late")


async def test_a_block_that_is_damaged_gives_it_up_and_the_snapshot_stays(cloud):
    snapshot_id = await cloud.take(CONTENT)
    [name] = cloud.run(lambda tx: stored_blocks.copies(tx, [pack(CONTENT[1024]).digest])).values()
    (cloud.files._folder / name.path).write_bytes(b"\0bad")
    life = cloud.life(ArchiveSnapshot, cloud.archive(snapshot_id), snapshot_id)
    with pytest.raises(GiveUp, match="are damaged"):
        await life.begin()
    await life.fail("Blocks are damaged.")
    assert cloud.shown(snapshot_id)[:2] == ("standard", "archival-failed")
    assert cloud.tier(snapshot_id).detail == "Blocks are damaged."
    assert cloud.run(lambda tx: tx.session.get_one(Snapshot, snapshot_id).state) == "error"
    await cloud.collect()
    assert cloud.count(ArchivedPiece) == 0


async def test_an_archive_that_is_damaged_is_told_of_and_not_restored(cloud):
    snapshot_id = await cloud.take(CONTENT)
    await cloud.archived(snapshot_id)
    chunk = cloud.run(archived_pieces.chunks, snapshot_id, 15)[0]
    [name] = cloud.run(lambda tx: stored_blocks.copies(tx, [chunk])).values()
    sound = (cloud.files._folder / name.path).read_bytes()
    (cloud.files._folder / name.path).write_bytes(b"\0bad")
    life = cloud.life(RestoreSnapshot, cloud.restore(snapshot_id), snapshot_id)
    with pytest.raises(GiveUp, match="is damaged"):
        await life.begin()
    await life.fail("It is damaged.")
    assert cloud.shown(snapshot_id)[:2] == ("archive", "permanent-restore-failed")
    assert cloud.run(lambda tx: tx.session.get_one(Snapshot, snapshot_id).state) == "error"
    (cloud.files._folder / name.path).write_bytes(sound)
    await cloud.store.read(chunk)
    assert cloud.run(lambda tx: tx.session.get_one(Snapshot, snapshot_id).state) == "completed"
    await cloud.restored(snapshot_id)
    assert await cloud.read(snapshot_id) == CONTENT


async def test_damage_of_blocks_that_are_released_is_forgotten(cloud):
    """Those of an archived snapshot stay for a volume, and one of them is damaged then: the archive is sound."""
    snapshot_id = await cloud.take(CONTENT)
    child = rows.snapshot(cloud.caller.account_id, state="pending", completed=None, parent_id=snapshot_id)
    child_id = child.id
    cloud.run(lambda tx: tx.session.add(child))
    await cloud.archived(snapshot_id)
    digest = pack(CONTENT[0]).digest
    [name] = cloud.run(lambda tx: stored_blocks.copies(tx, [digest])).values()
    (cloud.files._folder / name.path).write_bytes(b"\0bad")
    with pytest.raises(BadBlockError):
        await cloud.store.read(digest)
    assert cloud.run(lambda tx: tx.session.get_one(Snapshot, snapshot_id).state) == "error"
    cloud.run(lambda tx: snapshot_life.fail(tx, tx.session.get_one(Snapshot, child_id), ""))
    await cloud.collect()
    assert cloud.count(SnapshotDamage) == 0
    assert cloud.run(lambda tx: tx.session.get_one(Snapshot, snapshot_id).state) == "completed"


@pytest.mark.parametrize("kind", [ArchiveSnapshot, RestoreSnapshot])
async def test_what_is_stored_of_a_life_that_goes_on_is_not_released(cloud, kind, monkeypatch):
    snapshot_id = await cloud.take(CONTENT)
    if kind is RestoreSnapshot:
        await cloud.archived(snapshot_id)
    begin = cloud.archive if kind is ArchiveSnapshot else cloud.restore
    life = cloud.life(kind, begin(snapshot_id), snapshot_id)
    report = life.report

    async def report_and_collect(*args):
        await report(*args)
        await cloud.collect()

    monkeypatch.setattr(life, "report", report_and_collect)
    assert await life.begin() == Done()
    if kind is ArchiveSnapshot:
        await cloud.collect()
        await cloud.restored(snapshot_id)
    assert await cloud.read(snapshot_id) == CONTENT


async def test_chunks_that_are_collected_too_early_are_packed_again(cloud, monkeypatch):
    snapshot_id = await cloud.take(CONTENT)
    life = cloud.life(ArchiveSnapshot, cloud.archive(snapshot_id), snapshot_id)
    bring = life.bring

    async def bring_and_collect(*args, **kwargs):
        found = await bring(*args, **kwargs)
        await cloud.collect()
        return found

    monkeypatch.setattr(life, "bring", bring_and_collect)
    assert isinstance(await life.begin(), Wait)
    monkeypatch.setattr(life, "bring", bring)
    assert await life.begin() == Done()
    await cloud.restored(snapshot_id)
    assert await cloud.read(snapshot_id) == CONTENT


@pytest.mark.story
@pytest.mark.parametrize("part", ["middle", "after"])  # to die after a step is to die before the next
async def test_killed_at_any_step_it_is_done_all_the_same(cloud, part):
    content = {index: bytes([number + 1]) * BLOCK_BYTES for number, index in enumerate(CONTENT)}  # packed in no time
    snapshot_id = await cloud.take(content)
    before = cloud.stored()
    killed = {ArchiveSnapshot: 0, RestoreSnapshot: 0}
    for steps in range(80):
        archive = partial(cloud.life, ArchiveSnapshot, cloud.archive(snapshot_id), snapshot_id)
        archive_killed = await run_killed(cloud, archive, steps, part)
        await cloud.collect()
        assert cloud.shown(snapshot_id) == ("archive", "archival-completed", 100)
        assert cloud.count(SnapshotSegment) == 0
        restore = partial(cloud.life, RestoreSnapshot, cloud.restore(snapshot_id), snapshot_id)
        restore_killed = await run_killed(cloud, restore, steps, part)
        assert cloud.shown(snapshot_id) == ("standard", "permanent-restore-completed", 100)
        assert await cloud.read(snapshot_id) == content
        await cloud.collect()
        async for _ in remove_orphans(cloud.database, cloud.files, lambda: datetime.now(UTC) + timedelta(hours=2)):
            pass  # files whose rows were not written
        assert cloud.stored() == before, "nothing is left of the archive"
        killed[ArchiveSnapshot] += archive_killed
        killed[RestoreSnapshot] += restore_killed
        if not archive_killed and not restore_killed:
            break
    assert min(killed.values()) > 5, "each was killed at each of its steps"


async def run_killed(cloud, make, steps, part):
    """Run a life that is killed after some steps, and then once more; tells whether it was killed."""
    fate = Fate()
    files = MortalFiles(BlockDirectory(cloud.files._folder), fate)
    database = MortalDatabase(cloud.database, fate)
    store = BlockStore(database, files, cloud.time, grace=timedelta(hours=1))
    fate.steps, fate.part = steps, part
    try:
        await make(database=database, store=store).begin()
    except Killed:
        fate.steps = None
        assert await make().begin() == Done()
        return True
    finally:
        store.close()
    return False
