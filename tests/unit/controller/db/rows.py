"""A row in each table of a database of any revision, made of what the database says of its columns."""

from typing import Any

from sqlalchemy import Column, Connection, MetaData, Table, types

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
    found = MetaData()
    found.reflect(connection)
    return found


def rows_of(connection: Connection) -> Rows:
    """All rows, by table, in the order of their keys."""
    return {table.name: _rows(connection, table) for table in tables(connection).sorted_tables}


def _rows(connection: Connection, table: Table) -> list[dict[str, Any]]:
    return [dict(row._mapping) for row in connection.execute(table.select().order_by(*table.primary_key.columns))]


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
