"""A database of a PostgreSQL server, to a file of SQLite and back: all rows as they were in one snapshot.

So backups of all clouds are alike, and one made with either can be restored to the other: this is also how a cloud
moves. How rows pass is said in `db/server_rows.py`.
"""

import contextlib
import os
import sqlite3
from collections.abc import Iterable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any, Final

from sqlalchemy import Connection, Engine, Table, create_engine, inspect
from sqlalchemy.exc import ArgumentError, SQLAlchemyError
from sqlalchemy.pool import NullPool

from stead_controller.backup.progress import Show
from stead_controller.backup.repository import BackupError
from stead_controller.db import migrate, new_schema, schema, server_rows
from stead_controller.db.server_rows import quoted
from stead_controller.db.tables import Base

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
        server_rows.begin_snapshot(server)
        _require_newest(server)
        server_rows.to_file(server, file, Base.metadata.sorted_tables, lambda done, of: show(_STEP, done, of))


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
            server.exec_driver_sql(f"DELETE FROM {quoted(table.name)}")  # noqa: S608 - our own name
        for done, table in enumerate(tables):
            show(_STEP, done, len(tables))
            sums = server_rows.Sum()
            _copy_in(server, table, sums.over(server_rows.of_file(file, table)))
            server_rows.require_same(table, sums, server_rows.of_server(server, table))
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


@contextlib.contextmanager
def _connected(url: str) -> Iterator[Connection]:
    """Connect to a server's database; what is not committed is undone. Raises BackupError."""
    try:
        engine = _engine(url)
        with engine.connect() as connection:
            yield connection
    except ModuleNotFoundError as error:
        raise BackupError(f"The driver of {kind_of(url)} is missing: pip install 'psycopg[binary]'.") from error
    except server_rows.RowsChangedError as error:
        raise BackupError(error.message) from error
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


def _copy_in(server: Connection, table: Table, rows: Iterable[tuple[Any, ...]]) -> None:
    driver: Any = server.connection.driver_connection
    try:
        with (
            driver.cursor() as cursor,
            cursor.copy(f"COPY {quoted(table.name)} ({server_rows.names(table)}) FROM STDIN") as copy,
        ):
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
        most = f"max({quoted(column.name)})"
        server.exec_driver_sql(
            f"SELECT setval({sequence}, greatest({most}, 1)) FROM {quoted(table.name)} HAVING {most} IS NOT NULL"  # noqa: S608 - our own names
        )
