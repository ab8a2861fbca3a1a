"""Writes changed columns of loaded rows by prepared statements: half of what storing a report costs is the flush.

Whatever else a session has to write is left to its own flush.
"""

from functools import lru_cache
from typing import Any, Final

from sqlalchemy import Table, bindparam, inspect, update
from sqlalchemy.orm import InstanceState, Session
from sqlalchemy.orm.exc import StaleDataError
from sqlalchemy.sql.elements import ClauseElement

from stead_controller.db.prepared import Prepared, connection_of

_STATEMENTS: Final = 512  # sets of columns that are changed together


def flush(session: Session) -> None:
    """Write all changes of a session, as `Session.flush` does; raises what that raises."""
    if session.new or session.deleted:
        session.flush()
        return
    changes = [_Changes(inspect(row)) for row in session.dirty]
    if not all(each.are_plain for each in changes):
        session.flush()
        return
    connection = connection_of(session)
    for each in sorted(changes, key=lambda each: each.order):
        if each.values:
            statement = _update(each.state.mapper, tuple(sorted(each.values)))
            if statement.first(connection, each.arguments) is None:
                raise StaleDataError(f"The row of {each.state.object!r} is gone.")
        each.settle(session)


class _Changes:
    """What of an object differs from its row, by attribute."""

    __slots__ = ("state", "values")

    def __init__(self, state: InstanceState[Any]) -> None:
        self.state = state
        now, before = state.dict, state.committed_state
        self.values = {name: now[name] for name in before if now[name] != before[name]}

    @property
    def are_plain(self) -> bool:
        """Whether these are values, of columns that are no part of the key, in a table that derives nothing of them."""
        keys, derives = _facts(self.state.mapper)
        if not self.values:
            return True
        return not derives and all(name not in keys and not _is_sql(value) for name, value in self.values.items())

    @property
    def order(self) -> tuple[str, tuple[Any, ...]]:
        """The same in each transaction, so that two do not wait for each other's rows."""
        return self.state.mapper.class_.__name__, self._key

    @property
    def _key(self) -> tuple[Any, ...]:
        assert self.state.identity is not None  # what a session calls dirty has a row
        return self.state.identity

    @property
    def arguments(self) -> dict[str, Any]:
        """The parameters of the statement."""
        found = {_new(name): value for name, value in self.values.items()}
        for place, value in enumerate(self._key):
            found[f"key_{place}"] = value
        return found

    def settle(self, session: Session) -> None:
        """Mark the object as what its row has."""
        self.state._commit_all(self.state.dict, session.identity_map)  # noqa: SLF001 - nothing public does that


def _is_sql(value: Any) -> bool:
    return isinstance(value, ClauseElement) or hasattr(value, "__clause_element__")


@lru_cache(_STATEMENTS)
def _facts(mapper: Any) -> tuple[frozenset[str], bool]:
    """Return the attributes of the key, and whether the database sets columns at an update: SQLAlchemy sets none."""
    columns = mapper.local_table.columns
    keys = frozenset(mapper.get_property_by_column(column).key for column in mapper.primary_key)
    return keys, any(column.server_onupdate for column in columns)


@lru_cache(_STATEMENTS)
def _update(mapper: Any, names: tuple[str, ...]) -> Prepared:
    table = mapper.local_table
    assert isinstance(table, Table)
    columns = {name: mapper.columns[name] for name in names}
    mine = [column == bindparam(f"key_{place}") for place, column in enumerate(mapper.primary_key)]
    statement = update(table).where(*mine)
    statement = statement.values({column: bindparam(_new(name), type_=column.type) for name, column in columns.items()})
    return Prepared(statement.returning(*mapper.primary_key))


def _new(name: str) -> str:
    return f"new_{name}"
