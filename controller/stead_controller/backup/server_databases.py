"""A database of a PostgreSQL server, to a file of SQLite and back: all rows as they were in one snapshot.

So backups of all clouds are alike, and one made with either can be restored to the other: this is also how a cloud
moves. Values are copied as the drivers give them, and JSON as its text: what passes through neither changes.
"""

import contextlib
import hashlib
import os
import sqlite3
from collections.abc import Iterable, Iterator, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any, Final

from sqlalchemy import JSON, Column, Connection, Engine, Table, create_engine, inspect
from sqlalchemy.exc import ArgumentError, SQLAlchemyError
from sqlalchemy.pool import NullPool

from stead_controller.backup.progress import Show
from stead_controller.backup.repository import BackupError
from stead_controller.db import migrate, new_schema, schema
from stead_controller.db.tables import Base

_AT_ONCE: Final = 1000
_UNFINISHED: Final = "stead_restore"
_STEP: Final = "database"


def kind_of(url: str) -> str:
    """The kind of server of a SQLAlchemy URL, such as postgresql."""
    return url.partition(":")[0].partition("+")[0]


def read(url: str, target: Path, show: Show) -> None:
    """Copy all rows of a server's database, as they are in one snapshot, into a new file; raises BackupError."""
    os.close(os.open(target, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600))
    made = create_engine(f"sqlite:///{target}", poolclass=NullPool)
    schema.bring_up_to_date(made)
    with _connected(url) as server, closing(sqlite3.connect(target)) as file:
        server.execution_options(isolation_level="REPEATABLE READ")
        server.exec_driver_sql("SET TRANSACTION READ ONLY")
        _require_newest(server)
        _empty(file)
        tables = Base.metadata.sorted_tables
        for done, table in enumerate(tables):
            show(_STEP, done, len(tables))
            sums = _Sum()
            places = ", ".join("?" * len(_columns(table)))
            insert = f"INSERT INTO {_quoted(table.name)} ({_names(table)}) VALUES ({places})"  # noqa: S608 - our own names
            file.executemany(insert, sums.over(_rows_of_server(server, table)))
            _require_same(table, sums, _rows_of_file(file, table))
        file.commit()
        show(_STEP, len(tables), len(tables))


def write(source: Path, url: str, show: Show) -> None:
    """Copy all rows of a file into a server's database, which has nothing yet, whole or not at all.

    Until `finish` the database says that it belongs to a restore: what one that was killed has left may go. The file's
    schema is brought to the newest. Raises BackupError.
    """
    migrate.upgrade(create_engine(f"sqlite:///{source}", poolclass=NullPool))
    with _connected(url) as server, closing(sqlite3.connect(source)) as file:
        _require_empty(server)
        new_schema.make_within(server, schema.newest())
        server.exec_driver_sql(f"CREATE TABLE {_UNFINISHED} ()")
        tables = Base.metadata.sorted_tables
        for table in reversed(tables):
            server.exec_driver_sql(f"DELETE FROM {_quoted(table.name)}")  # noqa: S608 - our own name
        for done, table in enumerate(tables):
            show(_STEP, done, len(tables))
            sums = _Sum()
            _copy_in(server, table, sums.over(_rows_of_file(file, table)))
            _require_same(table, sums, _rows_of_server(server, table))
            _go_on_after(server, table)
        server.commit()
        show(_STEP, len(tables), len(tables))


def finish(url: str) -> None:
    """Let the database belong to no restore any more; raises BackupError."""
    with _connected(url) as server:
        server.exec_driver_sql(f"DROP TABLE {_UNFINISHED}")
        server.commit()


def require_empty(url: str) -> None:
    """Raise BackupError for a database that cannot be reached, or has something."""
    with _connected(url) as server:
        _require_empty(server)


def now(url: str) -> int:
    """The server's time, Unix milliseconds; raises BackupError."""
    with _connected(url) as server:
        found: int = server.exec_driver_sql(
            "SELECT (extract(epoch FROM clock_timestamp()) * 1000)::bigint"
        ).scalar_one()
        return found


class _Sum:
    """A sum over rows, in whatever order they come."""

    def __init__(self) -> None:
        self.rows = 0
        self.value = 0

    def over(self, rows: Iterable[Sequence[Any]]) -> Iterator[tuple[Any, ...]]:
        """Give rows on, with truth values as numbers, and add them."""
        for row in rows:
            given = tuple(int(value) if isinstance(value, bool) else value for value in row)
            self.rows += 1
            self.value += int.from_bytes(hashlib.sha256(repr(given).encode()).digest())
            yield given


