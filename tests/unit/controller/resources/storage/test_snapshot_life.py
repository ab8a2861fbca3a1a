"""What becomes of a snapshot: it is complete, it fails, it goes where its volume goes, it is deleted and released."""

from dataclasses import dataclass
from datetime import timedelta

import pytest

from stead_controller.db.tables import (
    Host,
    HostError,
    HostResource,
    Snapshot,
    SnapshotDamage,
    SnapshotPermission,
    SnapshotSegment,
    StoredBlock,
    Tag,
    Volume,
    WrittenBlock,
)
from stead_controller.desired import desired_state
from stead_controller.resources.storage import segments, snapshot_damage, snapshot_life
from stead_controller.resources.storage.snapshot_life import FAILED, GONE, MOVED, OF_SET
from stead_proto.blocks import BLOCK_BYTES, SEGMENT_BLOCKS, make_segment
from stead_proto.v1 import desired_pb2 as desired
from tests.support import rows
from tests.support.rows import NOW

PATIENCE, SILENCE = timedelta(minutes=30), timedelta(hours=1)
MOMENT = timedelta(milliseconds=1)
SNAPSHOT, BASE = int(desired.KIND_SNAPSHOT), int(desired.KIND_BASE)
SET = "snap-0000000000000000a"
ZERO = make_segment(0, {})


@dataclass
class Store:
    """Snapshots of the first tenant and what they refer to."""

    run: object
    world: rows.World

    def add(self, *, at_host=False, **changes):
        """Add a snapshot, pending where nothing else is said, which the world's host may have to take."""
        values = {"state": "pending", "progress": 40, "completed": None, "size": 100 * SEGMENT_BLOCKS * BLOCK_BYTES}
        if at_host:
            values["host_id"] = self.world.host_id
        row = rows.snapshot(**{"account_id": self.world.one.caller.account_id} | values | changes)

        def insert(tx):
            tx.session.add(row)
            tx.session.flush()
            if row.host_id is not None:
                desired_state.take_snapshots(tx, row.host_id, [row])
            return row.id

        return self.run(insert)

    def find(self, snapshot_id):
        return self.run(lambda tx: tx.session.get(Snapshot, snapshot_id))

    def state(self, snapshot_id):
        row = self.find(snapshot_id)
        return row and (row.state, row.state_message)

    def call(self, function, snapshot_id, *args, **kwargs):
        return self.run(lambda tx: function(tx, tx.session.get_one(Snapshot, snapshot_id), *args, **kwargs))

    def sent(self, snapshot_id, host_id=None, kind=SNAPSHOT):
        """Whether a host, the world's, is to take it, or (False) to do so no more; None where it never was."""
        row = self.run(lambda tx: tx.session.get(HostResource, (host_id or self.world.host_id, kind, snapshot_id)))
        return row and row.body is not None

    def block(self, number, *, damaged=False):
        """Enter a block into the store and give its digest."""
        row = StoredBlock(digest=bytes([number]) * 32, copy="a", stored_bytes=9, reference_count=0, damaged=damaged)
        self.run(lambda tx: tx.session.add(row))
        return row.digest

    def references(self, digest):
        row = self.run(lambda tx: tx.session.get(StoredBlock, digest))
        return row.reference_count, row.unused_since

    def place(self, snapshot_id, *positions, blocks=None):
        for position in positions:
            self.run(segments.place, snapshot_id, make_segment(position, blocks or {}))

    def positions(self, snapshot_id):
        return self.run(segments.positions, snapshot_id)

    def write(self, snapshot_id, *digests):
        """Let clients have written blocks to a snapshot."""

        def insert(tx):
            for index, digest in enumerate(digests):
                tx.session.add(WrittenBlock(snapshot_id=snapshot_id, block_index=index, digest=digest))
                tx.session.get_one(StoredBlock, digest).reference_count += 1

        self.run(insert)

    def written(self, snapshot_id):
        return self.run(lambda tx: tx.session.query(WrittenBlock).filter_by(snapshot_id=snapshot_id).count())

    def volume(self, **changes):
        """Add a volume of the world's host that is attached to nothing."""

        def insert(tx):
            instance = rows.launch(tx, self.world, self.world.one, number=len(tx.session.query(Volume).all()))
            free = {"instance_id": None, "device_name": None, "attachment_state": None, "attach_time": None}
            row = rows.volume(instance, self.world, **free | {"attached_host_id": None, "state": "available"} | changes)
            tx.session.add(row)
            return row.id

        return self.run(insert)

    def change(self, model, key, **values):
        def write(tx):
            row = tx.session.get_one(model, key)
            for name, value in values.items():
                setattr(row, name, value)

        self.run(write)


