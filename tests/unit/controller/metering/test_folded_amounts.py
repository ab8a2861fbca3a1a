"""Hours of old days become days, and every sum stays what it was, to the last digit."""

from datetime import UTC, datetime

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import func, select

from stead_controller.db.tables import PriceBook, UsageAmount, UsageDay, UsageDaysMark, UsageTag
from stead_controller.metering import amounts, folded_amounts, usage_sums
from stead_controller.metering.folded_amounts import KEPT_DAYS
from stead_controller.metering.ledger import Resource, Use
from stead_controller.metering.usage_sums import Question
from tests.support.examples import examples

DAY = 86400
START = 1_700_000_000 // DAY * DAY
OLD = START + (KEPT_DAYS + 4) * DAY  # a time at which all of the first days are old
ONE, OTHER, THIRD = Resource("i-1", "1" * 12, "a"), Resource("i-2", "1" * 12, "b"), Resource("i-3", "2" * 12, "a")
OUT, CREDITS = Use("DataTransfer-Out-Bytes", "Run", 7), Use("CPUCredits:t3", "Op", 3)


def at(moment):
    return datetime.fromtimestamp(moment, UTC)


def rows(tx):
    columns = UsageAmount.resource_id, UsageAmount.usage, UsageAmount.hour, UsageAmount.began, UsageAmount.amount
    return [tuple(row) for row in tx.session.execute(select(*columns).order_by(*columns[:3]))]


def fold_all(tx, now=OLD):
    while folded_amounts.fold(tx, at(now)):
        pass


def tag(resource, begin, end, value="red"):
    return UsageTag(
        account_id=resource.account_id, resource_id=resource.id, key="team", value=value, began=begin, ended=end
    )


@pytest.fixture
def used(run):
    """Uses bytes at some hours of two days and a bit."""
    for moment in (10, 3599, 3700, 80_000, DAY + 5, DAY + 9000, 2 * DAY):
        run(amounts.add, [(ONE, OUT)], at(START + moment))
    run(amounts.add, [(OTHER, OUT), (ONE, CREDITS)], at(START + 4000))
    return run


def test_hours_of_a_day_become_its_first_one(used):
    used(fold_all)
    hour = START // 3600
    assert used(rows) == [
        ("i-1", CREDITS.usage, hour + 1, START + 4000, 3),
        ("i-1", OUT.usage, hour, START + 10, 28),
        ("i-1", OUT.usage, hour + 24, START + DAY + 5, 14),
        ("i-1", OUT.usage, hour + 48, START + 2 * DAY, 7),
        ("i-2", OUT.usage, hour + 1, START + 4000, 7),
    ]


def test_a_day_with_more_than_one_transaction_takes_is_done_whole(used, monkeypatch):
    monkeypatch.setattr(folded_amounts, "_AT_ONCE", 1)
    used(amounts.add, [(OTHER, OUT)], at(START + 9000))
    used(fold_all)
    assert [row[4] for row in used(rows)] == [3, 28, 14, 7, 14]


def test_only_days_become_so_whose_hours_nobody_asks_for(used):
    before = used(rows)
    used(fold_all, START + KEPT_DAYS * DAY - 1)
    assert used(rows) == before
    used(fold_all, START + KEPT_DAYS * DAY)
    assert len(used(rows)) == len(before) - 2, "the first day"
    used(fold_all, START + (KEPT_DAYS + 1) * DAY)
    assert len(used(rows)) == len(before) - 3


def test_a_day_is_done_once_and_what_comes_later_counts_beside_it(used):
    used(fold_all)
    assert used(lambda tx: tx.session.get(UsageDaysMark, 3).number) == START // DAY + 3
    used(amounts.add, [(ONE, OUT)], at(START + 20))
    used(amounts.add, [(ONE, OUT)], at(START + 7200))
    used(fold_all)
    first = [row for row in used(rows) if row[:2] == ("i-1", OUT.usage)][:2]
    assert [row[4] for row in first] == [35, 7]


