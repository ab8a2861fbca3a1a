"""Each second of each byte that a bucket keeps is billed once, whatever ends the controller when."""

from collections import Counter
from datetime import timedelta

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import select

from stead_controller.db.tables import BucketSize, UsageAmount, UsageDay
from stead_controller.resources.storage import bucket_sizes
from stead_controller.resources.storage.bucket_sizes import ToCount
from tests.support.examples import examples
from tests.support.rows import NOW
from tests.support.world import database

__all__ = ["database"]

ONE, OTHER = "1" * 12, "2" * 12


class Buckets:
    """Buckets in a database, and the time."""

    def __init__(self, database):
        self.database, self.now = database, NOW.replace(microsecond=0)

    def write(self, function, *given, **more):
        return self.database.run_blocking(lambda tx: function(tx, *given, **more))

    def begin(self, backend_name="b-1", name="b", account_id=ONE):
        self.write(bucket_sizes.begin, backend_name, name, account_id, self.now)

    def to_count(self, *also):
        return self.write(bucket_sizes.to_count, also, self.now)

    def count(self, size, backend_name="b-1", written=0, *, is_quiet=True):
        self.write(bucket_sizes.count, ToCount(backend_name, written), size, self.now, is_quiet=is_quiet)

    def bill(self):
        if has := self.write(bucket_sizes.has_to_bill, self.now):
            self.write(bucket_sizes.bill, self.now)
        return has

    def end(self, backend_name="b-1"):
        self.write(bucket_sizes.end, backend_name, self.now)

    def later(self, seconds):
        self.now += timedelta(seconds=seconds)

    def row(self, backend_name="b-1"):
        return self.write(lambda tx: tx.session.get(BucketSize, backend_name))

    def billed(self):
        total = Counter()
        for row in self.write(lambda tx: tx.session.scalars(select(UsageAmount)).all()):
            total[row.resource_id, row.account_id, row.usage, row.operation] += row.amount
        return dict(total)


@pytest.fixture
def buckets(database):
    return Buckets(database)


def kept(hours, name="b", account_id=ONE):
    return {(name, account_id, "TimedStorage-ByteHrs", "StandardStorage"): hours}


def test_a_size_is_billed_from_its_count_until_the_next(buckets):
    buckets.begin()
    buckets.later(7200)
    buckets.count(1000)
    assert buckets.billed() == {}
    buckets.later(3600)
    buckets.count(10)
    assert buckets.billed() == kept(1000)
    buckets.later(7200)
    buckets.count(0)
    buckets.later(3600)
    buckets.count(5)
    assert buckets.billed() == kept(1020)


def test_what_is_less_than_an_hour_of_a_byte_is_billed_later(buckets):
    buckets.begin()
    buckets.count(1)
    for _ in range(11):
        buckets.later(300)
        assert buckets.bill()
    assert buckets.billed() == {}
    buckets.later(300)
    assert buckets.bill()
    assert buckets.billed() == kept(1)


def test_nothing_is_written_more_often_than_needed(buckets):
    buckets.begin()
    buckets.later(3600)
    assert not buckets.bill(), "an empty bucket"
    buckets.count(36_000)
    buckets.later(299)
    assert not buckets.bill()
    buckets.later(1)
    assert buckets.bill()
    assert not buckets.bill()


def test_a_bucket_is_counted_again_only_when_it_was_written_to_and_each_day(buckets):
    buckets.begin()
    buckets.begin("other", "other")
    assert buckets.to_count() == []
    assert buckets.to_count("b-1", "absent") == [ToCount("b-1", 0)]
    buckets.write(bucket_sizes.write_begins, "b-1")
    assert buckets.to_count() == [ToCount("b-1", 1)]
    buckets.write(bucket_sizes.write_begins, "b-1")
    buckets.count(7, written=1)
    assert buckets.to_count() == [ToCount("b-1", 2)], "it was written to while it was counted"
    buckets.count(7, written=2, is_quiet=False)
    assert buckets.to_count() == [ToCount("b-1", 2)], "and a write was still under way"
    buckets.count(7, written=2)
    assert buckets.to_count() == []
    buckets.later(86_399)
    assert buckets.to_count() == []
    buckets.later(1)
    assert buckets.to_count() == [ToCount("b-1", 2), ToCount("other", 0)]


