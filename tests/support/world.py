"""A migrated SQLite file with two accounts that have equal resources, and the callers of both."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import event

from stead_controller.db.session import Database
from stead_controller.request.cloud import cloud_of
from stead_controller.resources.operators import cloud_facts
from stead_controller.settings import Settings
from tests.support import databases, rows
from tests.support.databases import closed
from tests.support.life import Life
from tests.support.reused_databases import ReusedDatabases


@pytest.fixture(scope="session")
def world_file(tmp_path_factory: Any, empty_database_file: Any) -> tuple[bytes, rows.World]:
    """The bytes of a database with the rows of a world, and the world: building both takes longer than most tests."""
    path = tmp_path_factory.mktemp("db") / "world.sqlite"
    path.write_bytes(empty_database_file)
    database = databases.opened(path)
    world = database.run_blocking(rows.build_world)
    return closed(database), world


@pytest.fixture
def database(request: Any, reused_databases: ReusedDatabases) -> Iterator[Database]:
    """An empty database, or one with the rows of `world` if the test uses that fixture."""
    whole = "world" in request.fixturenames
    content = request.getfixturevalue("world_file")[0] if whole else request.getfixturevalue("empty_database_file")
    with reused_databases.lent(content) as lent:
        yield lent.database


@pytest.fixture
def world(database: Any, world_file: Any) -> rows.World:
    """Two accounts, each with a default VPC, a subnet per zone and the default group; one host; one public image."""
    made: rows.World = world_file[1].copy()
    return made


@pytest.fixture
def run(database: Any) -> Callable[..., Any]:
    """Call a function of `resources` in a transaction: `run(function, *args, **kwargs)`."""

    def call(function: Any, *args: Any, **kwargs: Any) -> Any:
        return database.run_blocking(lambda tx: function(tx, *args, **kwargs))

    return call


@pytest.fixture
def life(database: Any, world: Any) -> Life:
    """A driver for instances of the world's first tenant and for the reports of their host."""
    database.run_blocking(lambda tx: cloud_facts.write(tx, cloud_of(Settings(state_dir=Path("/nowhere")))))
    return Life(database, world)


@pytest.fixture
def unchanged(database: Any, reused_databases: ReusedDatabases) -> Callable[[], None]:
    """Return a check that no row has changed since its first call."""
    witness = reused_databases.witness_of(database)
    remembered = False

    def check() -> None:
        nonlocal remembered
        if not remembered:
            witness.remember()
            remembered = True
        assert witness.changes() == {}

    return check


@pytest.fixture
def statements(database: Any) -> Iterator[list[str]]:
    """The SQL statements that are executed from now on."""
    seen: list[str] = []

    def note(_connection: Any, _cursor: Any, statement: Any, *_rest: Any) -> None:
        seen.append(statement)

    event.listen(database.engine, "before_cursor_execute", note)
    yield seen
    event.remove(database.engine, "before_cursor_execute", note)
