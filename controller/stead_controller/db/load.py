"""Reads whole rows as objects of the session, at a fraction of what the session's own queries cost.

An object is the same as one that the session loads: its changes are written at the next flush. One that the session
has already is returned as it is.
"""

from collections.abc import Mapping
from functools import cache
from typing import Any, Final, Self, cast

from sqlalchemy import CompoundSelect, Select, Table, bindparam, inspect, select
from sqlalchemy.orm import DeclarativeBase, Session
from sqlalchemy.orm.instrumentation import ClassManager, manager_of_class

from stead_controller.db.attach import attach
from stead_controller.db.prepared import Prepared, Question, Row, connection_of


class Load[Model: DeclarativeBase]:
    """One query of whole rows of a table."""

    def __init__(self, model: type[Model], query: Select[*tuple[Any, ...]] | CompoundSelect[*tuple[Any, ...]]) -> None:
        """Store the query, which has all columns of the model's table first, in their order (`columns_of`)."""
        mapper = inspect(model)
        self._model = model
        self._names: Final = tuple(mapper.get_property_by_column(column).key for column in columns_of(model))
        self._key: Final = tuple(columns_of(model).index(column) for column in mapper.primary_key)
        self._base: Final = mapper.class_
        self._prepared = Prepared(query)

    @classmethod
    def by_ids(cls, model: type[Model]) -> Self:
        """Return the query of the rows of some ids, its parameter `ids`."""
        return cls(model, select(*columns_of(model)).where(_id_of(model).in_(bindparam("ids", expanding=True))))

    def all(self, session: Session, params: Mapping[str, Any]) -> list[Model]:
        """Return the objects of all rows."""
        return [self._object(session, row) for row in self._prepared.all(connection_of(session), params)]

    def first(self, session: Session, params: Mapping[str, Any]) -> Model | None:
        """Return the object of the first row, if there is one."""
        row = self._prepared.first(connection_of(session), params)
        return None if row is None else self._object(session, row)

    def question(self, params: Mapping[str, Any]) -> Question:
        """Return what the query asks, so that the database can answer it with others."""
        return self._prepared, params

    def with_more(self, session: Session, params: Mapping[str, Any]) -> list[tuple[Model, Row]]:
        """Return the objects of all rows, each with the values of the query's further columns."""
        length = len(self._names)
        rows = self._prepared.all(connection_of(session), params)
        return [(self._object(session, row), row[length:]) for row in rows]

    def _object(self, session: Session, row: Row) -> Model:
        key = (self._base, tuple([row[place] for place in self._key]), None)
        known = session.identity_map.get(key)
        if known is not None:
            if inspect(known).expired:
                session.refresh(known)
            return cast("Model", known)
        manager: ClassManager[Model] = manager_of_class(self._model)
        made = manager.new_instance()
        made.__dict__.update(zip(self._names, row, strict=False))
        attach(session, made, key)
        return made


def columns_of(model: type[DeclarativeBase]) -> tuple[Any, ...]:
    """Return the columns of a model's table."""
    table = model.__table__
    assert isinstance(table, Table)
    return tuple(table.columns)


def _id_of(model: type[DeclarativeBase]) -> Any:
    """Return the only column of the primary key."""
    (column,) = inspect(model).primary_key
    return column


@cache
def _by_id(model: Any) -> Load[Any]:
    return Load(model, select(*columns_of(model)).where(_id_of(model) == bindparam("key")))


def get[Model: DeclarativeBase](session: Session, model: type[Model], key: str) -> Model | None:
    """Return the object of a table's only key if there is one, as `Session.get` does."""
    known: Model | None = session.identity_map.get((model, (key,), None))
    if known is not None and not inspect(known).expired:
        return known
    found: Model | None = _by_id(model).first(session, {"key": key})
    return found
