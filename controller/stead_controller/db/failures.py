"""What an error of the database means: its text does not matter."""

import sqlite3
from typing import Final

from sqlalchemy.exc import DBAPIError, InterfaceError, OperationalError

_RETRY_SQLSTATES: Final = frozenset({"40001", "40P01"})
_FULL_SQLSTATE: Final = "53100"
# Classes, and two more, of what a server says that ends, begins, or does not take connections.
_AWAY_SQLSTATES: Final = ("08", "57P", "25P03", "53300")
# SQLITE_FULL, and the extended code for the memory that WAL's readers and writers share.
_FULL_SQLITE: Final = frozenset({sqlite3.SQLITE_FULL, sqlite3.SQLITE_IOERR_SHMSIZE})
_RETRY_SQLITE: Final = frozenset({sqlite3.SQLITE_BUSY, sqlite3.SQLITE_BUSY_SNAPSHOT, sqlite3.SQLITE_LOCKED})


def is_full(error: DBAPIError) -> bool:
    """Tell whether the disk of the database is full."""
    original = error.orig
    if isinstance(original, sqlite3.Error):
        return getattr(original, "sqlite_errorcode", None) in _FULL_SQLITE
    return getattr(original, "sqlstate", None) == _FULL_SQLSTATE


def is_away(error: DBAPIError) -> bool:
    """Tell an error by which PostgreSQL's server is not there, or not for this connection, from others."""
    state: str | None = getattr(error.orig, "sqlstate", None)
    if state is None:
        return isinstance(error, OperationalError | InterfaceError)
    return state.startswith(_AWAY_SQLSTATES)


def asks_for_retry(error: DBAPIError) -> bool:
    """Tell whether the transaction failed for what others did at the same moment, and may be tried again."""
    original = error.orig
    if isinstance(original, sqlite3.Error):
        return getattr(original, "sqlite_errorcode", None) in _RETRY_SQLITE
    return getattr(original, "sqlstate", None) in _RETRY_SQLSTATES
