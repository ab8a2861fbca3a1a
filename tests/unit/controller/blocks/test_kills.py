"""Random writes, snapshots, deletions and restores against a model in memory, with collections and kills between any two steps.

A step is a call to the files or a transaction: the store dies before it, or in the middle of it, or after it, and another
takes its place over what is left.
"""

import asyncio
from datetime import timedelta

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import func, select

from stead_controller.blocks.directory import BlockDirectory
from stead_controller.blocks.store import BlockStore
from stead_controller.db.session import Database
from stead_controller.db.tables import BlockSegment, CondemnedBlock, Snapshot, SnapshotSegment, StoredBlock
from stead_controller.hosts.block_service import Incoming
from stead_controller.resources.storage import segments, snapshot_life
from stead_proto.blocks import BLOCK_BYTES, digest_of, digests_of, make_segment, pack, unpack
from tests.support import rows
from tests.support.examples import examples

SEGMENTS = 3
SLOTS = 4
OWNER = "111111111111"


class Killed(BaseException):
    """The process died here."""


class Fate:
    """When the process dies: at that many steps from now, at which part of the step."""

    def __init__(self):
        self.steps = None
        self.part = ""

    def step(self):
        """Count a step; gives the part of it at which to die, if it is the one."""
        if self.steps is None:
            return ""
        self.steps -= 1
        if self.steps >= 0:
            return ""
        self.steps = None
        return self.part