def test_buckets_are_counted_in_the_order_of_their_names(buckets):
    names = ["b-3", "b-1", "b-2"]
    for name in names:
        buckets.begin(name, name)
    assert [one.backend_name for one in buckets.to_count(*names)] == sorted(names)


def test_a_bucket_that_is_removed_is_billed_until_then_and_only_once(buckets):
    buckets.begin()
    buckets.count(100)
    buckets.later(3600)
    buckets.end()
    buckets.end()
    assert buckets.row() is None
    assert buckets.billed() == kept(100)
    buckets.count(9)
    assert buckets.row() is None, "it was removed while it was counted"


def test_the_same_name_of_another_account_in_one_hour_is_told_apart(buckets):
    buckets.now = buckets.now.replace(minute=0, second=0)
    for number, account_id in enumerate((ONE, OTHER)):
        buckets.begin(f"b-{number}", "b", account_id)
        buckets.count(3600, f"b-{number}")
        buckets.later(1)
        buckets.end(f"b-{number}")
    assert buckets.billed() == kept(1) | kept(1, f"b.{OTHER}", OTHER)


def test_a_name_is_told_apart_in_that_hour_alone_and_fits_however_long_it_is(buckets):
    name = "b" * 63
    buckets.now = buckets.now.replace(minute=0, second=0)
    for number, account_id in enumerate((ONE, OTHER, OTHER)):
        buckets.begin(f"b-{number}", name, account_id)
        buckets.count(3600, f"b-{number}")
        buckets.later(1)
        buckets.end(f"b-{number}")
        buckets.later(3600 * (number == 1))
    apart = f"{name[:51]}.{OTHER}"
    assert len(apart) == 64
    assert buckets.billed() == kept(1, name) | kept(1, apart, OTHER) | kept(1, name, OTHER)


def test_a_time_is_billed_once_when_the_clock_is_set_back(buckets):
    buckets.begin()
    buckets.count(3600)
    buckets.later(1000)
    buckets.bill()
    buckets.later(-600)
    buckets.count(3600)
    assert buckets.billed() == kept(1000)
    buckets.later(700)
    buckets.count(0)
    assert buckets.billed() == kept(1100)


STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("count"), st.integers(0, 10**15)),
        st.tuples(st.just("later"), st.integers(0, 9000)),
        st.tuples(st.just("bill")),
        st.tuples(st.just("die"), st.integers(0, 10**15)),
    ),
    max_size=15,
)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=examples(12), deadline=None)
@given(STEPS)
def test_amounts_are_those_of_a_recount(database, steps):
    """`die` ends the process before its transaction is written."""
    known = Buckets(database)
    before = sum(known.billed().values())
    known.begin()
    size = seconds = 0
    for step, *what in steps:
        if step == "count":
            [size] = what
            known.count(size)
        elif step == "later":
            known.later(*what)
            seconds += size * what[0]
        elif step == "bill":
            known.bill()
        else:
            with pytest.raises(ZeroDivisionError):
                known.write(_die, known.now, *what)
    known.count(size)
    rest = known.row().rest
    known.end()
    assert (sum(known.billed().values()) - before) * 3600 + rest == seconds
    days = known.write(lambda tx: [row.amount for row in tx.session.scalars(select(UsageDay))])
    assert sum(days) == sum(known.billed().values())


def _die(tx, now, size):
    bucket_sizes.count(tx, ToCount("b-1", 0), size, now, is_quiet=True)
    raise ZeroDivisionError