@pytest.mark.parametrize(("begin", "end"), [(START + 50, None), (START - 5, START + 50)])
def test_hours_of_a_resource_stay_on_a_day_in_which_its_tags_change(used, begin, end):
    used(lambda tx: tx.session.add(tag(ONE, begin, end)))
    before = used(rows)
    used(fold_all)
    assert [row for row in used(rows) if row[3] < START + DAY] == [row for row in before if row[3] < START + DAY]
    assert len(used(rows)) == len(before) - 1, "the next day"


@pytest.mark.parametrize(("begin", "end"), [(START, None), (START - 9, START), (START, START + DAY)])
def test_a_tag_that_changes_between_days_hinders_nothing(used, begin, end):
    used(lambda tx: tx.session.add(tag(ONE, begin, end)))
    used(fold_all)
    assert len(used(rows)) == 5


@pytest.mark.parametrize(("moment", "count"), [(0, 5), (1, 7), (DAY - 1, 7), (DAY, 5), (DAY + 1, 6)])
def test_hours_stay_on_a_day_in_which_prices_change(used, moment, count):
    used(lambda tx: tx.session.add(PriceBook(valid_from=START + moment, text='currency = "EUR"')))
    used(fold_all)
    assert len(used(rows)) == count


def test_a_transaction_that_ends_in_the_middle_changes_nothing(used):
    before = used(rows)
    with pytest.raises(ZeroDivisionError):
        used(lambda tx: folded_amounts.fold(tx, at(OLD)) and 1 / 0)
    assert used(rows) == before


amounts_used = st.lists(
    st.tuples(
        st.sampled_from([ONE, OTHER, THIRD]),
        st.sampled_from([OUT.usage, CREDITS.usage]),
        st.integers(0, 1 << 45),
        st.integers(0, 3 * DAY - 1),
    ),
    max_size=25,
)
tags = st.lists(
    st.tuples(st.sampled_from([ONE, OTHER]), st.integers(-DAY, 3 * DAY), st.integers(1, 2 * DAY)), max_size=3
)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None, max_examples=examples(15))
@given(amounts_used, tags, st.lists(st.integers(1, 3 * DAY), max_size=2, unique=True), st.integers(1, 4))
def test_no_sum_changes(database, uses, tagged, books, at_once):
    """By day, resource, zone and tag, and between the times at which prices begin."""
    edges = sorted({START + day * DAY for day in range(4)} | {START + moment for moment in books})
    questions = [
        Question(account, by_zone=by_zone, by_resource=by_resource, tags=keys)
        for account, by_zone, by_resource, keys in (
            ("", False, False, ()),
            (ONE.account_id, True, False, ("team",)),
            ("", False, True, ()),
            ("", True, True, ("team",)),
        )
    ]

    def live(tx):
        for resource, usage, amount, moment in sorted(uses, key=lambda use: use[3]):
            amounts.add(tx, [(resource, Use(usage, "Op", amount))], at(START + moment))
        for number, (resource, begin, length) in enumerate(tagged):
            if (resource, begin) not in {one[:2] for one in tagged[:number]}:
                tx.session.add(tag(resource, START + begin, START + begin + length, f"v{number}"))
        for moment in books:
            tx.session.add(PriceBook(valid_from=START + moment, text='currency = "EUR"'))
        tx.session.flush()
        before = [usage_sums.of_parts(tx, edges, at(OLD), asked) for asked in questions]
        days = tx.session.scalar(select(func.sum(UsageDay.amount)))
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(folded_amounts, "_AT_ONCE", at_once)
            fold_all(tx)
        assert [usage_sums.of_parts(tx, edges, at(OLD), asked) for asked in questions] == before
        assert tx.session.scalar(select(func.sum(UsageAmount.amount))) == days
        if not tagged and not books:
            per_day = {(row[0], row[1], row[3] // DAY) for row in rows(tx)}
            assert len(per_day) == len(rows(tx))

    database.run_blocking(live, dry_run=True)
