"""What snapshots are billed for: blocks that they hold by themselves, each once while any of them has it."""

from datetime import timedelta

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import select, update

from stead_controller.db.tables import BlockSegment, Snapshot, SnapshotSegment, StoredBlock, UsageLine, UsageMeter
from stead_controller.request.owners import CLOUD_ACCOUNT
from stead_controller.resources.storage import delete_snapshot, segments, snapshot_life
from stead_proto.blocks import BLOCK_BYTES, SEGMENT_BLOCKS, make_segment
from tests.support import rows
from tests.support.examples import examples
from tests.support.rows import NOW

ONE, OTHER = "1" * 12, "2" * 12


class Snapshots:
    """Snapshots of accounts within one transaction, with any content."""

    def __init__(self, tx):
        self.tx, self.number = tx, 0

    def take(self, content, parent=None, account_id=ONE, *, now=NOW):
        """Take a complete snapshot of {(position, slot): number of a block}, of which its parent has some."""
        self.number += 1
        made = rows.snapshot(
            account_id=account_id,
            id=f"snap-{999 - self.number:017x}",  # ids say nothing of when they were taken
            state="pending",
            completed=None,
            parent_id=parent,
            started=now + timedelta(milliseconds=self.number),
            size=100 * SEGMENT_BLOCKS * BLOCK_BYTES,
        )
        self.tx.session.add(made)
        self.tx.session.flush()
        for position in {position for position, _ in content}:
            blocks = {slot: self._block(number) for (at, slot), number in content.items() if at == position}
            segments.place(self.tx, made.id, make_segment(position, blocks))
        snapshot_life.complete(self.tx, made, now)
        return made.id

    def delete(self, snapshot_id, account_id=ONE, *, now=NOW):
        delete_snapshot.delete(self.tx, rows.caller(account_id), snapshot_id, now)

    def used(self):
        """How many blocks each snapshot is billed for."""
        query = select(UsageMeter.resource_id, UsageMeter.quantity).where(UsageMeter.usage == "EBS:SnapshotUsage")
        return {row.resource_id: row.quantity for row in self.tx.session.execute(query)}

    def _block(self, number):
        digest = bytes([number]) * 32
        if self.tx.session.get(StoredBlock, digest) is None:
            self.tx.session.add(StoredBlock(digest=digest, copy="a", stored_bytes=9, reference_count=0))
            self.tx.session.flush()
        return digest


@pytest.fixture
def within(database, world):
    """Call a function with snapshots, in a transaction that nothing remains of."""

    def call(function):
        return database.run_blocking(lambda tx: function(Snapshots(tx)), dry_run=True)

    return call


def test_a_chain_counts_what_each_has_by_itself(within):
    def live(some):
        another = some.take({(0, 0): 1})
        first = some.take({(0, 0): 1, (0, 1): 2, (3, 0): 1})
        second = some.take({(0, 0): 1, (0, 1): 3, (0, 2): 4, (3, 0): 1}, first)
        same = some.take({(0, 0): 1, (0, 1): 3, (0, 2): 4, (3, 0): 1}, second)
        assert some.used() == {another: 1, first: 3, second: 2}, "the last has nothing by itself"
        some.delete(second)
        assert some.used() == {another: 1, first: 3, same: 2}, "what it shared with the deleted one is its own"
        some.delete(first)
        assert some.used() == {another: 1, same: 4}
        some.delete(same)
        assert some.used() == {another: 1}

    within(live)


def test_siblings_count_after_the_first_when_their_parent_goes(within):
    def live(some):
        parent = some.take({(0, 0): 1, (0, 1): 2})
        first = some.take({(0, 0): 1, (0, 1): 5}, parent)
        second = some.take({(0, 0): 1, (0, 1): 2}, parent)
        assert some.used() == {parent: 2, first: 1}
        some.delete(parent)
        assert some.used() == {first: 2, second: 1}, "only the second still has the parent's second block"

    within(live)


