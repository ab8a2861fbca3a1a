"""Puts an object whose row is known into a session, as if the session had loaded it.

`make_transient_to_detached` and `Session.add` do the same for any object: they look for related ones and for columns
that were not loaded, of which there are none here. That costs several times as much.
"""

from typing import Any

from sqlalchemy import inspect
from sqlalchemy.orm import DeclarativeBase, InstanceState, Session

type IdentityKey = tuple[type[Any], tuple[Any, ...], Any]
"""The class that has the table, the values of its key, and None: as SQLAlchemy's `Mapper.identity_key` makes it."""


def attach(session: Session, row: DeclarativeBase, key: IdentityKey) -> None:
    """Make a new object, of which all columns are set, one of the session; its values are those of its row."""
    state: InstanceState[Any] = inspect(row)
    state.key = key
    state._commit_all(state.dict)  # noqa: SLF001 - nothing public does that
    session._update_impl(state)  # noqa: SLF001 - `Session.add` without its search for related objects