@pytest.fixture
def store(run, world):
    return Store(run, world)


@pytest.fixture
def other_host(run):
    row = rows.host(hostname="box2")
    run(lambda tx: tx.session.add(row))
    return row.id


def test_a_complete_snapshot_is_all_there_and_its_host_is_done_with_it(store):
    snapshot_id = store.add(at_host=True)
    store.place(snapshot_id, 0, blocks={0: store.block(1), 5: store.block(2)})
    store.place(snapshot_id, 1, blocks={5: store.block(3)})
    assert store.sent(snapshot_id) is True
    store.call(snapshot_life.complete, snapshot_id, NOW)
    row = store.find(snapshot_id)
    assert (row.state, row.state_message, row.progress, row.completed) == ("completed", "", 100, NOW)
    assert (row.stored_size, row.host_id) == (3 * BLOCK_BYTES, None)
    assert store.sent(snapshot_id) is False


@pytest.mark.parametrize("inherits", [False, True])
def test_it_has_its_parents_segments_where_it_has_none_when_it_inherits(store, inherits):
    parent_id = store.add()
    store.place(parent_id, 0, 1, blocks={0: store.block(1)})
    snapshot_id = store.add(parent_id=parent_id)
    store.place(snapshot_id, 1)
    store.call(snapshot_life.complete, snapshot_id, NOW, inherits=inherits)
    assert store.positions(snapshot_id) == ([0, 1] if inherits else [1])
    assert store.find(snapshot_id).stored_size == (BLOCK_BYTES if inherits else 0)


def test_one_that_inherits_of_nothing_is_empty(store):
    snapshot_id = store.add()
    store.call(snapshot_life.complete, snapshot_id, NOW, inherits=True)
    assert (store.state(snapshot_id), store.positions(snapshot_id)) == (("completed", ""), [])


def test_what_was_damaged_before_it_was_complete_is_noted_then(store):
    digest = store.block(1)
    snapshot_id = store.add()
    store.place(snapshot_id, 0, blocks={0: digest})
    store.change(StoredBlock, digest, damaged=True)
    store.call(snapshot_life.complete, snapshot_id, NOW)
    assert store.state(snapshot_id) == ("error", snapshot_damage.MESSAGE)
    assert store.run(lambda tx: tx.session.get(SnapshotDamage, (snapshot_id, digest))).since == NOW


def test_with_one_of_a_set_fails_what_is_pending_of_it(store):
    first, second = (store.add(at_host=True, set_id=SET) for _ in range(2))
    complete = store.add(set_id=SET, state="completed")
    others = [store.add(at_host=True, set_id="snap-0000000000000000b"), store.add(at_host=True)]
    store.call(snapshot_life.fail, first, "why")
    assert [store.state(each) for each in (first, second)] == [("error", "why"), ("error", OF_SET)]
    assert store.state(complete) == ("completed", "")
    assert [store.sent(each) for each in (first, second, *others)] == [False, False, True, True]
    assert [store.find(each).host_id for each in (first, second)] == [None, None]
    assert {store.state(each) for each in others} == {("pending", "")}


def test_one_of_no_set_fails_alone(store):
    first, second = (store.add(at_host=True) for _ in range(2))
    store.call(snapshot_life.fail, first, "why")
    assert (store.state(first), store.state(second)) == (("error", "why"), ("pending", ""))


