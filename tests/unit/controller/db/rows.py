"""A row in each table of a database of any revision, made of what the database says of its columns."""

from functools import cache
from typing import Any

from sqlalchemy import Column, Connection, MetaData, create_engine, types

Rows = dict[str, list[dict[str, Any]]]


def fill(connection: Connection, number: int, **known: dict[str, Any]) -> None:
    """Add a row to each table, whose foreign keys lead to other such rows; `known` are values of columns, if there."""
    made: dict[str, dict[str, Any]] = {}
    for table in tables(connection).sorted_tables:
        if table.name != "alembic_version":
            made[table.name] = {column.name: _value(column, number, made) for column in table.columns}
            said = known.get(table.name, {})
            made[table.name] |= {name: value for name, value in said.items() if name in table.columns}
            connection.execute(table.insert().values(made[table.name]))


def tables(connection: Connection) -> MetaData:
    """What tables there are."""
    return _reflected(
        tuple(connection.exec_driver_sql("SELECT sql FROM sqlite_master WHERE type = 'table' ORDER BY name").scalars())
    )


@cache
def _reflected(statements: tuple[str, ...]) -> MetaData:
    """What tables these statements make: to ask a database takes longer than all else that is done with one here."""
    engine, found = create_engine("sqlite://"), MetaData()
    with engine.begin() as connection:
        for statement in statements:
            connection.exec_driver_sql(statement)
        found.reflect(connection)
    engine.dispose()
    return found


def rows_of(connection: Connection) -> Rows:
    """All rows, by table, in the order of their keys, with values as the database holds them."""
    names = connection.exec_driver_sql(
        "SELECT name FROM sqlite_master WHERE type = 'table' AND name NOT LIKE 'sqlite_%' ORDER BY name"
    )
    return {name: _rows(connection, name) for name in names.scalars().all()}


def _rows(connection: Connection, table: str) -> list[dict[str, Any]]:
    keys = [column[1] for column in connection.exec_driver_sql(f'PRAGMA table_info("{table}")') if column[5]]
    order = ", ".join(f'"{key}"' for key in keys) or "rowid"
    return [dict(row._mapping) for row in connection.exec_driver_sql(f'SELECT * FROM "{table}" ORDER BY {order}')]


def _value(column: Column[Any], number: int, made: dict[str, dict[str, Any]]) -> Any:
    for key in column.foreign_keys:
        return made.get(key.column.table.name, {}).get(key.column.name)
    match column.type:
        case types.Boolean():
            return False
        case types.JSON():
            return ["x"]
        case types.Numeric():
            return number / 2
        case types.Integer():
            return number
        case types.LargeBinary():
            return bytes([number])
        case types.String(length=length):
            return f"{number}{column.name}"[:length]
        case other:
            raise NotImplementedError(f"{column}: {other!r}")
