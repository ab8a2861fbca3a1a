"""A launch costs the same with few and with many instances present: in statements, in rows that are read, in bytes sent."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import event, func, select

from stead_controller.aws import operations
from stead_controller.db import prepared
from stead_controller.db.session import Database, Transaction
from stead_controller.db.tables import Instance, VpcHost
from stead_controller.desired.changes import News, Reader
from stead_controller.desired.revisions import current
from stead_controller.hosts import reports
from tests.bench.launch_cost import AT_ONCE, Bench
from tests.support import empty_database

_HOSTS = 8
_FEW, _MANY = 24, 424
_EACH = 6  # launches that are looked at
_SINGLY, _BY_50 = 37, 17  # statements for each instance, without those of its report and of what hosts are sent
_LONGER = 48  # bytes that addresses, names and numbers may have more


@dataclass
class _Spent:
    """What one launch and what follows from it took."""

    statements: int = 0
    rows: int = 0
    sent: tuple[int, ...] = ()  # bytes to each host, those with most first
    reported: tuple[int, int] = (0, 0)  # statements and rows of its host's report that it runs


class _Counts:
    """Counts statements, and the rows that prepared ones return, which are all but a few."""

    def __init__(self, database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
        self.spent = _Spent()
        execute = prepared._execute

        def count_rows(*arguments: Any, **words: Any) -> list[Any]:
            found = execute(*arguments, **words)
            self.spent.rows += len(found)
            return found

        monkeypatch.setattr(prepared, "_execute", count_rows)
        event.listen(database.engine, "before_cursor_execute", self._count)

    def _count(self, *_: Any) -> None:
        self.spent.statements += 1

    def begin(self) -> None:
        self.spent = _Spent()


@pytest.fixture
def database(tmp_path: Path) -> Iterator[Database]:
    operations.load()
    database = Database(f"sqlite:///{empty_database.write(tmp_path / 'stead.sqlite', of_program=True)}")
    yield database
    database.close()


def _bytes_sent(news: News, hosts_of: dict[str, set[str]]) -> tuple[int, ...]:
    """Return how many bytes each host is sent, without what begins or ends for it: `hosts_of` are a VPC's."""
    sent = dict.fromkeys(frozenset[str]().union(*hosts_of.values()), 0)
    for vpc_id, topic in news.topics.items():
        for host_id in hosts_of[vpc_id]:
            sent[host_id] += sum(map(len, topic.pieces.values()))
    for host_id, pieces in news.own.items():
        sent[host_id] += sum(map(len, pieces))
    return tuple(sorted(sent.values(), reverse=True))


def _hosts_of(tx: Transaction) -> dict[str, set[str]]:
    found: dict[str, set[str]] = {}
    for vpc_id, host_id in tx.session.execute(select(VpcHost.vpc_id, VpcHost.host_id)):
        found.setdefault(vpc_id, set()).add(host_id)
    return found


def _launch(bench: Bench, counts: _Counts) -> _Spent:
    before = bench.database.run_blocking(current)
    counts.begin()
    bench.launch(1)
    spent = counts.spent
    hosts_of = bench.database.run_blocking(_hosts_of)
    every = frozenset[str]().union(*hosts_of.values())
    counts.begin()
    news = bench.database.run_blocking(lambda tx: Reader(tx, epoch="any").news(before, every), writes=False)
    spent.statements += counts.spent.statements
    spent.rows += counts.spent.rows
    assert not news.begun  # all hosts had to do with the VPC before
    spent.sent = _bytes_sent(news, hosts_of)
    host_id, statuses = max(bench.database.run_blocking(Bench.reports), key=lambda each: each[1][-1].revision)
    counts.begin()
    bench.database.run_blocking(lambda tx: reports.apply_progress(tx, [(host_id, statuses)], datetime.now(UTC)))
    spent.reported = (counts.spent.statements, counts.spent.rows)
    return spent


def _present(tx: Transaction) -> int:
    return tx.session.scalar(select(func.count()).select_from(Instance)) or 0


def _measure(bench: Bench, counts: _Counts) -> list[_Spent]:
    return [_launch(bench, counts) for _ in range(_EACH)]


def test_a_launch_costs_the_same_with_many_instances_in_its_vpc(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    bench, counts = Bench(database, _HOSTS), _Counts(database, monkeypatch)
    bench.launch(_FEW)
    few = _measure(bench, counts)
    for _ in range((_MANY - _FEW) // AT_ONCE):
        bench.launch(AT_ONCE)
    many = _measure(bench, counts)
    assert database.run_blocking(_present) >= _MANY
    # The least of each: an address that is taken is tried again with another, which happens with few as well.
    assert min(each.statements for each in many) <= min(each.statements for each in few)
    assert min(each.rows for each in many) <= min(each.rows for each in few)
    assert {each.reported for each in many} == {each.reported for each in few}
    for each in many:
        own, *others = each.sent
        assert len(others) >= _HOSTS - 1
        assert len(set(others)) == 1  # each of them is sent the same: where the new interface is
        assert own <= max(one.sent[0] for one in few) + _LONGER
        assert others[0] <= max(one.sent[-1] for one in few) + _LONGER


def test_a_launch_is_no_more_statements_than_before(database: Database) -> None:
    bench = Bench(database, _HOSTS)
    bench.launch(AT_ONCE)  # its VPC is known to all hosts now
    for count, most in ((1, _SINGLY), (AT_ONCE, _BY_50)):
        spent = []
        for _ in range(_EACH):
            before = bench.statements
            bench.launch(count)
            spent.append((bench.statements - before) / count)
        assert min(spent) <= most