@pytest.mark.parametrize("state", ["pending", "completed"])
def test_a_deleted_one_is_absent_and_is_taken_no_further(store, state):
    snapshot_id = store.add(at_host=True)
    store.change(Snapshot, snapshot_id, state=state)
    remaining = store.add(state="completed")

    def share(tx):
        for each in (snapshot_id, remaining):
            mine = {"account_id": store.world.one.caller.account_id, "resource_type": "snapshot"}
            tx.session.add(Tag(resource_id=each, key="a", value="b", **mine))
            tx.session.add(SnapshotPermission(snapshot_id=each, account_id=store.world.other.caller.account_id))

    store.run(share)
    store.call(snapshot_life.delete_snapshot, snapshot_id)
    assert store.state(snapshot_id) == ("deleting", "")
    assert store.run(lambda tx: [each.resource_id for each in tx.session.query(Tag)]) == [remaining]
    assert store.run(lambda tx: [each.snapshot_id for each in tx.session.query(SnapshotPermission)]) == [remaining]
    assert store.sent(snapshot_id) is (state != "pending")


def test_hosts_without_volumes_over_a_deleted_one_remove_its_base(store, other_host):
    snapshot_id = store.add(state="completed")
    volumes = [store.volume(snapshot_id=snapshot_id, host_id=each) for each in (None, other_host)]
    store.change(Volume, volumes[0], host_id=store.world.host_id)

    def tell(tx):
        for each in volumes:
            desired_state.refresh_volume(tx, tx.session.get_one(Volume, each))
        tx.session.delete(tx.session.get_one(Volume, volumes[0]))

    store.run(tell)
    store.call(snapshot_life.delete_snapshot, snapshot_id)
    assert [store.sent(snapshot_id, host, BASE) for host in (None, other_host)] == [False, True]


def follow(store, volume_id):
    store.run(lambda tx: snapshot_life.follow(tx, tx.session.get_one(Volume, volume_id)))


def test_a_pending_one_is_taken_where_its_volume_is_read_and_from_the_beginning(store, other_host):
    volume_id = store.volume()
    moving = [store.add(at_host=True, volume_id=volume_id) for _ in range(2)]
    store.place(moving[0], 0)
    apart = [
        store.add(at_host=True),
        store.add(volume_id=volume_id),
        store.add(at_host=True, volume_id=volume_id, state="completed"),
    ]
    before = [store.find(each).host_id for each in apart]
    follow(store, volume_id)
    assert [store.find(each).progress for each in moving] == [40, 40], "it stays where it is"
    assert store.positions(moving[0]) == [0]
    store.change(Volume, volume_id, attached_host_id=other_host)
    follow(store, volume_id)
    for each in moving:
        assert (store.find(each).host_id, store.find(each).progress) == (other_host, 0)
        assert (store.sent(each), store.sent(each, other_host)) == (False, True)
    assert store.positions(moving[0]) == []
    assert [store.find(each).host_id for each in apart] == before
    assert [store.state(each) for each in apart] == [("pending", ""), ("pending", ""), ("completed", "")]
    store.change(Volume, volume_id, attached_host_id=None)
    follow(store, volume_id)
    assert [store.find(each).host_id for each in moving] == [store.world.host_id] * 2


def test_those_of_a_set_or_of_much_data_do_not_follow_another_instant(store, other_host, monkeypatch):
    monkeypatch.setattr(snapshot_life, "_SEGMENTS_AT_ONCE", 2)
    volume_id = store.volume()
    of_set = [store.add(at_host=True, volume_id=volume_id, set_id=SET) for _ in range(2)]
    much, little = (store.add(at_host=True, volume_id=volume_id) for _ in range(2))
    store.place(much, 0, 1, 2)
    store.place(little, 0)
    store.change(Volume, volume_id, attached_host_id=other_host)
    follow(store, volume_id)
    assert sorted(store.state(each) for each in of_set) == sorted([("error", MOVED), ("error", OF_SET)])
    assert store.state(much) == ("error", MOVED)
    assert store.state(little) == ("pending", "")
    assert [store.sent(each, other_host) for each in (*of_set, much, little)] == [None, None, None, True]