def test_one_is_counted_after_the_one_before_a_parent_that_is_deleted_meanwhile(within):
    def live(some):
        first = some.take({(0, 0): 1, (0, 1): 2})
        second = some.take({(0, 0): 1, (0, 1): 3}, first)
        some.delete(second)
        third = some.take({(0, 0): 1, (0, 1): 3}, second)
        assert some.used() == {first: 2, third: 1}

    within(live)


def test_one_is_counted_after_none_when_all_before_its_parent_are_deleted_at_once(within):
    """The newest first, so that each has to be found among those that another's deletion has just changed."""

    def live(some):
        first = some.take({(1, 0): 1})
        second = some.take({}, first)
        third = some.take({}, second)
        for each in (third, second, first):
            some.delete(each)
        assert some.used() == {}
        fourth = some.take({(1, 0): 1}, third)
        assert some.used() == {fourth: 1}

    within(live)


def test_what_belongs_to_others_is_not_ones_own(within):
    def live(some):
        theirs = some.take({(0, 0): 1}, account_id=OTHER)
        mine = some.take({(0, 0): 1}, theirs)
        some.take({(0, 0): 1}, account_id=CLOUD_ACCOUNT)
        assert some.used() == {theirs: 1, mine: 1}, "each pays all, and the cloud nothing"
        some.delete(theirs, OTHER)
        assert some.used() == {mine: 1}

    within(live)


def test_one_that_has_failed_is_not_billed_nor_counted_after(within):
    def live(some):
        row = some.tx.session.get_one(Snapshot, some.take({(0, 0): 1}))
        row.completed = None  # as one that failed before it was complete
        second = some.take({(0, 0): 1}, row.id)
        assert some.used()[second] == 1

    within(live)


def test_lines_say_how_long_and_how_much(within):
    def live(some):
        first = some.take({(0, 0): 1, (0, 1): 2})
        second = some.take({(0, 0): 1}, first, now=NOW + timedelta(seconds=10))
        third = some.take({(0, 0): 1, (0, 4): 9}, second, now=NOW + timedelta(seconds=20))
        some.delete(first, now=NOW + timedelta(seconds=60))
        some.delete(third, now=NOW + timedelta(seconds=70))
        present = int(NOW.timestamp())
        lines = some.tx.session.scalars(select(UsageLine).order_by(UsageLine.number)).all()
        assert [(row.resource_id, row.quantity, row.began - present, row.ended - present) for row in lines] == [
            (first, 2, 0, 60), (third, 1, 20, 70),
        ]  # fmt: skip
        assert {row.operation for row in lines} == {"CreateSnapshot"}
        assert some.used() == {second: 1}

    within(live)


contents = st.dictionaries(st.tuples(st.integers(0, 2), st.integers(0, 2)), st.integers(1, 3), max_size=6)
steps = st.lists(st.one_of(contents, st.integers(0, 9)), max_size=10)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None, max_examples=examples(60))
@given(steps)
def test_a_line_of_snapshots_is_billed_for_each_change_that_is_left(within, steps):
    """A number deletes one of those that there are, a content is taken after the newest, which may be deleted."""

    def live(some):
        alive, newest = {}, None
        for step in steps:
            if isinstance(step, dict):
                newest = some.take(step, newest)
                alive[newest] = step
            elif alive:
                doomed = list(alive)[step % len(alive)]
                some.delete(doomed)
                del alive[doomed]
            before = {}
            expected = {}
            for snapshot_id, content in alive.items():
                expected[snapshot_id] = len(content.items() - before.items())
                before = content
            assert some.used() == {key: blocks for key, blocks in expected.items() if blocks}

    within(live)


def test_equal_segments_are_not_read(within):
    def live(some):
        first = some.take({(0, 0): 1, (1, 1): 1})
        second = some.take({(0, 0): 1, (1, 1): 2}, first)
        shared = select(SnapshotSegment.segment_digest).where(SnapshotSegment.position == 0).distinct()
        spoil = update(BlockSegment).where(BlockSegment.digest.in_(shared)).values(slots=b"no slots at all")
        some.tx.session.execute(spoil.execution_options(synchronize_session=False))
        assert segments.own_blocks(some.tx, second, first) == 1

    within(live)
