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

    @event.listens_for(made.engine, "checkout")
    def limit(connection: sqlite3.Connection, *_: object) -> None:
        connection.execute(f"PRAGMA max_page_count={room.pages}")

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
            assert pages == -4096, "KiB of each, of which there may be eight"
            assert _driver(first) is not _driver(second)
        used = [database.run_blocking(lambda tx: _driver(tx.connection), writes=False) for _ in range(4)]
        assert [each is used[0] for each in used] == [True] * 4
    finally:
        database.close()


def _driver(connection: Connection) -> object:
    return connection.connection.dbapi_connection