def test_of_a_volume_that_is_nowhere_none_is_taken(store):
    volume_id = store.volume()
    snapshot_id = store.add(at_host=True, volume_id=volume_id)
    store.change(Volume, volume_id, host_id=None)
    follow(store, volume_id)
    assert store.state(snapshot_id) == ("error", MOVED)
    assert store.sent(snapshot_id) is False


def fail_late(store, now):
    store.run(snapshot_life.fail_late, now, PATIENCE, SILENCE)


@pytest.mark.parametrize(
    ("host_state", "since", "state"),
    [
        ("down", SILENCE + MOMENT, "error"),
        ("down", SILENCE, "pending"),
        ("up", 2 * SILENCE, "pending"),  # the clock was set
        ("down", None, "pending"),
    ],
)
def test_who_waits_for_a_silent_host(store, host_state, since, state):
    snapshot_id = store.add(at_host=True)
    of_no_host = store.add()
    store.change(Host, store.world.host_id, state=host_state, last_seen=None if since is None else NOW - since)
    fail_late(store, NOW)
    assert store.state(snapshot_id) == (state, GONE if state == "error" else "")
    assert store.state(of_no_host) == ("pending", "")


def test_another_hosts_silence_is_not_waited_for(store, other_host):
    snapshot_id = store.add(at_host=True)
    store.change(Host, other_host, state="down", last_seen=NOW - 2 * SILENCE)
    fail_late(store, NOW)
    assert store.state(snapshot_id) == ("pending", "")


@pytest.fixture
def fails_at(store):
    """Let a host fail at something since a moment."""

    def note(resource_id, since, *, host_id=store.world.host_id, kind=SNAPSHOT):
        row = HostError(host_id=host_id, kind=kind, resource_id=resource_id, error="x", since=since)
        store.run(lambda tx: tx.session.add(row))

    return note


@pytest.mark.parametrize(("since", "state"), [(PATIENCE, "error"), (PATIENCE - MOMENT, "pending")])
def test_who_waits_for_a_host_that_fails(store, fails_at, since, state):
    snapshot_id, other_id = store.add(at_host=True), store.add(at_host=True)
    fails_at(snapshot_id, NOW - since)
    fail_late(store, NOW)
    assert store.state(snapshot_id) == (state, FAILED if state == "error" else "")
    assert store.state(other_id) == ("pending", "")


def test_other_failures_are_no_failures_of_a_snapshot(store, fails_at, other_host):
    taken, complete, of_no_host = store.add(at_host=True), store.add(at_host=True), store.add()
    store.change(Snapshot, complete, state="completed")
    fails_at(taken, NOW - PATIENCE, kind=BASE)
    fails_at(taken, NOW - PATIENCE, host_id=other_host)
    fails_at(complete, NOW - PATIENCE)
    fails_at(of_no_host, NOW - PATIENCE)
    fail_late(store, NOW)
    assert [store.state(each)[0] for each in (taken, complete, of_no_host)] == ["pending", "completed", "pending"]


def test_those_that_have_ended_take_no_place_of_those_that_have_not(store, fails_at, monkeypatch):
    monkeypatch.setattr(snapshot_life, "_BATCH", 1)
    ended, taken = sorted(store.add(at_host=True) for _ in range(2))
    store.change(Snapshot, ended, state="completed")
    fails_at(ended, NOW - PATIENCE)
    fails_at(taken, NOW - PATIENCE)
    fail_late(store, NOW)
    assert store.state(taken) == ("error", FAILED)


def test_of_a_set_one_is_said_to_have_failed_and_the_others_to_be_of_its_set(store, fails_at):
    of_set = [store.add(at_host=True, set_id=SET) for _ in range(2)]
    for each in of_set:
        fails_at(each, NOW - PATIENCE)
    fail_late(store, NOW)
    assert sorted(store.state(each)[1] for each in of_set) == sorted([FAILED, OF_SET])


def drop(store):
    return store.run(snapshot_life.drop_some, NOW)


