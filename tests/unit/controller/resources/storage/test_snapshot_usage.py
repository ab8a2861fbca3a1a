"""What snapshots are billed for: blocks that they hold by themselves, each once while any of them has it."""

from datetime import timedelta

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import select, update

from stead_controller.db.tables import (
    BlockSegment,
    Snapshot,
    SnapshotSegment,
    SnapshotTier,
    StoredBlock,
    UsageAmount,
    UsageLine,
    UsageMeter,
)
from stead_controller.request.owners import CLOUD_ACCOUNT
from stead_controller.resources.storage import (
    archived_pieces,
    delete_snapshot,
    segments,
    snapshot_life,
    snapshot_tier_life,
    snapshot_tiers,
)
from stead_controller.resources.storage.snapshot_tiers import RestoreRequest
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

    def archive(self, snapshot_id, *, now=NOW, until=None):
        """Archive a snapshot; `until` is when that is done."""
        caller = rows.caller(ONE)
        operation_id = snapshot_tiers.archive(self.tx, caller, snapshot_id, now).operation_id
        snapshot_tier_life.finish_archival(self.tx, operation_id, snapshot_id, until or now)

    def restore(self, snapshot_id, days=None, *, now=NOW, until=None):
        """Restore a snapshot, or change for how long it is restored."""
        asked = RestoreRequest(snapshot_id, days, permanent=days is None)
        operation_id = snapshot_tiers.restore(self.tx, rows.caller(ONE), asked, now).operation_id
        snapshot_tier_life.complete_restore(self.tx, operation_id, snapshot_id, until or now)

    def used(self, usage="EBS:SnapshotUsage"):
        """How many blocks each snapshot is billed for."""
        query = select(UsageMeter.resource_id, UsageMeter.quantity).where(UsageMeter.usage == usage)
        return {row.resource_id: row.quantity for row in self.tx.session.execute(query)}

    def archived(self):
        """How many blocks each snapshot has in the archive."""
        return self.used("EBS:SnapshotArchiveStorage")

    def once(self):
        """What snapshots were billed for once, by what it is and who."""
        found = {}
        for row in self.tx.session.scalars(select(UsageAmount)):
            key = row.usage.removeprefix("EBS:SnapshotArchive"), row.resource_id
            found[key] = found.get(key, 0) + row.amount
        return found

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


DAY = timedelta(days=1)


def test_an_archived_one_is_a_full_copy_and_what_it_shared_is_the_next_ones(within):
    def live(some):
        first = some.take({(0, 0): 1, (0, 1): 2})
        second = some.take({(0, 0): 1, (0, 1): 3}, first)
        third = some.take({(0, 0): 1, (0, 1): 3, (0, 2): 4}, second)
        some.archive(second)
        assert (some.used(), some.archived()) == ({first: 2, third: 2}, {second: 2})
        some.archive(first)
        assert (some.used(), some.archived()) == ({third: 3}, {second: 2, first: 2})
        fourth = some.take({(0, 0): 1}, second)
        assert some.used() == {third: 3, fourth: 1}, "no archived one is counted before it"
        some.delete(first)
        assert (some.used(), some.archived()) == ({third: 3, fourth: 1}, {second: 2})

    within(live)


def test_one_taken_of_an_archived_one_is_counted_after_the_one_before(within):
    def live(some):
        first = some.take({(0, 0): 1, (0, 1): 2})
        second = some.take({(0, 0): 1, (0, 1): 3}, first)
        some.archive(second)
        third = some.take({(0, 0): 1, (0, 1): 3}, second)
        assert some.used() == {first: 2, third: 1}

    within(live)


def test_a_restored_one_is_a_full_one_and_in_the_archive_only_for_a_time(within):
    def live(some):
        first = some.take({(0, 0): 1, (0, 1): 2})
        second = some.take({(0, 0): 1, (0, 1): 3}, first)
        some.archive(second)
        some.restore(second, 3)
        assert (some.used(), some.archived()) == ({first: 2, second: 2}, {second: 2})
        third = some.take({(0, 0): 1, (0, 1): 5}, second)
        assert some.used() == {first: 2, second: 2, third: 1}
        snapshot_tier_life.archive_again(some.tx, NOW + 3 * DAY - timedelta(seconds=1))
        assert second in some.used()
        snapshot_tier_life.archive_again(some.tx, NOW + 3 * DAY)
        assert (some.used(), some.archived()) == ({first: 2, third: 2}, {second: 2})
        some.restore(second)
        assert (some.used(), some.archived()) == ({first: 2, third: 2, second: 2}, {})
        assert some.once() == {("Retrieval", second): 4, ("EarlyDelete", second): 2 * 90 * 24}

    within(live)


