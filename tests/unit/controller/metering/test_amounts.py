"""What is used at moments: in its hour and in its day, once, and apart from what lasts."""

from collections import defaultdict
from datetime import UTC, datetime
from itertools import pairwise

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import select

from stead_controller.db.tables import UsageAmount, UsageCounter, UsageDay, UsageTag
from stead_controller.metering import amounts, ledger, usage_days, usage_sums
from stead_controller.metering.amounts import Count
from stead_controller.metering.ledger import Resource, Use
from stead_controller.metering.usage_sums import Question
from tests.support.examples import examples

DAY = 86400
START = 1_700_000_000 // DAY * DAY
ONE, OTHER, THIRD = Resource("i-1", "1" * 12, "a"), Resource("i-2", "1" * 12, "b"), Resource("i-3", "2" * 12, "a")
CREDITS, MORE = "CPUCredits:t3", "CPUCredits:t2"
LASTS = Use("EBS:VolumeUsage.gp3", "Create", 3)


def at(moment):
    return datetime.fromtimestamp(moment, UTC)


uses = st.lists(
    st.tuples(
        st.sampled_from([ONE, OTHER, THIRD]),
        st.sampled_from([CREDITS, MORE]),
        st.integers(0, 1 << 45),
        st.integers(0, 90_000),
    ),
    max_size=12,
)
edges = st.lists(st.integers(START - 2 * DAY, START + 5 * DAY), min_size=2, max_size=5, unique=True).map(sorted)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None, max_examples=examples(20))
@given(uses, st.lists(edges | st.just([START, START + DAY, START + 2 * DAY]), min_size=1, max_size=3))
def test_sums_are_those_of_a_recount_by_hours(database, uses, questions):
    """An hour's amount counts from when it began; parts of any form, with what lasts beside it, add up to the same."""
    began, told, moment = {}, defaultdict(int), START

    def live(tx):
        nonlocal moment
        ledger.begin(tx, ONE, [LASTS], at(START))
        for resource, usage, amount, passed in uses:
            moment += passed
            amounts.add(tx, [(resource, Use(usage, "Op", amount))], at(moment))
            if amount:
                key = (resource, usage, began.setdefault((resource, usage, moment // 3600), moment))
                told[key] += amount
            if passed % 3 == 0:
                ledger.end(tx, ONE, at(moment))
                usage_days.add_lines(tx)
        for edges in questions:
            for by_resource, by_zone, account_id in (
                (False, False, ""),
                (True, False, ""),
                (False, True, ONE.account_id),
            ):
                asked = Question(account_id, by_zone=by_zone, by_resource=by_resource)
                found = usage_sums.of_parts(tx, edges, at(moment), asked)
                wanted = defaultdict(int)
                for (resource, usage, when), amount in told.items():
                    for part, (begin, end) in enumerate(pairwise(edges)):
                        if begin <= when < end and account_id in ("", resource.account_id):
                            names = (resource.id if by_resource else "", resource.zone if by_zone else "")
                            wanted[resource.account_id, usage, *names, part] += amount
                assert {
                    (
                        one.used.account_id,
                        one.used.usage,
                        one.used.resource_id,
                        one.used.zone,
                        one.used.part,
                    ): one.amount
                    for one in found
                    if one.used.usage != LASTS.usage
                } == wanted

    database.run_blocking(live, dry_run=True)


def test_an_hour_that_is_over_stays_and_a_tag_counts_from_when_the_hour_began(run):
    for value, begin, end in (("red", START, START + 3000), ("blue", START + 3000, None)):
        tag = UsageTag(account_id=ONE.account_id, resource_id=ONE.id, key="team", value=value, began=begin, ended=end)
        run(lambda tx, tag=tag: tx.session.add(tag))
    run(amounts.add, [(ONE, Use(CREDITS, "Op", 5))], at(START + 10))
    run(amounts.add, [(ONE, Use(CREDITS, "Op", 7))], at(START + 3599))
    before = run(lambda tx: [(row.hour, row.began, row.amount) for row in tx.session.scalars(select(UsageAmount))])
    assert before == [(START // 3600, START + 10, 12)]
    run(amounts.add, [(ONE, Use(CREDITS, "Op", 9))], at(START + 3600))
    rows = run(
        lambda tx: [
            (row.began, row.amount) for row in tx.session.scalars(select(UsageAmount).order_by(UsageAmount.hour))
        ]
    )
    assert rows == [(START + 10, 12), (START + 3600, 9)]
    [day] = run(lambda tx: tx.session.scalars(select(UsageDay)).all())
    assert (day.day, day.amount) == (START // DAY, 21)
    for edges in ((START, START + DAY), (START + 5, START + 7200), (START, START + 3600, START + DAY)):
        found = run(usage_sums.of_parts, edges, at(START + DAY), Question(tags=("team",)))
        sums = defaultdict(int)
        for one in found:
            sums[one.used.tags] += one.amount
        assert sums == {("red",): 12, ("blue",): 9}


@pytest.mark.parametrize(
    ("told", "wanted"),
    [
        ([("a", 5), ("a", 5), ("a", 9)], [5, 0, 4]),
        ([("a", 5), ("b", 2), ("a", 5), ("b", 3)], [5, 2, 0, 1]),
        ([("a", 9), ("a", 5), ("a", 10)], [9, 0, 1]),
        ([("a", 0), ("a", 1)], [0, 1]),
    ],
)
def test_a_counter_counts_once_whatever_is_told_again(run, told, wanted):
    found = [run(amounts.grown, [Count("i-1", "n", epoch, total)])[0] for epoch, total in told]
    assert found == wanted


def test_counters_of_one_message_are_apart_and_one_that_comes_twice_counts_once(run):
    counts = [
        Count("i-1", "n", "a", 5),
        Count("i-1", "m", "a", 6),
        Count("i-2", "n", "a", 7),
        Count("i-1", "n", "a", 8),
    ]
    assert run(amounts.grown, counts) == [5, 6, 7, 3]
    assert run(amounts.grown, counts) == [0, 0, 0, 0]


def test_counters_go_with_their_resource(run):
    run(amounts.grown, [Count("i-1", "n", "a", 5), Count("i-2", "n", "a", 5)])
    run(amounts.forget, ["i-1", "i-3"])
    assert run(lambda tx: tx.session.scalars(select(UsageCounter.resource_id)).all()) == ["i-2"]


def test_nothing_is_written_of_nothing(run):
    run(amounts.add, [(ONE, Use(CREDITS, "Op", 0))], at(START))
    assert run(lambda tx: tx.session.scalars(select(UsageAmount)).all()) == []
    assert run(lambda tx: tx.session.scalars(select(UsageDay)).all()) == []
