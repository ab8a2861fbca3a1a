"""Rows of a PostgreSQL server's database, as they are in one snapshot, into a file of SQLite that has the same tables.

Values are copied as the drivers give them, and JSON as its text: what passes does not change, which is seen by reading
all of it again. Neither side is ever in memory as a whole.
"""

import hashlib
import sqlite3
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, Final

from sqlalchemy import JSON, Column, Connection, Table

from stead_controller.errors import SteadError

_AT_ONCE: Final = 1000


class RowsChangedError(SteadError):
    """Rows are not what they were before they were copied."""


def begin_snapshot(server: Connection) -> None:
    """Let all that the next transaction reads be as of one moment, and let it write nothing."""
    server.execution_options(isolation_level="REPEATABLE READ")
    server.exec_driver_sql("SET TRANSACTION READ ONLY")


def to_file(
    server: Connection, file: sqlite3.Connection, tables: Sequence[Table], show: Callable[[int, int], None]
) -> None:
    """Replace what the file's tables have by the server's rows, and commit; `show` is told how many tables are done.

    Raises RowsChangedError where they are not the same afterwards, and sqlite3.Error and SQLAlchemyError.
    """
    for table in tables:
        file.execute(f"DELETE FROM {quoted(table.name)}")  # noqa: S608 - our own name
    for done, table in enumerate(tables):
        show(done, len(tables))
        sums = Sum()
        places = ", ".join("?" * len(_columns(table)))
        insert = f"INSERT INTO {quoted(table.name)} ({names(table)}) VALUES ({places})"  # noqa: S608 - our own names
        file.executemany(insert, sums.over(of_server(server, table)))
        require_same(table, sums, of_file(file, table))
    file.commit()
    show(len(tables), len(tables))


class Sum:
    """A sum over rows, in whatever order they come."""

    def __init__(self) -> None:
        """Begin with no rows."""
        self.rows = 0
        self.value = 0

    def over(self, rows: Iterable[Sequence[Any]]) -> Iterator[tuple[Any, ...]]:
        """Give rows on, with truth values as numbers, and add them."""
        for row in rows:
            given = tuple(int(value) if isinstance(value, bool) else value for value in row)
            self.rows += 1
            self.value += int.from_bytes(hashlib.sha256(repr(given).encode()).digest())
            yield given


def require_same(table: Table, sums: Sum, written: Iterable[Sequence[Any]]) -> None:
    """Read rows again where they were written; raises RowsChangedError where they are not what they were."""
    again = Sum()
    for _ in again.over(written):
        pass
    if (again.rows, again.value) != (sums.rows, sums.value):
        raise RowsChangedError(
            f"The rows of the table {table.name} changed on their way: {sums.rows}, then {again.rows}."
        )


def of_server(server: Connection, table: Table) -> Iterator[Sequence[Any]]:
    """Read the rows of a server's table, some at a time."""
    columns = ", ".join(f"{quoted(one.name)}{'::text' * isinstance(one.type, JSON)}" for one in _columns(table))
    select = f"SELECT {columns} FROM {quoted(table.name)}"  # noqa: S608 - our own names
    found = server.execution_options(stream_results=True, max_row_buffer=_AT_ONCE).exec_driver_sql(select)
    for row in found:
        yield tuple(row)


def of_file(file: sqlite3.Connection, table: Table) -> Iterator[Sequence[Any]]:
    """Read the rows of a file's table."""
    yield from file.execute(f"SELECT {names(table)} FROM {quoted(table.name)}")  # noqa: S608 - our own names


def names(table: Table) -> str:
    """The columns that have values of their own, as SQL lists them."""
    return ", ".join(quoted(column.name) for column in _columns(table))


def quoted(name: str) -> str:
    """A name as SQL has it."""
    return f'"{name}"'


def _columns(table: Table) -> list[Column[Any]]:
    return [column for column in table.columns if column.computed is None]