class MortalFiles:
    """Files whose calls may be the last ones."""

    def __init__(self, files, fate):
        self.files = files
        self.fate = fate

    def put(self, blocks):
        self._do(self.files.put, blocks)

    def remove(self, names):
        self._do(self.files.remove, names)

    def get(self, name):
        return self.files.get(name)

    def _do(self, work, items):
        part = self.fate.step()
        if part == "before":
            raise Killed
        work(items[: len(items) // 2] if part == "middle" else items)
        if part:
            raise Killed


class MortalDatabase:
    """A database whose transactions may be the last ones: one that dies in the middle leaves nothing."""

    def __init__(self, database, fate):
        self.database = database
        self.fate = fate

    async def run(self, function, *, writes=True):
        if not writes:
            return self.database.run_blocking(function, writes=False)
        part = self.fate.step()
        if part == "before":
            raise Killed

        def in_transaction(tx):
            result = function(tx)
            if part == "middle":
                raise Killed
            return result

        result = self.database.run_blocking(in_transaction)
        if part:
            raise Killed
        return result


def content(value):
    return value.to_bytes(2, "big") * (BLOCK_BYTES // 2)


class Town:
    """A disk, its snapshots, and what they must hold."""

    def __init__(self, database, folder):
        self.database = database
        self.folder = folder
        self.fate = Fate()
        self.now = rows.NOW
        self.disk = {}
        self.snapshots = {}
        self.last = None
        self.start()

    def start(self):
        self.files = BlockDirectory(self.folder)
        mortal = MortalDatabase(self.database, self.fate)
        files = MortalFiles(self.files, self.fate)
        self.store = BlockStore(mortal, files, lambda: self.now, grace=timedelta(hours=1))

    def live(self, work):
        """Do a piece of work until it is done, in as many lives as it takes."""
        while True:
            try:
                return asyncio.run(work())
            except Killed:
                self.store.close()
                self.start()

    def snapshot(self, inherits):
        parent_id = self.last if inherits else None
        row = rows.snapshot(OWNER, state="pending", parent_id=parent_id)
        snapshot_id = row.id
        self.database.run_blocking(lambda tx: tx.session.add(row))
        self.live(lambda: self._store(snapshot_id, self.snapshots.get(parent_id)))
        self.snapshots[snapshot_id] = dict(self.disk)
        self.last = snapshot_id

    async def _store(self, snapshot_id, parent):
        incoming = Incoming(self.store, snapshot_id)
        stored = self.database.run_blocking(lambda tx: segments.positions(tx, snapshot_id), writes=False)
        for position in range(SEGMENTS):
            wanted = {slot: value for (at, slot), value in self.disk.items() if at == position}
            before = {slot: value for (at, slot), value in (parent or {}).items() if at == position}
            if position in stored or wanted == before:
                continue
            packed = {slot: pack(content(value)) for slot, value in wanted.items()}
            response = await incoming.segment(
                make_segment(position, {slot: one.digest for slot, one in packed.items()})
            )
            for slot in response.missing.slots:
                await incoming.block(packed[slot])
        incoming.require_whole()

        def complete(tx):
            snapshot = tx.session.get_one(Snapshot, snapshot_id)
            if snapshot.state == "pending":
                snapshot_life.complete(tx, snapshot, self.now, inherits=parent is not None)

        await self.store._database.run(complete)

    def delete(self, index):
        if self.snapshots:
            snapshot_id = sorted(self.snapshots)[index % len(self.snapshots)]
            del self.snapshots[snapshot_id]
            if self.last == snapshot_id:
                self.last = None
            self.database.run_blocking(
                lambda tx: snapshot_life.delete_snapshot(tx, tx.session.get_one(Snapshot, snapshot_id))
            )

    def collect(self, hours):
        self.now += timedelta(hours=hours)

        async def all_of_it():
            while await self.store.collect():
                pass

        self.live(all_of_it)

    def check(self):
        """Every snapshot holds what its disk held, and reads it from files that are what they say."""
        for snapshot_id, disk in self.snapshots.items():
            listed = self.database.run_blocking(
                lambda tx, snapshot_id=snapshot_id: segments.page(tx, snapshot_id, 0, SEGMENTS), writes=False
            )
            found = {(one.position, slot): digest for one in listed for slot, digest in digests_of(one).items()}
            assert found == {place: digest_of(content(value)) for place, value in disk.items()}
            for digest in set(found.values()):
                assert digest_of(unpack(asyncio.run(self.store.read(digest)))) == digest

    def counts(self):
        tables = (Snapshot, SnapshotSegment, BlockSegment, StoredBlock, CondemnedBlock)
        return self.database.run_blocking(
            lambda tx: [tx.session.scalar(select(func.count()).select_from(table)) for table in tables], writes=False
        )


PLACES = st.tuples(st.integers(0, SEGMENTS - 1), st.integers(0, SLOTS - 1))
DEATHS = st.tuples(st.integers(0, 8), st.sampled_from(("before", "middle", "after")))
ACTIONS = st.one_of(
    st.tuples(st.just("write"), PLACES, st.integers(0, 5)),  # few values, so that blocks are shared
    st.tuples(st.just("zero"), PLACES),
    st.tuples(st.just("snapshot"), st.booleans(), DEATHS),
    st.tuples(st.just("delete"), st.integers(0, 9)),
    st.tuples(st.just("collect"), st.sampled_from((0, 2)), DEATHS),
)


@settings(
    max_examples=examples(18),
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(actions=st.lists(ACTIONS, min_size=4, max_size=24))
def test_snapshots_hold_what_they_held(tmp_path_factory, empty_database_file, actions):
    folder = tmp_path_factory.mktemp("town")
    (folder / "stead.sqlite").write_bytes(empty_database_file)
    database = Database(f"sqlite:///{folder / 'stead.sqlite'}")
    town = Town(database, folder / "blocks")
    try:
        for action in actions:
            match action:
                case ("write", place, value):
                    town.disk[place] = value
                case ("zero", place):
                    town.disk.pop(place, None)
                case ("snapshot", inherits, death):
                    town.fate.steps, town.fate.part = death
                    town.snapshot(inherits)
                    town.check()
                case ("delete", index):
                    town.delete(index)
                case ("collect", hours, death):
                    town.fate.steps, town.fate.part = death
                    town.collect(hours)
                    town.check()
        town.check()
        while town.snapshots:
            town.delete(0)
        for _ in range(3):
            town.collect(2)
        assert town.counts() == [0, 0, 0, 0, 0]
        # What a kill left between a file and its row is for the scrub; nothing else may stay.
        left = {stored.name for stored in town.files.list_all()}
        assert len(left) <= sum(action[0] in {"snapshot", "collect"} for action in actions) * SLOTS
    finally:
        town.store.close()
        database.close()
