"""A migrated SQLite file with two accounts that have the same things, and the callers of both."""

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from sqlalchemy import event

from stead_controller.db import migrate
from stead_controller.db.session import Database
from tests.unit.controller.resources import rows


@pytest.fixture(scope="session")
def empty_database_file(tmp_path_factory) -> bytes:
    """The bytes of a migrated database without rows: migrating takes longer than most tests."""
    path = tmp_path_factory.mktemp("db") / "empty.sqlite"
    database = Database(f"sqlite:///{path}")
    migrate.upgrade(database.engine)
    with database.engine.connect() as connection:
        connection.exec_driver_sql("PRAGMA wal_checkpoint(TRUNCATE)")
    database.close()
    return path.read_bytes()


@pytest.fixture
def database(tmp_path, empty_database_file) -> Iterator[Database]:
    path = tmp_path / "stead.sqlite"
    path.write_bytes(empty_database_file)
    database = Database(f"sqlite:///{path}")
    yield database
    database.close()


@pytest.fixture
def world(database) -> rows.World:
    """Two accounts, each with a default VPC, a subnet per zone and the default group; one host; one public image."""
    return database.run_blocking(rows.build_world)


@pytest.fixture
def run(database) -> Callable[..., Any]:
    """Call a function of `resources` in a transaction: `run(function, *args, **kwargs)`."""

    def call(function, *args, **kwargs):
        return database.run_blocking(lambda tx: function(tx, *args, **kwargs))

    return call


@pytest.fixture
def unchanged(database) -> Callable[[], None]:
    """Give a check that no row has changed since the fixture was first asked for."""
    before: list[list[tuple[Any, ...]]] = []

    def dump() -> list[list[tuple[Any, ...]]]:
        with database.engine.connect() as connection:
            names = connection.exec_driver_sql("SELECT name FROM sqlite_master WHERE type='table' ORDER BY name")
            return [
                [tuple(row) for row in connection.exec_driver_sql(f"SELECT * FROM {name} ORDER BY rowid")]
                for (name,) in names.all()
                if name != "alembic_version"
            ]

    def check() -> None:
        if not before:
            before.append(dump())  # type: ignore[arg-type]  # rows of any table
            return
        assert dump() == before[0]

    return check


@pytest.fixture
def statements(database) -> Iterator[list[str]]:
    """The SQL statements that are executed from now on."""
    seen: list[str] = []

    def note(_connection, _cursor, statement, *_rest):
        seen.append(statement)

    event.listen(database.engine, "before_cursor_execute", note)
    yield seen
    event.remove(database.engine, "before_cursor_execute", note)
