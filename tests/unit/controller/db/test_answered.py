"""Who must have an answer gets one from a server that hangs or is gone, and what is refused is not done later."""

import asyncio
import math
import os
import threading
from collections.abc import Awaitable, Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import event, text
from sqlalchemy.exc import DBAPIError

from stead_controller.db import session
from stead_controller.db.answered import Answered
from stead_controller.db.membership import Fenced
from stead_controller.db.session import Database, Transaction
from stead_controller.errors import Overloaded, Unavailable
from tests.support.postgresql import PROGRAMS, PostgresqlServer

pytestmark = [
    pytest.mark.story,
    pytest.mark.skipif(not PROGRAMS, reason="needs a PostgreSQL server: ./stead test --postgresql installs it"),
    pytest.mark.skipif(os.geteuid() != 0, reason="needs root, to run the server as its own user"),
]
_SOON, _PATIENCE = 0.05, 20.0
_UNCHANGED, _UNKNOWN = "answer: nothing was changed", "answer: it is not known whether"


@pytest.fixture(scope="module")
def server() -> Iterator[PostgresqlServer]:
    made = PostgresqlServer()
    try:
        made.start()
        yield made
    finally:
        made.stop()


@pytest.fixture
def database(server: PostgresqlServer, monkeypatch: pytest.MonkeyPatch) -> Iterator[Database]:
    monkeypatch.setattr(session, "_HANGS_SECONDS", _SOON)
    monkeypatch.setattr(session, "_MOST_IDLE_MS", 60_000)  # else a server that was held undoes what it held up
    with closing(Database(server.new_database())) as made:
        with made.engine.connect() as connection:
            connection.execute(text("CREATE TABLE alembic_version (x INTEGER)"))  # for which writers queue
            connection.execute(text("CREATE TABLE t (x INTEGER)"))
            connection.commit()
        yield made


@pytest.fixture
def answered(database: Database) -> Database:
    """As the database is for calls, also those of what only one controller does."""
    return Fenced(Answered(database, 2 * _SOON), lambda: lambda _tx: None)


def add(number: int) -> Callable[[Transaction], int]:
    def insert(tx: Transaction) -> int:
        tx.connection.execute(text("INSERT INTO t VALUES (:x)"), {"x": number})
        return number

    return insert


def rows(tx: Transaction) -> list[int]:
    return list(tx.connection.scalars(text("SELECT x FROM t ORDER BY x")))


def is_silent(database: Database) -> bool:
    """Whether the server owes the thread that writes an answer."""
    return database._silent_since < math.inf


async def refusal(work: Awaitable[Any]) -> str:
    with pytest.raises(Unavailable) as raised:
        await asyncio.wait_for(work, _PATIENCE)
    assert raised.value.code == "ServiceUnavailable"
    return raised.value.message


def test_a_server_that_hangs_refuses_what_is_asked_and_does_what_can_wait(
    server: PostgresqlServer, database: Database, answered: Database
) -> None:
    async def run() -> list[int]:
        await database.run(add(1))
        together = threading.Barrier(3)
        await asyncio.gather(*(database.run(lambda _tx: together.wait(_PATIENCE), writes=False) for _ in range(3)))
        with server.frozen():  # with connections open that nobody uses
            alone = asyncio.create_task(refusal(answered.run(add(3))))
            reads = [refusal(answered.run(rows, writes=False)) for _ in range(6)]  # more than there are threads
            for message in await asyncio.gather(alone, *reads):
                assert _UNCHANGED in message
            patient = asyncio.create_task(database.run(add(2)))
            assert _UNCHANGED in await refusal(answered.run(add(4)))
            late = Answered(database, _PATIENCE).run(add(5), within=_SOON)
            assert _UNCHANGED in await refusal(late)
            assert not patient.done()
            assert database.refused == 0, "the database is not behind, but away"
        assert await patient == 2
        return await database.run(rows, writes=False)

    assert asyncio.run(run()) == [1, 2]


def test_what_the_server_was_told_to_commit_may_be_done_and_the_answer_says_so(
    server: PostgresqlServer, database: Database
) -> None:
    hung: list[Any] = []
    woken: list[Any] = []
    free = threading.Event()
    database.on_commit(woken.append)

    def hang(_connection: Any) -> None:
        if not hung:
            hung.append(server.frozen())
            hung[0].__enter__()

    event.listen(database.engine, "commit", hang)

    async def run() -> list[int]:
        holder = asyncio.create_task(database.run(lambda _tx: free.wait(_PATIENCE), dry_run=True))
        await asyncio.sleep(0)
        hasty, patient = refusal(Answered(database, 60 * _SOON).run(add(1))), database.run(add(2))
        tasks = asyncio.create_task(hasty), asyncio.create_task(patient)  # which share a commit
        await asyncio.sleep(0)
        free.set()
        assert _UNKNOWN in await tasks[0]
        hung[0].__exit__(None, None, None)
        assert await tasks[1] == 2
        await holder
        await database.run(add(3))
        return await database.run(rows, writes=False)

    assert asyncio.run(run()) == [1, 2, 3]
    assert len(woken) == 3, "it is told that something was committed"


