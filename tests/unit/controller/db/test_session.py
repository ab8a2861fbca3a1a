"""A database without room, where what is reserved is given up and the work is done again; and how much memory it takes."""

import sqlite3
from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import Connection, event, text
from sqlalchemy.exc import OperationalError

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
