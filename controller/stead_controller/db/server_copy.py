"""The copy of a PostgreSQL server's database before its schema is changed: a file of SQLite with the older schema.

It is what a cloud of the older release would have as its own file, so that release itself can use it, or bring it to a
server again.
"""

import os
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

from sqlalchemy import Engine, MetaData, create_engine, event
from sqlalchemy.pool import NullPool

from stead_controller.db import migrate, server_rows


def prepare(target: Path, revision: str) -> None:
    """Make the tables of a copy while a controller still serves: that takes longer than the rows of most clouds."""
    _whole_at(_empty(target), lambda new: _make(new, revision))


def write(engine: Engine, target: Path, revision: str) -> None:
    """Copy a server's database, which has some revision, as it is in one snapshot, whole or not at all.

    Nobody is kept from writing. Raises OSError, sqlite3.Error, SQLAlchemyError and RowsChangedError.
    """

    def fill(new: Path) -> None:
        if _empty(target).exists():
            _empty(target).replace(new)
        else:
            _make(new, revision)
        _fill(engine, new)

    _whole_at(target, fill)


def _empty(target: Path) -> Path:
    return target.with_name(f"{target.name}.empty")


def _whole_at(target: Path, make: Callable[[Path], None]) -> None:
    new = target.with_name(f"{target.name}.copy-{os.getpid()}")
    new.unlink(missing_ok=True)
    os.close(os.open(new, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600))
    try:
        make(new)
        with new.open("rb") as file:
            os.fsync(file.fileno())
        new.replace(target)
    finally:
        new.unlink(missing_ok=True)


def _make(path: Path, revision: str) -> None:
    """Make the tables of a revision by all migrations up to it, as the code has those of the newest alone."""
    made = create_engine(f"sqlite:///{path}", poolclass=NullPool)
    event.listen(made, "connect", lambda driver, _: _set_up(driver))
    migrate.upgrade(made, revision)


def _fill(engine: Engine, path: Path) -> None:
    with engine.connect() as server, closing(sqlite3.connect(path)) as file:
        _set_up(file)
        server_rows.begin_snapshot(server)
        found = file.execute("SELECT name FROM sqlite_master WHERE type = 'table' AND name NOT LIKE 'sqlite_%'")
        tables = MetaData()
        tables.reflect(server, only=[name for (name,) in found], resolve_fks=False)
        server_rows.to_file(server, file, list(tables.tables.values()), lambda _done, _of: None)
        server.rollback()


def _set_up(file: sqlite3.Connection) -> None:
    """Write without a journal, since what fails is removed whole, and without files in other folders."""
    for pragma in ("journal_mode=OFF", "synchronous=OFF", "temp_store=MEMORY"):
        file.execute(f"PRAGMA {pragma}")
