"""A row in each table of a database of any revision, made of what the database says of its columns."""

import sqlite3
from collections.abc import Iterator
from dataclasses import dataclass
from graphlib import TopologicalSorter
from typing import Any

from sqlalchemy import Connection

Rows = dict[str, list[dict[str, Any]]]


@dataclass(frozen=True)
class _Column:
    """A column as SQLite notes it, and the table and column that its foreign key names."""

    name: str
    type: str
    of: tuple[str, str] | None


def fill(connection: Connection, number: int, **known: dict[str, Any]) -> None:
    """Add a row to each table, whose foreign keys lead to other such rows; `known` are values of columns, if there."""
    made: dict[str, dict[str, Any]] = {}
    found = _tables(connection)
    driver = _driver(connection)
    for table in TopologicalSorter({name: _needed(name, columns) for name, columns in found.items()}).static_order():
        said = known.get(table, {})
        row = {column.name: said.get(column.name, _value(column, number, made)) for column in found[table]}
        made[table] = row
        names, marks = ", ".join(f'"{name}"' for name in row), ", ".join("?" * len(row))
        driver.execute(f'INSERT INTO "{table}" ({names}) VALUES ({marks})', tuple(row.values()))


def _driver(connection: Connection) -> sqlite3.Connection:
    """The driver's connection, in the same transaction: SQLAlchemy's part would be most of tens of thousands of calls."""
    driver = connection.connection.driver_connection
    assert isinstance(driver, sqlite3.Connection)
    return driver


_OF_TABLES = (
    "FROM sqlite_master AS m, {} AS c WHERE m.type = 'table' AND m.name NOT LIKE 'sqlite_%' ORDER BY m.name, c.{}"
)


def _tables(connection: Connection) -> dict[str, list[_Column]]:
    """What tables there are but Alembic's: SQLAlchemy's own look at them takes longer than all else that is done here."""
    driver = _driver(connection)
    keys = driver.execute(
        f'SELECT m.name, c."from", c."table", c."to" {_OF_TABLES.format("pragma_foreign_key_list(m.name)", "id")}'
    )
    of = {(table, column): (other, key) for table, column, other, key in keys}
    found: dict[str, list[_Column]] = {}
    for table, name, kind in driver.execute(
        f"SELECT m.name, c.name, c.type {_OF_TABLES.format('pragma_table_info(m.name)', 'cid')}"
    ):
        found.setdefault(table, []).append(_Column(name, kind, of.get((table, name))))
    del found["alembic_version"]
    return found


def _needed(table: str, columns: list[_Column]) -> set[str]:
    return {column.of[0] for column in columns if column.of} - {table}


def rows_of(connection: Connection) -> Rows:
    """All rows, by table, in the order of their keys, with values as the database holds them."""
    driver = _driver(connection)
    keys: dict[str, list[str]] = {}
    columns = f"SELECT m.name, c.name, c.pk {_OF_TABLES.format('pragma_table_info(m.name)', 'cid')}"
    for table, name, is_key in driver.execute(columns):
        keys.setdefault(table, []).extend([f'"{name}"'] if is_key else [])
    return {table: list(_rows(driver, table, ", ".join(names) or "rowid")) for table, names in keys.items()}


def _rows(driver: sqlite3.Connection, table: str, order: str) -> Iterator[dict[str, Any]]:
    found = driver.execute(f'SELECT * FROM "{table}" ORDER BY {order}')
    names = [column[0] for column in found.description]  # generated ones too
    for row in found:
        yield dict(zip(names, row, strict=True))


def _value(column: _Column, number: int, made: dict[str, dict[str, Any]]) -> Any:
    if column.of:
        table, key = column.of
        return made.get(table, {}).get(key)
    kind, _, size = column.type.partition("(")
    match kind:
        case "BOOLEAN":
            return False
        case "JSON":
            return '["x"]'
        case "NUMERIC" | "FLOAT":
            return number / 2
        case "INTEGER" | "BIGINT" | "SMALLINT":
            return number
        case "BLOB":
            return bytes([number])
        case "VARCHAR" | "TEXT":
            return f"{number}{column.name}"[: int(size.rstrip(")")) if size else None]
        case other:
            raise NotImplementedError(f"{column}: {other!r}")
