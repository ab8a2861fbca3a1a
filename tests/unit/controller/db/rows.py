"""A row in each table of a database of any revision, made of what the database says of its columns."""

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
    for table in TopologicalSorter({name: _needed(name, columns) for name, columns in found.items()}).static_order():
        said = known.get(table, {})
        row = {column.name: said.get(column.name, _value(column, number, made)) for column in found[table]}
        made[table] = row
        names, marks = ", ".join(f'"{name}"' for name in row), ", ".join("?" * len(row))
        connection.exec_driver_sql(f'INSERT INTO "{table}" ({names}) VALUES ({marks})', tuple(row.values()))


def _tables(connection: Connection) -> dict[str, list[_Column]]:
    """What tables there are but Alembic's: SQLAlchemy's own look at them takes longer than all else that is done here."""
    found = {}
    for table in _names(connection):
        keys = connection.exec_driver_sql(f'PRAGMA foreign_key_list("{table}")')
        of = {key[3]: (key[2], key[4]) for key in keys}
        columns = connection.exec_driver_sql(f'PRAGMA table_info("{table}")')
        found[table] = [_Column(name, kind, of.get(name)) for _, name, kind, *_ in columns]
    del found["alembic_version"]
    return found


def _needed(table: str, columns: list[_Column]) -> set[str]:
    return {column.of[0] for column in columns if column.of} - {table}


def _names(connection: Connection) -> list[str]:
    return list(
        connection.exec_driver_sql(
            "SELECT name FROM sqlite_master WHERE type = 'table' AND name NOT LIKE 'sqlite_%' ORDER BY name"
        ).scalars()
    )


def rows_of(connection: Connection) -> Rows:
    """All rows, by table, in the order of their keys, with values as the database holds them."""
    return {name: _rows(connection, name) for name in _names(connection)}


def _rows(connection: Connection, table: str) -> list[dict[str, Any]]:
    keys = [column[1] for column in connection.exec_driver_sql(f'PRAGMA table_info("{table}")') if column[5]]
    order = ", ".join(f'"{key}"' for key in keys) or "rowid"
    return [dict(row._mapping) for row in connection.exec_driver_sql(f'SELECT * FROM "{table}" ORDER BY {order}')]


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
