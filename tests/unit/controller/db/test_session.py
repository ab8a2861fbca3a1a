"""A database without room, where what is reserved is given up and the work is done again; and how much memory it takes."""

import contextlib
import sqlite3
import sqlite3.dbapi2
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Connection, event, text
from sqlalchemy.exc import OperationalError
from sqlalchemy.orm import Session

from stead_controller.db import session
from stead_controller.db.session import Database, Transaction
from stead_controller.errors import OutOfRoom
from stead_controller.room import Room


class Limit(Room):
    """Room for so many pages of 4 KiB until the reserve is given up, which makes room for many."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.pages = 4
        self.reserved = 0

    def give_up(self) -> bool:
        had, self.pages, self.reserved = self.reserved > 0, self.pages + self.reserved, 0
        return had


@pytest.fixture
def room(tmp_path: Path) -> Limit:
    return Limit(tmp_path)


@pytest.fixture
def database(tmp_path: Path, room: Limit) -> Iterator[Database]:
    made = Database(f"sqlite:///{tmp_path / 'd.sqlite'}", room)

    @event.listens_for(made.engine, "begin")
    def limit(connection: Connection) -> None:
        driver = connection.connection.dbapi_connection
        assert isinstance(driver, sqlite3.Connection)
        driver.execute(f"PRAGMA max_page_count={room.pages}")

    made.run_blocking(lambda tx: tx.connection.execute(text("CREATE TABLE t (x)")))
    yield made
    made.close()


def _grow(tx: Transaction) -> None:
    tx.connection.execute(text("INSERT INTO t VALUES (zeroblob(100000))"))


def _rows(database: Database) -> object:
    return database.run_blocking(lambda tx: tx.connection.scalar(text("SELECT count(*) FROM t")), writes=False)


def test_a_full_disk_is_refused_and_changes_nothing(database: Database, room: Limit) -> None:
    with pytest.raises(OutOfRoom):
        database.run_blocking(_grow)
    assert _rows(database) == 0
    room.pages = 1000
    database.run_blocking(_grow)
    assert _rows(database) == 1


def test_what_is_reserved_is_given_up_and_used(database: Database, room: Limit) -> None:
    room.reserved = 1000
    database.run_blocking(_grow)
    assert (_rows(database), room.reserved) == (1, 0)


def test_other_faults_are_not_taken_for_it(database: Database, room: Limit) -> None:
    room.reserved = 1000
    with pytest.raises(OperationalError):
        database.run_blocking(lambda tx: tx.connection.execute(text("INSERT INTO nothing VALUES (1)")))
    assert room.reserved == 1000


def test_pages_are_cached_once_where_one_connection_is_enough(tmp_path: Path) -> None:
    database = Database(f"sqlite:///{tmp_path / 'd.sqlite'}")
    try:
        with database.engine.connect() as first, database.engine.connect() as second:
            pages = first.execute(text("PRAGMA cache_size")).scalar_one()
            assert pages == -2048, "KiB of each, of which there may be seven, and one more that writes"
            assert _driver(first) is not _driver(second)
        used = [database.run_blocking(lambda tx: _driver(tx.connection), writes=False) for _ in range(4)]
        assert [each is used[0] for each in used] == [True] * 4
    finally:
        database.close()


def test_one_connection_writes_and_is_never_a_readers(database: Database, room: Limit) -> None:
    room.pages = 1000
    writers, readers = [], []
    for _ in range(3):
        writers.append(database.run_blocking(lambda tx: _driver(tx.connection)))
        readers.append(database.run_blocking(lambda tx: _driver(tx.connection), writes=False))
        with pytest.raises(ZeroDivisionError):
            database.run_blocking(_grow_and_fail)
    assert len(set(map(id, writers))) == 1
    assert not set(map(id, writers)) & set(map(id, readers))
    assert _rows(database) == 0, "what failed was rolled back, and did not wait for the next commit"
    assert database.run_blocking(lambda tx: tx.connection.scalar(text("PRAGMA cache_size"))) == -8192


def test_after_an_error_of_the_database_another_connection_writes(database: Database, room: Limit) -> None:
    room.pages = 1000
    before = database.run_blocking(lambda tx: _driver(tx.connection))
    with pytest.raises(OperationalError):
        database.run_blocking(lambda tx: tx.connection.execute(text("INSERT INTO nothing VALUES (1)")))
    assert database.run_blocking(lambda tx: _driver(tx.connection)) is not before
    with pytest.raises(sqlite3.ProgrammingError):
        before.execute("SELECT 1")
    database.run_blocking(_grow)
    assert _rows(database) == 1


def _grow_and_fail(tx: Transaction) -> None:
    _grow(tx)
    raise ZeroDivisionError


def _driver(connection: Connection) -> sqlite3.Connection:
    driver = connection.connection.dbapi_connection
    assert isinstance(driver, sqlite3.Connection)
    return driver


def test_the_connection_that_writes_keeps_more_statements(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    kept: list[int] = []

    def connect(*args: Any, cached_statements: int, **options: Any) -> sqlite3.Connection:
        kept.append(cached_statements)
        return sqlite3.connect(*args, cached_statements=cached_statements, **options)

    monkeypatch.setattr(sqlite3.dbapi2, "connect", connect)
    with contextlib.closing(Database(f"sqlite:///{tmp_path / 'd.sqlite'}")) as database:
        _read(database)
        (of_reader,) = kept
        database.run_blocking(lambda tx: tx.connection.execute(text("CREATE TABLE t (x)")))
        _read(database)
        assert kept == [of_reader, 128]
        assert of_reader <= 32


def test_a_session_is_made_where_it_is_used_and_then_closed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[Session] = []
    closed: list[Session] = []

    class Noted(Session):
        def __init__(self, *args: Any, **options: Any) -> None:
            super().__init__(*args, **options)
            made.append(self)

        def close(self) -> None:
            closed.append(self)
            super().close()

    monkeypatch.setattr(session, "Session", Noted)
    with contextlib.closing(Database(f"sqlite:///{tmp_path / 'd.sqlite'}")) as database:
        _read(database)
        assert not made
        assert database.run_blocking(lambda tx: tx.session is tx.session, writes=False)
        assert closed == made
        assert len(made) == 1
        with pytest.raises(OperationalError):
            database.run_blocking(lambda tx: tx.session.execute(text("SELECT * FROM nothing")))
        assert closed == made
        assert len(made) == 2


def test_a_savepoint_undoes_what_was_written_without_the_session(database: Database, room: Limit) -> None:
    room.pages = 1000

    def grow_and_go_on(tx: Transaction) -> None:
        _grow(tx)
        with pytest.raises(ZeroDivisionError), tx.savepoint():
            _grow_and_fail(tx)

    database.run_blocking(grow_and_go_on)
    assert _rows(database) == 1


def _read(database: Database) -> None:
    assert database.run_blocking(lambda tx: tx.connection.scalar(text("SELECT 1")), writes=False) == 1
