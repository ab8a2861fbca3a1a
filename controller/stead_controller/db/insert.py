"""Inserts that tolerate a row inserted by another transaction, in each database's SQL dialect."""

from collections.abc import Callable, Collection, Mapping, Sequence
from functools import cache
from typing import Any

from sqlalchemy import Table, insert, inspect
from sqlalchemy.dialects import sqlite
from sqlalchemy.orm import DeclarativeBase, Session
from sqlalchemy.orm.instrumentation import ClassManager, manager_of_class

from stead_controller.db.attach import attach
from stead_controller.db.prepared import Prepared, connection_of


def _table(model: type[DeclarativeBase]) -> Table:
    table = model.__table__
    assert isinstance(table, Table)
    return table


def _insert(table: Table, dialect: str) -> Any:
    if dialect == "postgresql":
        from sqlalchemy.dialects import postgresql  # noqa: PLC0415 - needed for PostgreSQL only

        return postgresql.insert(table)
    return sqlite.insert(table)


# Building a statement takes longer than executing it, so each is built once.
@cache
def _insert_if_absent(model: type[DeclarativeBase], dialect: str) -> Prepared:
    table = _table(model)
    return Prepared(_insert(table, dialect).on_conflict_do_nothing().returning(*table.primary_key.columns))


@cache
def _upsert(
    model: type[DeclarativeBase], dialect: str, names: tuple[str, ...], keep: frozenset[str], more: frozenset[str]
) -> Prepared:
    table = _table(model)
    keys = [column.name for column in table.primary_key.columns]
    statement = _insert(table, dialect)
    changes = {name: statement.excluded[name] for name in names if name not in {*keys, *keep}}
    changes |= {name: table.columns[name] + statement.excluded[name] for name in more}
    return Prepared(statement.on_conflict_do_update(index_elements=keys, set_=changes))


@cache
def _insert_new(model: type[DeclarativeBase]) -> tuple[Prepared, dict[str, Callable[[], Any]]]:
    """Return the statement that inserts a whole row, and the functions that make the values of unset columns."""
    table = _table(model)
    return Prepared(insert(table)), {column.key: _default(column.default) for column in table.columns}


def _default(default: Any) -> Callable[[], Any]:
    if default is None:
        return lambda: None
    value = default.arg
    return (lambda: value(None)) if default.is_callable else (lambda: value)


def new_row[Model: DeclarativeBase](model: type[Model], **values: Any) -> Model:
    """Make an object as the model's constructor does, without an event for each attribute; raises TypeError."""
    unknown = values.keys() - _attributes(model)
    if unknown:
        raise TypeError(f"{model.__name__} has no {', '.join(sorted(unknown))}")
    manager: ClassManager[Model] = manager_of_class(model)
    made = manager.new_instance()
    made.__dict__.update(values)
    return made


def with_defaults(model: type[DeclarativeBase], values: Mapping[str, Any]) -> dict[str, Any]:
    """Return the values of a whole row: those that are not given are their columns' defaults."""
    _, makers = _insert_new(model)
    return {name: values[name] if name in values else make() for name, make in makers.items()}


@cache
def _key(model: type[DeclarativeBase]) -> tuple[str, ...]:
    return tuple(str(column.key) for column in inspect(model).primary_key)


@cache
def _attributes(model: type[DeclarativeBase]) -> frozenset[str]:
    return frozenset(inspect(model).column_attrs.keys())


def insert_new(session: Session, row: DeclarativeBase) -> None:
    """Insert the row of a new object at once; the object is then in the session, as after a flush of it alone.

    A flush costs several times as much. All columns have values then: their defaults where none is set.
    """
    statement, makers = _insert_new(type(row))
    given = row.__dict__
    for name in makers.keys() - given.keys():
        given[name] = makers[name]()  # not by the attribute: nothing of a new row is a change
    statement.all(connection_of(session), {name: given[name] for name in makers})
    attach(session, row, (type(row), tuple([given[name] for name in _key(type(row))]), None))


def insert_if_absent(session: Session, model: type[DeclarativeBase], values: Mapping[str, Any]) -> bool:
    """Insert one row unless a unique key of it exists; tell whether it was inserted."""
    connection = connection_of(session)
    statement = _insert_if_absent(model, connection.dialect.name)
    return statement.first(connection, values) is not None


def upsert(
    session: Session,
    model: type[DeclarativeBase],
    rows: Sequence[Mapping[str, Any]],
    *,
    keep: Collection[str] = (),
    more: Collection[str] = (),
) -> None:
    """Insert rows, or update existing ones by primary key except for columns in `keep`; all have the same columns.

    To what columns in `more` have the new value is added.
    """
    if not rows:
        return
    connection = connection_of(session)
    statement = _upsert(model, connection.dialect.name, tuple(rows[0]), frozenset(keep), frozenset(more))
    statement.many(connection, rows)