def test_a_deleted_one_is_released_in_small_parts_and_then_gone(store, monkeypatch):
    monkeypatch.setattr(snapshot_life, "_SEGMENTS_AT_ONCE", 2)
    monkeypatch.setattr(snapshot_life, "_BLOCKS_AT_ONCE", 2)
    snapshot_id, remaining = store.add(), store.add()
    digest, other = store.block(1), store.block(2)
    store.place(snapshot_id, 0, 1, 2)
    store.place(remaining, 0)
    store.write(snapshot_id, digest, digest, digest)
    store.write(remaining, digest, other)
    store.change(Snapshot, snapshot_id, state="deleting")
    store.change(Snapshot, remaining, state="completed")
    seen = []
    while drop(store):
        assert len(seen) < 9
        seen.append((len(store.positions(snapshot_id)), store.written(snapshot_id), store.find(snapshot_id) is None))
    assert seen == [(1, 3, False), (0, 1, False), (0, 0, True)]
    assert (store.positions(remaining), store.written(remaining)) == ([0], 2)
    assert (store.references(digest), store.references(other)) == ((1, None), (1, None))


def test_a_block_without_other_references_is_unused_from_then_on(store):
    snapshot_id, digest = store.add(), store.block(1)
    store.write(snapshot_id, digest, digest)
    store.change(Snapshot, snapshot_id, state="deleting")
    assert drop(store) is True
    assert store.references(digest) == (0, NOW)
    assert (store.find(snapshot_id), drop(store)) == (None, False)


def test_a_failed_one_is_released_and_stays(store):
    digest = store.block(1)
    placed, written, empty = (store.add() for _ in range(3))
    store.place(placed, 0)
    store.write(written, digest)
    for each in (placed, written, empty):
        store.change(Snapshot, each, state="error", state_message="why")
    assert [drop(store) for _ in range(3)] == [True, True, False]
    assert (store.positions(placed), store.written(written)) == ([], 0)
    assert {store.state(each) for each in (placed, written, empty)} == {("error", "why")}


def test_a_damaged_one_still_refers_to_its_blocks(store):
    snapshot_id = store.add()
    store.place(snapshot_id, 0)
    store.change(Snapshot, snapshot_id, state="error")
    damage = SnapshotDamage(snapshot_id=snapshot_id, digest=bytes(32), since=NOW)
    store.run(lambda tx: tx.session.add(damage))
    assert drop(store) is False
    assert store.positions(snapshot_id) == [0]


def test_what_is_pending_or_complete_is_not_released(store):
    for state in ("pending", "completed"):
        snapshot_id = store.add()
        store.place(snapshot_id, 0)
        store.change(Snapshot, snapshot_id, state=state)
    assert drop(store) is False


def test_a_deleted_one_waits_for_its_pending_children(store):
    parent_id = store.add(state="deleting")
    child_id = store.add(parent_id=parent_id)
    store.add(parent_id=child_id)
    assert drop(store) is False
    store.change(Snapshot, child_id, state="completed")
    assert drop(store) is True
    assert store.find(parent_id) is None


def test_a_deleted_one_waits_for_volumes_that_were_made_of_it(store):
    snapshot_id = store.add(state="deleting")
    volume_id = store.volume(snapshot_id=snapshot_id)
    assert drop(store) is False
    store.change(Volume, volume_id, snapshot_id="snap-00000000000000000")
    assert drop(store) is True


def test_a_deleted_one_waits_for_hosts_that_have_it_as_a_base(store):
    snapshot_id, other_id = store.add(state="deleting"), store.add(state="completed")

    def tell(tx, resource_id, kind, body):
        row = {"host_id": store.world.host_id, "kind": kind, "resource_id": resource_id}
        tx.session.merge(HostResource(**row, revision=1, body=body))

    store.run(tell, snapshot_id, BASE, b"told")
    store.run(tell, other_id, BASE, b"told")
    assert drop(store) is False
    store.run(tell, snapshot_id, BASE, None)
    store.run(tell, snapshot_id, SNAPSHOT, b"told")
    assert drop(store) is True
    assert store.find(snapshot_id) is None
    assert store.run(lambda tx: tx.session.query(SnapshotSegment).count()) == 0