def test_one_that_is_deleted_is_not_archived_again(within):
    def live(some):
        only = some.take({(0, 0): 1})
        some.archive(only)
        some.restore(only, 3)
        some.delete(only)
        snapshot_tier_life.archive_again(some.tx, NOW + 4 * DAY)
        assert some.used() == some.archived() == {}

    within(live)


def test_who_restores_for_longer_or_for_ever_pays_no_second_time(within):
    def live(some):
        only = some.take({(0, 0): 1, (0, 1): 2})
        some.archive(only)
        some.restore(only, 1)
        some.restore(only, 2, now=NOW + DAY)
        assert some.tx.session.get_one(SnapshotTier, only).restore_expiry == NOW + 3 * DAY
        some.restore(only, now=NOW + 2 * DAY)
        assert some.tx.session.get_one(SnapshotTier, only).restore_expiry is None
        assert (some.used(), some.archived()) == ({only: 2}, {})
        assert some.once() == {("Retrieval", only): 2, ("EarlyDelete", only): 2 * 88 * 24}

    within(live)


def test_ones_taken_of_a_restored_one_stay_its_children_when_it_is_restored_for_ever(within):
    def live(some):
        first = some.take({(0, 0): 1, (0, 1): 2})
        some.archive(first)
        some.restore(first, 3)
        child = some.take({(0, 0): 1, (0, 1): 5}, first)
        some.restore(first)
        assert some.used() == {first: 2, child: 1}

    within(live)


def test_who_restored_for_ever_pays_no_more_when_it_is_deleted_before_the_archive_is_released(within):
    def live(some):
        only = some.take({(0, 0): 1})
        some.archive(only)
        some.tx.session.add(StoredBlock(digest=b"c" * 32, copy="a", stored_bytes=9, reference_count=0))
        some.tx.session.flush()
        archived_pieces.place(some.tx, only, 0, [b"c" * 32], 1)
        some.restore(only, now=NOW + 90 * DAY)
        some.delete(only, now=NOW + 91 * DAY)
        assert some.once() == {("Retrieval", only): 1}

    within(live)


@pytest.mark.parametrize(
    ("after", "hours"),
    [
        (timedelta(), 90 * 24),
        (timedelta(minutes=29), 90 * 24),
        (timedelta(minutes=31), 90 * 24 - 1),
        (40 * DAY, 50 * 24),
        (90 * DAY - timedelta(minutes=30), 1),
        (90 * DAY - timedelta(minutes=29), 0),
        (90 * DAY, 0),
        (400 * DAY, 0),
        (timedelta(hours=-5), 90 * 24),  # the clock was set back
    ],
)
def test_who_leaves_the_archive_before_90_days_pays_for_the_rest_to_the_hour(within, after, hours):
    def live(some):
        only = some.take({(0, 0): 1, (0, 1): 2})
        some.archive(only)
        some.delete(only, now=NOW + after)
        assert some.once() == ({("EarlyDelete", only): 2 * hours} if hours else {})
        assert some.used() == some.archived() == {}

    within(live)


def test_who_deletes_meanwhile_pays_for_what_is_in_the_archive_or_for_all_that_was_asked_for(within):
    def live(some):
        moving = some.take({(0, 0): 1, (0, 1): 2, (1, 0): 3})
        snapshot_tiers.archive(some.tx, rows.caller(ONE), moving, NOW)
        some.tx.session.add(StoredBlock(digest=b"c" * 32, copy="a", stored_bytes=9, reference_count=0))
        some.tx.session.flush()
        archived_pieces.place(some.tx, moving, 0, [b"c" * 32], 2)
        some.delete(moving)
        assert some.once() == {("EarlyDelete", moving): 2 * 90 * 24}
        back = some.take({(0, 0): 1})
        some.archive(back)
        asked = RestoreRequest(back, 3)
        snapshot_tiers.restore(some.tx, rows.caller(ONE), asked, NOW + 100 * DAY)
        some.delete(back, now=NOW + 100 * DAY)
        assert {key: amount for key, amount in some.once().items() if key[1] == back} == {("Retrieval", back): 1}

    within(live)


