"""Inserts that another transaction may have been first at, in the form that each database has for them."""

from collections.abc import Collection, Mapping, Sequence
from typing import Any

from sqlalchemy import Table
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.orm import DeclarativeBase, Session


def _table(model: type[DeclarativeBase]) -> Table:
    table = model.__table__
    assert isinstance(table, Table)
    return table


def _insert(session: Session, table: Table) -> Any:
    if session.get_bind().dialect.name == "postgresql":
        return postgresql.insert(table)
    return sqlite.insert(table)


def insert_if_absent(session: Session, model: type[DeclarativeBase], values: Mapping[str, Any]) -> bool:
    """Insert one row unless a unique key of it exists; tell whether it was inserted."""
    table = _table(model)
    statement = _insert(session, table).values(**values).on_conflict_do_nothing()
    return bool(session.execute(statement.returning(*table.primary_key.columns)).first())


def upsert(
    session: Session, model: type[DeclarativeBase], rows: Sequence[Mapping[str, Any]], *, keep: Collection[str] = ()
) -> None:
    """Insert rows, or change those whose primary key exists but for columns to `keep`; all name the same columns."""
    if not rows:
        return
    table = _table(model)
    keys = [column.name for column in table.primary_key.columns]
    statement = _insert(session, table)
    changes = {name: statement.excluded[name] for name in rows[0] if name not in {*keys, *keep}}
    session.execute(statement.on_conflict_do_update(index_elements=keys, set_=changes), list(rows))