def _require_same(table: Table, sums: _Sum, written: Iterable[Sequence[Any]]) -> None:
    """Read rows again where they were written; raises BackupError where they are not what they were."""
    again = _Sum()
    for _ in again.over(written):
        pass
    if (again.rows, again.value) != (sums.rows, sums.value):
        raise BackupError(f"The rows of the table {table.name} changed on their way: {sums.rows}, then {again.rows}.")


@contextlib.contextmanager
def _connected(url: str) -> Iterator[Connection]:
    """Connect to a server's database; what is not committed is undone. Raises BackupError."""
    try:
        engine = _engine(url)
        with engine.connect() as connection:
            yield connection
    except ModuleNotFoundError as error:
        raise BackupError(f"The driver of {kind_of(url)} is missing: pip install 'psycopg[binary]'.") from error
    except (SQLAlchemyError, sqlite3.Error) as error:
        cause = getattr(error, "orig", None) or error
        raise BackupError(f"The database cannot be copied: {str(cause).strip()}") from error


def _engine(url: str) -> Engine:
    if kind_of(url) != "postgresql":
        raise BackupError(f"{kind_of(url)} is no kind of server that Stead knows: postgresql+psycopg://…")
    try:
        return create_engine(url, poolclass=NullPool)
    except ArgumentError as error:
        raise BackupError("The URL of the database cannot be read: postgresql+psycopg://USER@HOST/DATABASE") from error


def _require_newest(server: Connection) -> None:
    if not inspect(server).has_table("alembic_version"):
        raise BackupError("The database has nothing of Stead.")
    found = server.exec_driver_sql("SELECT version_num FROM alembic_version").scalar()
    if found != schema.newest():
        raise BackupError(f"The database is of another release ({found}): start the controller of this release first.")


def _require_empty(server: Connection) -> None:
    """Require a database without tables, but for those of a restore that did not finish, which are dropped."""
    there = set(inspect(server).get_table_names())
    if _UNFINISHED in there:
        Base.metadata.drop_all(server)
        server.exec_driver_sql(f"DROP TABLE alembic_version, {_UNFINISHED}")
    elif there:
        raise BackupError(f"The database is not empty ({len(there)} tables): make another one, and name that.")


def _rows_of_server(server: Connection, table: Table) -> Iterator[Sequence[Any]]:
    columns = ", ".join(f"{_quoted(one.name)}{'::text' * isinstance(one.type, JSON)}" for one in _columns(table))
    select = f"SELECT {columns} FROM {_quoted(table.name)}"  # noqa: S608 - our own names
    found = server.execution_options(stream_results=True, max_row_buffer=_AT_ONCE).exec_driver_sql(select)
    for row in found:
        yield tuple(row)


def _rows_of_file(file: sqlite3.Connection, table: Table) -> Iterator[Sequence[Any]]:
    yield from file.execute(f"SELECT {_names(table)} FROM {_quoted(table.name)}")  # noqa: S608 - our own names


def _copy_in(server: Connection, table: Table, rows: Iterable[tuple[Any, ...]]) -> None:
    driver: Any = server.connection.driver_connection
    try:
        with driver.cursor() as cursor, cursor.copy(f"COPY {_quoted(table.name)} ({_names(table)}) FROM STDIN") as copy:
            for row in rows:
                copy.write_row(row)
    except _driver_errors() as error:
        raise BackupError(f"The table {table.name} cannot be copied: {str(error).strip()}") from error


def _driver_errors() -> tuple[type[Exception], ...]:
    """The errors of the driver, which is loaded when a server is used."""
    import psycopg  # noqa: PLC0415 - an extra, which most clouds do not have

    return (psycopg.Error,)


def _go_on_after(server: Connection, table: Table) -> None:
    """Let the server number further rows after those that are there."""
    column = table.autoincrement_column
    if column is not None:
        sequence = f"pg_get_serial_sequence('{table.name}', '{column.name}')"
        most = f"max({_quoted(column.name)})"
        server.exec_driver_sql(
            f"SELECT setval({sequence}, greatest({most}, 1)) FROM {_quoted(table.name)} HAVING {most} IS NOT NULL"  # noqa: S608 - our own names
        )


def _empty(file: sqlite3.Connection) -> None:
    """Remove what migrations put into tables."""
    for table in Base.metadata.tables.values():
        file.execute(f"DELETE FROM {_quoted(table.name)}")  # noqa: S608 - our own name


def _columns(table: Table) -> list[Column[Any]]:
    """The columns that have values of their own."""
    return [column for column in table.columns if column.computed is None]


def _names(table: Table) -> str:
    return ", ".join(_quoted(column.name) for column in _columns(table))


def _quoted(name: str) -> str:
    return f'"{name}"'
