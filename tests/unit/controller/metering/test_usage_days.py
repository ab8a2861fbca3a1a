"""Days of the ledger: each line is counted once, and sums are the same before and after."""

from datetime import UTC, datetime
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import event, func, select

from stead_controller.clock import ClockSteps, now
from stead_controller.controller import Controller
from stead_controller.db.tables import UsageDay, UsageLine, UsageTag
from stead_controller.metering import usage_days, usage_sums
from stead_controller.metering.usage_sums import Question
from stead_controller.settings import Settings
from tests.support import databases
from tests.support.examples import examples
from tests.support.rows import NOW

DAY = 86400
BEGIN = 20_000 * DAY
lines = st.lists(
    st.tuples(
        st.sampled_from(["1" * 12, "2" * 12]), st.sampled_from(["NatGateway-Hours", "EBS:VolumeUsage"]),
        st.sampled_from(["a", "b"]), st.integers(1, 9), st.integers(0, 5 * DAY), st.integers(0, 3 * DAY), st.booleans(),
    ),
    max_size=8,
)  # fmt: skip


def line(tx, *about, resource_id="r"):
    account_id, usage, zone, quantity, after, length = about
    tx.session.add(
        UsageLine(
            account_id=account_id, usage=usage, zone=zone, quantity=quantity, resource_id=resource_id, operation="o",
            began=BEGIN + after, ended=BEGIN + after + length,
        )
    )  # fmt: skip
    tx.session.flush()


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None, max_examples=examples(20))
@given(
    lines, st.sets(st.integers(0, 8 * DAY) | st.integers(0, 8).map(DAY.__mul__), min_size=2, max_size=12), st.booleans()
)
def test_sums_with_days_are_those_of_all_lines(database, given_lines, edges, by_zone):
    def live(tx):
        for *about, count in given_lines:
            line(tx, *about)
            if count:
                usage_days.add_lines(tx)
        ordered = [BEGIN + edge for edge in sorted(edges)]
        for account_id in ("", "1" * 12):
            found = usage_sums.of_parts(tx, ordered, NOW, Question(account_id, by_zone=by_zone))
            singly = usage_sums.of_parts(tx, ordered, NOW, Question(account_id, by_zone=by_zone, by_resource=True))
            assert found == [
                usage_sums.UsageSum(each.used._replace(resource_id=""), each.amount) for each in singly
            ]  # all have one resource, and are read line by line

    database.run_blocking(live, dry_run=True)


@pytest.mark.skipif(bool(databases.SERVER), reason="PostgreSQL knows by itself how few lines follow a number")
def test_lines_that_are_counted_are_not_read_again(database):
    """SQLite would read all of an account's by its index."""
    asked: list[tuple[str, Any]] = []

    def note(_connection: Any, _cursor: Any, statement: str, parameters: Any, *_: Any) -> None:
        asked.append((statement, parameters))

    def live(tx):
        line(tx, "1" * 12, "NatGateway-Hours", "a", 1, 0, 20)
        usage_days.add_lines(tx)
        event.listen(tx.connection, "before_cursor_execute", note)
        for account_id in ("", "1" * 12):
            usage_sums.of_parts(tx, (BEGIN, BEGIN + DAY), NOW, Question(account_id))
        event.remove(tx.connection, "before_cursor_execute", note)
        of_lines = [one for one in asked if "FROM usage_lines" in one[0]]
        return [
            [row[3] for row in tx.connection.exec_driver_sql(f"EXPLAIN QUERY PLAN {statement}", parameters)][:2]
            for statement, parameters in of_lines
        ]

    plans = database.run_blocking(live, dry_run=True)
    assert len(plans) == 2
    for plan in plans:
        assert any("usage_lines USING INTEGER PRIMARY KEY (rowid>?)" in step for step in plan), plan


