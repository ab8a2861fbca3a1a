"""Writing transactions that wait at the same moment share a commit, and each stays all or nothing, told when it is durable."""

import asyncio
import contextlib
import itertools
import json
import os
import sqlite3
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest
from sqlalchemy import create_engine, event, text
from sqlalchemy.exc import DBAPIError, IntegrityError, OperationalError

from stead_controller.db import session
from stead_controller.db.membership import Fenced
from stead_controller.db.session import Database, Transaction
from stead_controller.errors import Overloaded
from tests.support.postgresql import PROGRAMS, PostgresqlServer

_PATIENCE = 20.0
_SOON = 0.02


class _Queue:
    """A database whose writing thread is kept busy until all that a test wants written waits; counts commits."""

    def __init__(self, url: str) -> None:
        self.database = Database(url)
        with self.database.engine.connect() as connection:
            connection.execute(text("CREATE TABLE alembic_version (x INTEGER)"))  # for which PostgreSQL's writers queue
            connection.commit()
        self.database.run_blocking(lambda tx: tx.connection.execute(text("CREATE TABLE t (x INTEGER PRIMARY KEY)")))
        self.commits = 0
        self.committed: list[Transaction] = []
        self.at_commit: Callable[[], None] | None = None
        event.listen(self.database.engine, "commit", self._count)
        self.database.on_commit(self.committed.append)

    def _count(self, _connection: Any) -> None:
        self.commits += 1
        if self.at_commit is not None:
            self.at_commit()

    def run(self, *functions: Callable[[Transaction], Any], dry: int = -1) -> list[Any]:
        """Run transactions that wait together; give what each returned or raised. The one that holds them is dry."""
        return asyncio.run(self._run(functions, dry))

    async def _run(self, functions: tuple[Callable[[Transaction], Any], ...], dry: int) -> list[Any]:
        free = threading.Event()
        holder = asyncio.create_task(self.database.run(lambda _tx: free.wait(_PATIENCE), dry_run=True))
        await asyncio.sleep(0)
        waiting = [
            asyncio.create_task(self.database.run(function, dry_run=place == dry))
            for place, function in enumerate(functions)
        ]
        await asyncio.sleep(0)  # each has put its transaction into the queue
        assert self.database.waiting(writes=True) == len(functions) + 1
        self.tasks = waiting
        free.set()
        assert await holder
        return await asyncio.gather(*waiting, return_exceptions=True)

    @property
    def rows(self) -> list[int]:
        return self.database.run_blocking(
            lambda tx: list(tx.connection.scalars(text("SELECT x FROM t ORDER BY x"))), writes=False
        )


@pytest.fixture(scope="module")
def server() -> Iterator[PostgresqlServer]:
    made = PostgresqlServer()
    try:
        made.start()
        yield made
    finally:
        made.stop()


_ON_A_SERVER = (
    pytest.mark.story,
    pytest.mark.skipif(not PROGRAMS, reason="needs a PostgreSQL server: ./stead test --postgresql installs it"),
    pytest.mark.skipif(os.geteuid() != 0, reason="needs root, to run the server as its own user"),
)