def test_of_those_that_share_a_commit_one_that_was_refused_is_undone_alone(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(session, "_SHARING_SECONDS", _PATIENCE)
    refused = threading.Event()

    def hold(tx: Transaction) -> None:
        add(3)(tx)
        refused.wait(_PATIENCE)

    async def run() -> list[int]:
        free = threading.Event()
        holder = asyncio.create_task(database.run(lambda _tx: free.wait(_PATIENCE), dry_run=True))
        await asyncio.sleep(0)
        others = [asyncio.create_task(database.run(each)) for each in (add(1), hold)]
        hasty = asyncio.create_task(refusal(Answered(database, 8 * _SOON).run(add(2))))
        last = asyncio.create_task(database.run(hold))
        await asyncio.sleep(0)
        free.set()
        assert _UNCHANGED in await hasty
        refused.set()
        await asyncio.gather(holder, last, *others)
        together = [database.run(rows) for _ in range(3)]
        await asyncio.gather(*together)
        assert not is_silent(database)
        return await database.run(rows, writes=False)

    assert asyncio.run(run()) == [1, 3, 3]


def test_who_waits_behind_others_is_refused_for_that_alone(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(session, "_HANGS_SECONDS", _PATIENCE)
    calls = Answered(database, _SOON)

    async def run() -> list[int]:
        free, begun = threading.Event(), threading.Event()

        def hold(_tx: Transaction) -> bool:
            begun.set()
            return free.wait(_PATIENCE)

        holder = asyncio.create_task(calls.run(hold))
        assert await asyncio.to_thread(begun.wait, _PATIENCE)
        waiting = asyncio.create_task(calls.run(add(1)))
        with pytest.raises(Overloaded):
            await calls.run(add(2), within=3 * _SOON)
        assert not waiting.done(), "its server does not hang"
        free.set()
        assert await holder
        await waiting
        return await database.run(rows, writes=False)

    assert asyncio.run(run()) == [1]


def test_a_server_that_is_gone_is_said_to_be(server: PostgresqlServer, database: Database, answered: Database) -> None:
    async def run() -> None:
        await database.run(add(1))
        assert not is_silent(database)
        server.stop_at_once()
        try:
            for writes in (True, False):
                assert _UNCHANGED in await refusal(answered.run(rows, writes=writes))
                with pytest.raises(DBAPIError):
                    await database.run(rows, writes=writes)
            with pytest.raises(Unavailable):
                await Answered(database, _PATIENCE).run(rows, within=_PATIENCE)
            assert is_silent(database)
        finally:
            server.start_again()
        assert await Answered(database, _PATIENCE).run(rows, writes=False) == [1]

    asyncio.run(run())


def test_a_connection_that_is_lost_at_the_commit_leaves_it_unknown(database: Database) -> None:
    def end(connection: Any) -> None:
        pid = connection.connection.dbapi_connection.info.backend_pid
        with database.engine.connect() as other:
            other.execute(text("SELECT pg_terminate_backend(:pid, 10000)"), {"pid": pid})

    async def run(number: int) -> None:
        calls = Answered(database, _PATIENCE)
        assert _UNKNOWN in await refusal(calls.run(add(number)))
        event.remove(database.engine, "commit", end)
        assert await calls.run(rows, writes=False) == []

    event.listen(database.engine, "commit", end)
    asyncio.run(run(1))


def test_a_file_is_waited_for(tmp_path: Path) -> None:
    """Its disk is this machine's: what takes long there goes on."""
    with closing(Database(f"sqlite:///{tmp_path / 'd.sqlite'}")) as made:
        begun = threading.Event()

        async def run() -> bool:
            work = asyncio.create_task(Answered(made, 0.0).run(lambda _tx: begun.wait(_PATIENCE), writes=False))
            with pytest.raises(TimeoutError):
                await asyncio.wait_for(asyncio.shield(work), _SOON)
            begun.set()
            return await work

        assert asyncio.run(run())


def test_other_errors_are_raised_as_they_are(database: Database) -> None:
    async def run() -> None:
        for writes in (True, False):
            with pytest.raises(DBAPIError, match="division by zero"):
                await Answered(database, _PATIENCE).run(
                    lambda tx: tx.connection.execute(text("SELECT 1 / 0")), writes=writes
                )

    asyncio.run(run())