def test_lines_are_counted_in_order_so_many_at_once_and_never_again(run, monkeypatch):
    monkeypatch.setattr(usage_days, "_LINES", 2)
    monkeypatch.setattr(usage_days, "_KEYS", 1)
    for number in range(3):
        run(line, "1" * 12, "NatGateway-Hours", "a", 1, DAY - 10 + number, 20)
    assert run(usage_days.counted) == 0
    assert run(usage_days.add_lines)
    first = run(usage_days.counted)
    assert not run(usage_days.add_lines)
    assert run(usage_days.counted) == first + 1
    assert not run(usage_days.add_lines)
    rows = run(lambda tx: tx.session.execute(select(UsageDay.day, UsageDay.amount).order_by(UsageDay.day)).all())
    assert [tuple(row) for row in rows] == [(20_000, 27), (20_001, 33)]


def test_by_tags_a_line_counts_when_its_end_is_past(run):
    """One that was shorter than its least time ends later, and its resource may lose a tag until then."""
    for ended in (20, 60, 30):
        run(line, "1" * 12, "NatGateway-Hours", "a", 1, 0, ended)
    seen = []
    for second in (59, 60, 61):
        run(usage_days.add_lines_by_tags, datetime.fromtimestamp(BEGIN + second, UTC))
        seen.append(run(usage_days.counted, usage_days.BY_TAGS))
    (first, *_) = run(lambda tx: tx.session.scalars(select(UsageLine.number).order_by(UsageLine.number)).all())
    assert seen == [first, first + 2, first + 2]


tags = st.lists(
    st.tuples(
        st.sampled_from(["1" * 12, "2" * 12]), st.sampled_from(["team", "env"]), st.sampled_from(["r", "s"]),
        st.integers(0, 6 * DAY), st.none() | st.integers(1, 4 * DAY), st.sampled_from(["x", "y"]),
    ),
    max_size=6, unique_by=lambda tag: tag[:3],
)  # fmt: skip


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None, max_examples=examples(20))
@given(
    st.lists(st.tuples(lines.map(lambda some: some[:1]), st.sampled_from(["r", "s"])), max_size=6), tags,
    st.sets(st.integers(0, 8 * DAY) | st.integers(0, 8).map(DAY.__mul__), min_size=2, max_size=4),
    st.sampled_from([("team",), ("env",), ("team", "env")]), st.booleans(),
)  # fmt: skip
def test_sums_by_tags_are_those_of_all_lines(database, given_lines, given_tags, edges, keys, by_zone):  # noqa: PLR0917 - what hypothesis chooses
    def live(tx):
        for account_id, key, resource_id, began, length, value in given_tags:
            ended = None if length is None else BEGIN + began + length
            about = {"account_id": account_id, "key": key, "resource_id": resource_id, "value": value}
            tx.session.add(UsageTag(**about, began=BEGIN + began if began else 0, ended=ended))
        for some, resource_id in given_lines:
            for *about, _ in some:
                line(tx, *about, resource_id=resource_id)
        ordered = [BEGIN + edge for edge in sorted(edges)]
        questions = [Question(account_id, by_zone=by_zone, tags=keys) for account_id in ("", "1" * 12)]
        before = [usage_sums.of_parts(tx, ordered, NOW, asked) for asked in questions]
        assert not usage_days.add_lines_by_tags(tx, NOW)
        assert [usage_sums.of_parts(tx, ordered, NOW, asked) for asked in questions] == before

    database.run_blocking(live, dry_run=True)


async def test_the_controller_counts_all_of_them_by_itself(database, run, tmp_path, monkeypatch):
    monkeypatch.setattr(usage_days, "_LINES", 2)
    for number in range(5):
        run(line, "1" * 12, "NatGateway-Hours", "a", 1, number, 20)
    running = SimpleNamespace(
        _clock_steps=ClockSteps(now), settings=Settings(state_dir=tmp_path), _sharing=SimpleNamespace(led=database)
    )
    await Controller._clean_up(running)
    newest = run(lambda tx: tx.session.scalar(select(func.max(UsageLine.number))))
    assert [run(usage_days.counted, mark) for mark in (usage_days.ALL, usage_days.BY_TAGS)] == [newest, newest]
