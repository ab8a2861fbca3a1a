"""When alarms are due, what is read for them, and what becomes of those that were changed since they were read."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from stead_controller.metrics.datum import Found, Wanted, single
from stead_controller.request.transaction import Transaction
from stead_controller.resources.metrics import due_alarms
from stead_controller.resources.metrics.alarm_definition import Definition
from stead_controller.resources.metrics.alarm_states import NewState
from stead_controller.resources.metrics.due_alarms import Due, Judged
from stead_controller.resources.metrics.measures import Measure, Query
from tests.support.memory_metrics import MemoryMetrics
from tests.support.rows import NOW
from tests.unit.controller.resources.metrics.alarms_of_tenant import POLICY, Alarms, above_one, average, metric

SECOND = timedelta(seconds=1)
STEP = datetime(2026, 3, 4, 5, 6, 10, tzinfo=UTC)  # the next one after NOW
ACCOUNT = "111111111111"


@pytest.fixture
def own(run: Any, world: Any) -> Alarms:
    return Alarms(run, world)


def test_the_next_step_is_always_later() -> None:
    assert due_alarms.next_step(NOW) == STEP
    assert due_alarms.next_step(STEP - timedelta(microseconds=1)) == STEP
    assert due_alarms.next_step(STEP) == STEP + 10 * SECOND


@pytest.mark.parametrize(
    ("has_data", "has_newer", "awaits", "expected"),
    [
        (False, False, False, None),
        (False, False, True, STEP),
        (True, False, False, NOW + 60 * SECOND),
        (True, False, True, NOW + 60 * SECOND),
        (True, True, False, STEP),
        (True, True, True, STEP),
    ],
)
def test_an_alarm_rests_without_data_and_is_looked_at_soon_for_newer_ones(
    has_data: bool, has_newer: bool, awaits: bool, expected: datetime | None
) -> None:
    judged = Judged(Due(ACCOUNT, "a", "OK", "", above_one()), None, has_data, has_newer)
    assert judged.next(NOW, awaits_data=awaits) == expected


def test_alarms_that_watch_a_metric_are_found_in_all_accounts(own: Alarms, monkeypatch: pytest.MonkeyPatch) -> None:
    theirs = Alarms(own.run, own.world, own.world.other)
    for one in (own, theirs):
        one.put("b")
        one.put("a", definition=above_one(metric("other")))
    mine, other = own.caller.account_id, theirs.caller.account_id
    load, more = metric().digest(mine), metric("other").digest(mine)
    assert own.run(due_alarms.watchers) == {mine, other}
    assert own.run(due_alarms.watching, [load]) == [(mine, "b")]
    assert own.run(due_alarms.watching, [metric().digest(other), metric("x").digest(mine)]) == [(other, "b")]
    monkeypatch.setattr(due_alarms, "_DIGESTS", 1)
    assert own.run(due_alarms.watching, [load, more]) == [(mine, "a"), (mine, "b")]


def test_no_account_watches_metrics_without_an_alarm_on_one(own: Alarms) -> None:
    assert own.run(due_alarms.watchers) == set()


def test_alarms_are_woken_unless_they_are_due_before(own: Alarms) -> None:
    theirs = Alarms(own.run, own.world, own.world.other)
    for name, due in (("rests", None), ("later", NOW + SECOND), ("before", NOW - SECOND), ("not named", None)):
        own.put(name)
        own.set(name, due=due)
    theirs.put("rests")
    theirs.run(lambda tx: setattr(theirs.row_of(tx, "rests"), "due", None))
    own.run(due_alarms.wake, [(own.caller.account_id, name) for name in ("rests", "later", "before", "gone")], NOW)
    assert {name: own.row(name).due for name in ("rests", "later", "before", "not named")} == {
        "rests": NOW,
        "later": NOW,
        "before": NOW - SECOND,
        "not named": None,
    }
    assert theirs.row("rests").due is None


def test_a_controller_that_begins_wakes_the_metric_alarms_that_rest(own: Alarms) -> None:
    own.put("rests")
    own.put("due")
    own.compose("composite", "ALARM(due)")
    own.set("rests", due=None)
    own.run(due_alarms.wake_all, NOW + SECOND)
    assert {name: own.row(name).due for name in ("rests", "due", "composite")} == {
        "rests": NOW + SECOND,
        "due": NOW,
        "composite": None,
    }


def test_those_that_are_due_come_longest_waiting_first_and_some_at_a_time(
    own: Alarms, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert own.run(due_alarms.next_due) is None
    for name, due in (("c", NOW), ("a", NOW - SECOND), ("b", NOW - 2 * SECOND), ("z", NOW + SECOND), ("rests", None)):
        own.put(name)
        own.set(name, due=due)
    assert own.run(due_alarms.next_due) == NOW - 2 * SECOND
    found = own.run(due_alarms.due, NOW)
    assert [one.name for one in found] == ["b", "a", "c"]
    row = own.row("b")
    assert found[0] == Due(own.caller.account_id, "b", "INSUFFICIENT_DATA", row.definition, above_one())
    monkeypatch.setattr(due_alarms, "AT_ONCE", 2)
    assert [one.name for one in own.run(due_alarms.due, NOW)] == ["b", "a"]


class Settled:
    """An alarm that was read at NOW, and judged."""

    def __init__(self, own: Alarms, *arns: str) -> None:
        own.put("own", *arns)
        own.become("OK", why="before")
        self.own = own
        [self.due] = own.run(due_alarms.due, NOW)

    def settle(self, new: NewState | None = None, *, has_data: bool = True, **more: Any) -> datetime | None:
        """Give it what was judged; tell when it is due next."""
        judged = Judged(self.due, new, has_data, has_newer=False)
        self.own.run(due_alarms.settle, [judged], NOW, **more)
        return self.own.row().due


def test_a_judged_alarm_gets_its_state_and_is_due_in_a_minute(own: Alarms) -> None:
    assert Settled(own).settle(NewState("ALARM", "why")) == NOW + 60 * SECOND
    assert (own.row().state, own.row().reason, len(own.history())) == ("ALARM", "why", 2)


def test_an_alarm_without_data_rests_unless_data_were_stored(own: Alarms) -> None:
    settled = Settled(own)
    assert settled.settle(has_data=False, awaiting={(ACCOUNT, "own")}) == STEP
    own.set(due=NOW)
    assert settled.settle(has_data=False, awaiting={(ACCOUNT, "other")}) is None
    assert settled.settle(NewState("ALARM", "why")) is None  # nobody has woken it
    assert own.row().state == "OK"


def test_the_same_state_for_another_reason_is_written_without_history(own: Alarms) -> None:
    settled = Settled(own)
    settled.settle(NewState("OK", "now"))
    assert (own.row().reason, len(own.history())) == ("now", 1)
    own.set(updated=NOW - SECOND, due=NOW)
    settled.settle(NewState("OK", "now"))
    settled.settle(None)
    assert own.row().updated == NOW - SECOND


def test_another_state_for_the_same_reason_is_written(own: Alarms) -> None:
    Settled(own).settle(NewState("ALARM", "before"))
    assert (own.row().state, len(own.history())) == ("ALARM", 2)


def test_what_was_woken_meanwhile_is_judged_and_looked_at_then(own: Alarms) -> None:
    settled = Settled(own)
    own.set(due=NOW + SECOND)
    assert settled.settle(NewState("ALARM", "why")) == NOW + SECOND
    assert own.row().state == "ALARM"


def test_a_state_that_was_set_by_hand_meanwhile_stays_until_the_next_step(own: Alarms) -> None:
    settled = Settled(own)
    own.become("ALARM", why="by hand")
    assert settled.settle(NewState("OK", "why")) == STEP
    assert (own.row().state, own.row().reason) == ("ALARM", "by hand")


def test_an_alarm_that_was_changed_or_deleted_meanwhile_is_left_alone(own: Alarms) -> None:
    settled = Settled(own)
    own.put(definition=replace(above_one(), threshold=2))
    assert settled.settle(NewState("ALARM", "why")) == NOW
    assert own.row().state == "OK"
    own.run(lambda tx: tx.session.delete(own.row_of(tx)))
    own.put("other")
    own.compose("own", "ALARM(other)")
    own.set(definition=settled.due.text, due=NOW)
    settled.settle(NewState("ALARM", "why"))
    assert (own.row().state, own.row().due) == ("OK", NOW)
    own.run(lambda tx: tx.session.delete(own.row_of(tx)))
    own.run(due_alarms.settle, [Judged(settled.due, NewState("ALARM", "why"), True, False)], NOW)
    assert own.states() == {"other": "INSUFFICIENT_DATA"}


def test_policies_are_asked_again_as_long_as_the_state_stays_also_without_data(own: Alarms) -> None:
    settled = Settled(own, POLICY)
    assert settled.settle(NewState("ALARM", "why"), has_data=False) == NOW + 60 * SECOND
    [asked] = own.asked()
    assert not asked.again
    own.set(due=NOW, acted=NOW - 60 * SECOND)
    [settled.due] = own.run(due_alarms.due, NOW)
    assert settled.settle() == NOW + 60 * SECOND
    assert [one.again for one in own.asked()] == [False, True]
    own.set(due=NOW)
    own.run(due_alarms.settle, [Judged(settled.due, None, has_data=True, has_newer=True)], NOW)
    assert own.row().due == STEP  # which is before policies are asked again


def test_all_is_seen_in_the_transaction_that_settles(own: Alarms) -> None:
    settled = Settled(own)

    def next_due(tx: Transaction) -> Any:
        due_alarms.settle(tx, [Judged(settled.due, None, True, False)], NOW)
        return due_alarms.next_due(tx)

    assert own.run(next_due) == NOW + 60 * SECOND


class Store(MemoryMetrics):
    """A store that knows what it was asked."""

    def __init__(self) -> None:
        super().__init__()
        self.asked: list[Wanted] = []

    async def read(self, wanted: Any) -> list[list[Found]]:
        """Answer each question."""
        self.asked += wanted
        return await super().read(wanted)

    async def put(self, value: float, before: float, name: str = "load", account: str = ACCOUNT) -> None:
        """Store a value so many seconds before the end of the evaluated time."""
        at = int((STEP - 10 * SECOND).timestamp() * 1000) - int(before * 1000)
        await self.add([single(metric(name).of(account), at, "None", value)])


def due(definition: Definition | None = None, state: str = "OK", account: str = ACCOUNT) -> Due:
    return Due(account, "own", state, "", definition or above_one())


async def judged(store: Store, *some: Due) -> list[tuple[str | None, bool, bool]]:
    found = await due_alarms.judge(store, some, NOW)
    assert [one.due for one in found] == list(some)
    return [(None if one.new is None else one.new.state, one.has_data, one.has_newer) for one in found]


async def test_alarms_are_judged_by_the_data_of_their_own_account_and_metric() -> None:
    store = Store()
    await store.put(2, 1)
    await store.put(0, 1, account="222222222222")
    await store.put(0, 1, "other")
    some = (due(), due(account="222222222222"), due(above_one(metric("other"))), due(above_one(metric("none"))))
    found = await judged(store, some[0], some[2], some[3], some[1])
    assert found == [
        ("ALARM", True, False),
        ("OK", True, False),
        ("INSUFFICIENT_DATA", False, False),
        ("OK", True, False),
    ]


async def test_what_several_alarms_watch_is_read_once() -> None:
    store = Store()
    await store.put(2, 1)
    await judged(store, due(), due(replace(above_one(), threshold=9)))
    assert len(store.asked) == 1


async def test_data_of_the_next_time_are_seen_but_do_not_count() -> None:
    store = Store()
    await store.put(2, 0)
    assert await judged(store, due()) == [("INSUFFICIENT_DATA", True, True)]
    await store.put(0, 0.001)
    assert await judged(store, due()) == [("OK", True, True)]


@pytest.mark.parametrize(("before", "state"), [(180, "ALARM"), (180.001, "INSUFFICIENT_DATA")])
async def test_data_count_that_are_at_most_two_periods_older_than_those_evaluated(before: float, state: str) -> None:
    store = Store()
    await store.put(2, before)
    assert await judged(store, due()) == [(state, state == "ALARM", False)]


async def test_few_samples_of_a_percentile_are_counted_where_they_matter() -> None:
    store = Store()
    await store.put(2, 1)
    of_few = replace(above_one(), measure=Measure(metric(), "p90", 60))
    assert await judged(store, due(of_few)) == [("ALARM", True, False)]
    assert [one.statistic for one in store.asked] == ["p90"]
    assert await judged(store, due(replace(of_few, low_samples="ignore"))) == [(None, True, False)]
    assert [one.statistic for one in store.asked[1:]] == ["p90", "SampleCount"]


async def test_an_alarm_on_an_expression_is_judged_by_what_that_gives() -> None:
    store = Store()
    await store.put(2, 1)
    await store.put(9, 1, "other")
    measured = (
        Query("a", measure=average(metric()), returned=False),
        Query("b", measure=average(metric("other")), returned=False),
    )

    async def state(expression: str) -> str | None:
        queries = (*measured, Query("e", expression=expression, returned=True, period=60))
        of_expression = Definition(None, queries, 1, None, 10, "GreaterThanThreshold")
        [(found, has_data, _)] = await judged(store, due(of_expression))
        assert has_data
        return found

    assert await state("a + b") == "ALARM"
    assert await state("b - a") == "OK"
    assert await state("[a, b]") == "INSUFFICIENT_DATA"


@pytest.mark.parametrize(("period", "times"), [(60, ("05:05", "05:04")), (300, ("05:01", "04:56"))])
async def test_a_number_is_a_series_of_the_period_that_is_given(period: int, times: tuple[str, str]) -> None:
    queries = (Query("e", expression="TIME_SERIES(20)", returned=True, period=period),)
    of_number = Definition(None, queries, 2, None, 10, "GreaterThanThreshold")
    [found] = await due_alarms.judge(Store(), [due(of_number)], NOW)
    assert found.new is not None
    assert (found.new.state, found.has_data) == ("ALARM", False)
    assert "[20.0 (04/03/26 {}:00), 20.0 (04/03/26 {}:00)]".format(*times) in found.new.reason
