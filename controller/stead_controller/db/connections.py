"""Connections to SQLite and to PostgreSQL, and how each is set up."""

import math
import time
from typing import Any, Final

from sqlalchemy import Connection, Engine, create_engine, event, make_url
from sqlalchemy.exc import InvalidatePoolError
from sqlalchemy.pool import NullPool

from stead_controller.db.exchanges import ISOLATION
from stead_controller.db.prepared import send

_CACHE_KIB: Final = 2 << 10  # of a reader, of which little is left after the next write
# Pages of the log after which they are written to the database: a page that many transactions change is written once.
# At most 16 MiB are read again at the next start, which takes some milliseconds.
_CHECKPOINT_PAGES: Final = 4096
# Statements that a connection keeps prepared, of 18 KiB each; a launch and what its host reports are 70.
_STATEMENTS: Final = 32
_WRITERS_STATEMENTS: Final = 128
# Of a connection, unless the URL says otherwise: a server whose machine is cut off is noticed after 20 s. As the kernel
# is set (tcp(7)) it is after two hours if the server owes an answer, and after a quarter of an hour otherwise.
_OF_CONNECTIONS: Final = {
    "connect_timeout": 5,
    "keepalives_idle": 5,
    "keepalives_interval": 5,
    "keepalives_count": 3,
    "tcp_user_timeout": 20_000,
}
# A connection that was used so lately is not asked whether it still is one: if not, the transaction is begun anew.
_FRESH_SECONDS: Final = 1.0
_USED: Final = "stead_used"


def open_engine(url: str, readers: int) -> Engine:
    """Return what has connections for so many threads that read; none is made before the first use."""
    if not url.startswith("sqlite"):
        return _postgresql_engine(url, readers)
    # The connection that was used last is used next: of many idle ones few have a cache.
    return _sqlite_engine(url, _STATEMENTS, pool_size=2 * readers, pool_use_lifo=True)


def open_writers_engine(url: str) -> Engine:
    """Return what opens the connection of SQLite that writes, which keeps more statements than those of readers."""
    return _sqlite_engine(url, _WRITERS_STATEMENTS, poolclass=NullPool)


def _postgresql_engine(url: str, readers: int) -> Engine:
    arguments = {name: value for name, value in _OF_CONNECTIONS.items() if name not in make_url(url).query}
    options = {"pool_size": 2 * readers, "pool_use_lifo": True, "connect_args": arguments}
    engine = create_engine(url, isolation_level=ISOLATION, **options)

    @event.listens_for(engine, "before_cursor_execute")
    def _send(connection: Connection, *_: Any) -> None:
        send(connection)

    @event.listens_for(engine, "checkin")
    def _note(_driver: Any, record: Any) -> None:
        record.info[_USED] = time.monotonic()

    @event.listens_for(engine, "checkout")
    def _look(driver: Any, record: Any, _proxy: Any) -> None:
        """Ask the server whether it is still there, as `pool_pre_ping` does, of a connection that was idle."""
        if time.monotonic() - record.info.get(_USED, -math.inf) < _FRESH_SECONDS:
            return
        try:
            engine.dialect.do_ping(driver)
        except engine.dialect.loaded_dbapi.Error as error:
            raise InvalidatePoolError from error  # all connections are made anew: the server was away

    return engine


def _sqlite_engine(url: str, statements: int, **options: Any) -> Engine:
    """Return an engine whose connections each keep so many statements prepared."""
    arguments = {"timeout": 10, "check_same_thread": False, "cached_statements": statements}
    engine = create_engine(url, connect_args=arguments, **options)

    @event.listens_for(engine, "connect")
    def _set_up(connection: Any, _record: Any) -> None:
        # Transactions are begun explicitly (IMMEDIATE for writers), not by the driver at the first write.
        connection.isolation_level = None
        # Each connection has its own cache; pages outside it come from the kernel's page cache, which all share.
        for pragma in (
            "journal_mode=WAL",
            "synchronous=FULL",
            "foreign_keys=ON",
            f"cache_size=-{_CACHE_KIB}",
            f"wal_autocheckpoint={_CHECKPOINT_PAGES}",
        ):
            connection.execute(f"PRAGMA {pragma}")
        # The service may write to its state directory only: a statement that needs a temporary file would fail.
        connection.execute("PRAGMA temp_store=MEMORY")

    return engine