@pytest.fixture(params=["sqlite", pytest.param("postgresql", marks=_ON_A_SERVER)])
def queue(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[_Queue]:
    monkeypatch.setattr(session, "_SHARING_SECONDS", _PATIENCE)  # that a busy machine is slow ends no sharing
    if request.param == "sqlite":
        made = _Queue(f"sqlite:///{tmp_path / 'd.sqlite'}")
    else:
        made = _Queue(request.getfixturevalue("server").new_database())
    yield made
    made.database.close()


def _insert(number: int) -> Callable[[Transaction], int]:
    def insert(tx: Transaction) -> int:
        tx.connection.execute(text("INSERT INTO t VALUES (:x)"), {"x": number})
        tx.events.add(str(number))
        return number

    return insert


def test_where_there_is_no_connection_nobody_is_left_without_an_answer(
    queue: _Queue, monkeypatch: pytest.MonkeyPatch
) -> None:
    connection, asked = Database._connection, itertools.count()

    @contextlib.contextmanager
    def refused_once(database: Database, *, writes: bool) -> Iterator[Any]:
        if next(asked) == 1:  # after that of the one that holds the others
            raise OperationalError("", {}, psycopg.OperationalError("no such server"))
        with connection(database, writes=writes) as found:
            yield found

    monkeypatch.setattr(Database, "_connection", refused_once)
    assert asyncio.run(asyncio.wait_for(queue._run((_insert(1), _insert(2)), -1), _PATIENCE)) == [1, 2]


def _insert_and_fail(number: int, error: Exception) -> Callable[[Transaction], None]:
    def fail(tx: Transaction) -> None:
        _insert(number)(tx)
        raise error

    return fail


def test_those_that_wait_share_a_commit_and_each_is_told_to_listeners(queue: _Queue) -> None:
    assert queue.run(*map(_insert, range(5))) == [0, 1, 2, 3, 4]
    assert (queue.rows, queue.commits) == ([0, 1, 2, 3, 4], 1)
    assert [tx.events for tx in queue.committed] == [{"0"}, {"1"}, {"2"}, {"3"}, {"4"}]


def test_what_fails_or_is_dry_is_undone_without_the_others(queue: _Queue) -> None:
    failure = ZeroDivisionError()
    assert queue.run(_insert(1), _insert_and_fail(2, failure), _insert(3), _insert(4), dry=2) == [1, failure, 3, 4]
    assert (queue.rows, queue.commits) == ([1, 4], 1)
    assert [tx.events for tx in queue.committed] == [{"1"}, {"4"}]


def test_nobody_is_answered_before_the_commit(queue: _Queue) -> None:
    answered: list[bool] = []

    async def look() -> None:
        for _ in range(5):  # turns of the loop, in which an answer would wake who waits for it
            await asyncio.sleep(0)
        answered.extend(task.done() for task in queue.tasks)

    def ask(loop: asyncio.AbstractEventLoop) -> None:
        asyncio.run_coroutine_threadsafe(look(), loop).result(_PATIENCE)

    async def run() -> list[Any]:
        loop = asyncio.get_running_loop()
        queue.at_commit = lambda: ask(loop)
        return await queue._run((_insert(1), _insert(2), _insert_and_fail(3, KeyError())), -1)

    assert asyncio.run(run())[:2] == [1, 2]
    assert answered == [False] * 3


def test_a_commit_that_fails_undoes_all_and_each_is_begun_again(queue: _Queue) -> None:
    begun: list[int] = []

    def fail_once() -> None:
        if queue.commits == 1:
            raise OperationalError("COMMIT", {}, Exception("disk I/O error"))

    def note(number: int) -> Callable[[Transaction], int]:
        def run(tx: Transaction) -> int:
            begun.append(number)
            return _insert(number)(tx)

        return run

    queue.at_commit = fail_once
    assert queue.run(note(1), note(2)) == [1, 2]
    assert (begun, queue.rows, queue.commits) == ([1, 2, 1, 2], [1, 2], 3)
    assert [tx.events for tx in queue.committed] == [{"1"}, {"2"}]


def test_an_error_of_the_database_is_of_the_one_that_caused_it(queue: _Queue) -> None:
    first, second, third = queue.run(_insert(1), _insert(1), _insert(3))
    assert (first, third, queue.rows) == (1, 3, [1, 3])
    assert isinstance(second, IntegrityError)


def test_one_that_the_database_asks_to_try_again_is_tried_again(queue: _Queue) -> None:
    begun: list[int] = []

    def busy_once(tx: Transaction) -> int:
        begun.append(len(begun))
        if len(begun) == 1:
            busy = sqlite3.OperationalError("database is locked")
            busy.sqlite_errorcode = sqlite3.SQLITE_BUSY
            raise OperationalError("SELECT 1", {}, busy)
        return _insert(2)(tx)

    assert queue.run(_insert(1), busy_once, _insert(3)) == [1, 2, 3]
    assert (begun, queue.rows) == ([0, 1], [1, 2, 3])


def test_one_that_ends_the_whole_transaction_loses_nothing_of_the_others(queue: _Queue) -> None:
    def end(tx: Transaction) -> None:
        tx.connection.rollback()
        raise ZeroDivisionError

    first, second, third = queue.run(_insert(1), end, _insert(3))
    assert (first, third, queue.rows) == (1, 3, [1, 3])
    assert isinstance(second, ZeroDivisionError)


def test_a_listener_that_fails_leaves_nobody_without_an_answer(queue: _Queue) -> None:
    def fail(tx: Transaction) -> None:
        if tx.events == {"1"}:
            raise ZeroDivisionError

    queue.database.on_commit(fail)
    first, second = queue.run(_insert(1), _insert(2))
    assert isinstance(first, ZeroDivisionError)
    assert (second, queue.rows) == (2, [1, 2])


def test_no_more_than_some_share_a_commit(queue: _Queue) -> None:
    queue.run(*map(_insert, range(session._SHARING * 2)))
    assert queue.commits == 2


def test_what_is_urgent_goes_before_what_waits_longer(queue: _Queue) -> None:
    order: list[int] = []

    def note(number: int) -> Callable[[Transaction], int]:
        def run(tx: Transaction) -> int:
            order.append(number)
            return _insert(number)(tx)

        return run

    async def run() -> list[Any]:
        free = threading.Event()
        holder = asyncio.create_task(queue.database.run(lambda _tx: free.wait(_PATIENCE), dry_run=True))
        await asyncio.sleep(0)
        tasks = [
            asyncio.create_task(queue.database.run(note(number), urgent=number in (2, 4))) for number in (1, 2, 3, 4)
        ]
        await asyncio.sleep(0)
        free.set()
        return await asyncio.gather(*tasks, holder)

    assert asyncio.run(run()) == [1, 2, 3, 4, True]
    assert order == [2, 4, 1, 3]


def test_who_would_wait_too_long_is_refused_and_changes_nothing(queue: _Queue) -> None:
    async def run() -> list[Any]:
        free, begun = threading.Event(), threading.Event()

        def hold(_tx: Transaction) -> bool:
            begun.set()
            return free.wait(_PATIENCE)

        holder = asyncio.create_task(queue.database.run(hold, dry_run=True, within=_SOON))
        assert await asyncio.to_thread(begun.wait, _PATIENCE)
        others = [  # of hosts, of an operator, and of a call that may wait longer
            asyncio.create_task(queue.database.run(_insert(number), **options))
            for number, options in ((1, {"urgent": True}), (2, {}), (3, {"within": _PATIENCE}))
        ]
        with pytest.raises(Overloaded):
            await Fenced(queue.database, lambda: lambda _tx: None).run(_insert(4), within=2 * _SOON)
        assert queue.database.waiting(writes=True) == 4, "nobody else was let go, nor waits for the thread that writes"
        assert len(queue.database._waiting) + len(queue.database._urgent) == 3
        free.set()
        return await asyncio.gather(holder, *others)

    assert asyncio.run(run()) == [True, 1, 2, 3], "what has begun in time is not refused later"
    assert (queue.rows, queue.database.refused) == ([1, 2, 3], 1)


def test_who_ends_waiting_is_not_told_that_it_was_too_long(queue: _Queue) -> None:
    async def run() -> None:
        free = threading.Event()
        holder = asyncio.create_task(queue.database.run(lambda _tx: free.wait(_PATIENCE), dry_run=True))
        await asyncio.sleep(0)
        waiting = asyncio.create_task(queue.database.run(_insert(1), within=_PATIENCE))
        await asyncio.sleep(0)
        waiting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await waiting
        free.set()
        await holder

    asyncio.run(run())
    assert (queue.rows, queue.database.refused) == ([], 0)


def test_nobody_waits_long_for_those_that_follow(queue: _Queue, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(session, "_SHARING_SECONDS", 0.0)
    queue.run(_insert(1), _insert(2), _insert(3))
    assert queue.commits == 3


def test_what_nobody_waits_for_any_more_is_not_run(queue: _Queue) -> None:
    loop: asyncio.AbstractEventLoop

    def cancelling(tx: Transaction) -> int:
        loop.call_soon_threadsafe(queue.tasks[1].cancel)
        asyncio.run_coroutine_threadsafe(asyncio.sleep(0), loop).result(_PATIENCE)
        asyncio.run_coroutine_threadsafe(asyncio.sleep(0), loop).result(_PATIENCE)
        return _insert(1)(tx)

    async def run() -> list[Any]:
        nonlocal loop
        loop = asyncio.get_running_loop()
        return await queue._run((cancelling, _insert(2), _insert(3)), -1)

    first, second, third = asyncio.run(run())
    assert (first, third, queue.rows) == (1, 3, [1, 3])
    assert isinstance(second, asyncio.CancelledError)


def test_what_is_committed_in_one_is_told_to_other_controllers_each_by_itself(queue: _Queue) -> None:
    if queue.database.engine.dialect.name == "sqlite":
        assert queue.run(_insert(1)) == [1], "there is no other controller to tell"
        return
    heard = []
    url = queue.database.engine.url.set(drivername="postgresql").render_as_string()
    with psycopg.connect(url, autocommit=True) as listener:
        listener.execute(f"LISTEN {session.CHANNEL}")
        assert queue.run(_insert(1), _insert(2), _insert(3), dry=1) == [1, 2, 3]
        for notification in listener.notifies(timeout=_PATIENCE, stop_after=2):
            heard += json.loads(notification.payload)["events"]
    assert (heard, queue.commits) == (["1", "3"], 1)


def test_those_whose_commit_nobody_knows_of_are_told_so_and_not_begun_again(queue: _Queue) -> None:
    if queue.database.engine.dialect.name == "sqlite":
        assert not queue.database._is_lost(queue.database.engine.connect()), "a file is never lost in between"
        return
    url, begun = queue.database.engine.url, list[int]()
    other = create_engine(url, isolation_level="AUTOCOMMIT")
    ends = text("SELECT pg_terminate_backend(pid, 10000) FROM pg_stat_activity WHERE state = 'idle in transaction'")

    def end() -> None:
        with other.connect() as connection:
            assert connection.scalars(ends).all() == [True]

    def note(number: int) -> Callable[[Transaction], int]:
        def run(tx: Transaction) -> int:
            begun.append(number)
            return _insert(number)(tx)

        return run

    queue.at_commit = end
    answers = queue.run(note(1), note(2))
    other.dispose()
    assert [type(each) for each in answers] == [OperationalError] * 2
    assert all(isinstance(each, DBAPIError) and each.connection_invalidated for each in answers)
    assert (begun, queue.committed) == ([1, 2], [])
