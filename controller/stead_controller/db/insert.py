"""Inserts that another transaction may have been first at, in the form that each database has for them."""

from collections.abc import Collection, Mapping, Sequence
from functools import cache
from typing import Any

from sqlalchemy import Table
from sqlalchemy.dialects import sqlite
from sqlalchemy.orm import DeclarativeBase, Session


def _table(model: type[DeclarativeBase]) -> Table:
    table = model.__table__
    assert isinstance(table, Table)
    return table


def _insert(table: Table, dialect: str) -> Any:
    if dialect == "postgresql":
        from sqlalchemy.dialects import postgresql  # noqa: PLC0415 - what only another database needs

        return postgresql.insert(table)
    return sqlite.insert(table)


# To put a statement together takes longer than to have it executed, so each is made once.
@cache
def _insert_if_absent(model: type[DeclarativeBase], dialect: str) -> Any:
    table = _table(model)
    return _insert(table, dialect).on_conflict_do_nothing().returning(*table.primary_key.columns)


@cache
def _upsert(model: type[DeclarativeBase], dialect: str, names: tuple[str, ...], keep: frozenset[str]) -> Any:
    table = _table(model)
    keys = [column.name for column in table.primary_key.columns]
    statement = _insert(table, dialect)
    changes = {name: statement.excluded[name] for name in names if name not in {*keys, *keep}}
    return statement.on_conflict_do_update(index_elements=keys, set_=changes)


def insert_if_absent(session: Session, model: type[DeclarativeBase], values: Mapping[str, Any]) -> bool:
    """Insert one row unless a unique key of it exists; tell whether it was inserted."""
    connection = session.connection()
    statement = _insert_if_absent(model, connection.dialect.name)
    return connection.execute(statement, dict(values)).first() is not None


def upsert(
    session: Session, model: type[DeclarativeBase], rows: Sequence[Mapping[str, Any]], *, keep: Collection[str] = ()
) -> None:
    """Insert rows, or change those whose primary key exists but for columns to `keep`; all name the same columns."""
    if not rows:
        return
    connection = session.connection()
    connection.execute(_upsert(model, connection.dialect.name, tuple(rows[0]), frozenset(keep)), list(rows))