contents = st.dictionaries(st.tuples(st.integers(0, 2), st.integers(0, 2)), st.integers(1, 3), max_size=6)
steps = st.lists(st.one_of(contents, st.integers(0, 9)), max_size=10)
deeds = st.sampled_from(["delete", "archive", "restore", "for a day"])
lives = st.lists(st.one_of(contents, st.tuples(deeds, st.integers(0, 9))), max_size=12)


class Model:
    """What snapshots have used, by what was done with them: the ledger must say the same.

    `line` are those in the standard tier, as they are counted one after the other, of which `full` ones were restored.
    """

    def __init__(self):
        self.line, self.full, self.content, self.archived, self.expiry = [], set(), {}, {}, {}
        self.used, self.once = {}, {}

    def pass_hour(self):
        before = {}
        for one in self.line:
            before = {} if one in self.full else before
            self._add(self.used, (one, "Usage"), 3600 * len(self.content[one].items() - before.items()))
            before = self.content[one]
        for one in self.archived:
            self._add(self.used, (one, "ArchiveStorage"), 3600 * len(self.content[one]))

    def put_away(self, one):
        after = self.line[self.line.index(one) + 1 :]
        self.line.remove(one)
        if one in self.full:  # what is counted after a full one is a full one when that goes
            self.full.discard(one)
            self.full.update(after[:1])
        self.expiry.pop(one, None)

    def leave_archive(self, one, now):
        if one in self.archived:
            left = max(0, 90 * 24 - (now - self.archived.pop(one)) // timedelta(hours=1))
            self._add(self.once, ("EarlyDelete", one), left * len(self.content[one]))

    def restore(self, one, until, now):
        if one not in self.line:
            self._add(self.once, ("Retrieval", one), len(self.content[one]))
            self.line.append(one)
            self.full.add(one)
        self.expiry.pop(one, None)
        if until is None:
            self.leave_archive(one, now)
        else:
            self.expiry[one] = until

    def _add(self, sums, key, amount):
        if amount:
            sums[key] = sums.get(key, 0) + amount


def in_the_ledger(tx, now):
    """What lines and meters say until now."""
    found = {}
    ended = [(row, row.ended) for row in tx.session.scalars(select(UsageLine))]
    for row, until in [*ended, *((row, int(now.timestamp())) for row in tx.session.scalars(select(UsageMeter)))]:
        key = row.resource_id, row.usage.removeprefix("EBS:Snapshot")
        found[key] = found.get(key, 0) + row.quantity * (until - row.began)
    return {key: amount for key, amount in found.items() if amount}


def do(some, model, deed, now):
    """Do a deed with one of the snapshots, if it can be done, in both."""
    verb, number = deed
    there = sorted({*model.line, *model.archived})
    if not there:
        return
    one = there[number % len(there)]
    if verb == "delete":
        some.delete(one, now=now)
        if one in model.line:
            model.put_away(one)
        model.leave_archive(one, now)
    elif verb == "archive" and one not in model.archived:
        some.archive(one, now=now)
        model.put_away(one)
        model.archived[one] = now
    elif verb in ("restore", "for a day") and one in model.archived:
        days = None if verb == "restore" else 1
        some.restore(one, days, now=now)
        model.restore(one, days and now + DAY, now)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None, max_examples=examples(20))
@given(lives)
def test_the_ledger_is_a_recomputation_from_what_was_done_in_any_order(within, deeds):
    """Each deed is some hours after the one before, so that some are restored for a shorter time than it takes."""

    def live(some):
        now, model = NOW, Model()
        for deed in deeds:
            for _ in range(5):
                model.pass_hour()
                now += timedelta(hours=1)
                for one in [one for one, until in model.expiry.items() if until <= now]:
                    model.put_away(one)
                snapshot_tier_life.archive_again(some.tx, now)
            if isinstance(deed, dict):
                taken = some.take(deed, model.line[-1] if model.line else None, now=now)
                model.content[taken] = deed
                model.line.append(taken)
            else:
                do(some, model, deed, now)
        assert in_the_ledger(some.tx, now) == model.used
        assert some.once() == model.once

    within(live)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None, max_examples=examples(20))
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
