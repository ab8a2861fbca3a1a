"""Databases of tests: SQLite files, or with STEAD_TEST_POSTGRESQL databases of a PostgreSQL server.

With it a "file" has the name of a template database, from which one is made for each path that is opened.
"""

import os
from functools import cache
from pathlib import Path
from typing import Final

from sqlalchemy import Engine, create_engine

from stead_controller.db.session import Database

SERVER: Final = os.environ.get("STEAD_TEST_POSTGRESQL", "")
"""URL of a database of a PostgreSQL server where this may make others, such as `postgresql+psycopg://…/postgres`."""

_opened: dict[str, str] = {}


def opened(path: Path) -> Database:
    """Open the database of a path, whose content was written there."""
    if not SERVER:
        return Database(f"sqlite:///{path}")
    if str(path) not in _opened:
        template = path.read_bytes().decode() if path.exists() else "template1"
        name = f"stead_{os.getpid()}_{len(_opened)}"
        _run(f"CREATE DATABASE {name} TEMPLATE {template} STRATEGY FILE_COPY")
        _opened[str(path)] = name
    return Database(_url(_opened[str(path)]))


def closed(database: Database) -> bytes:
    """Close a database and return its content, to be written to other paths."""
    url = database.engine.url
    if database.engine.dialect.name == "sqlite":
        with database.engine.connect() as connection:
            connection.exec_driver_sql("PRAGMA wal_checkpoint(TRUNCATE)")
        database.close()
        assert url.database is not None
        return Path(url.database).read_bytes()
    database.close()
    return str(url.database).encode()


def dropped(path: Path) -> None:
    """Remove the database of a path."""
    if SERVER and (name := _opened.pop(str(path), None)):
        _run(f"DROP DATABASE {name} WITH (FORCE)")


@cache
def _server() -> Engine:
    return create_engine(SERVER, isolation_level="AUTOCOMMIT")


def _run(statement: str) -> None:
    with _server().connect() as connection:
        connection.exec_driver_sql(statement)


def _url(name: str) -> str:
    made = _server().url.set(database=name)
    return made.render_as_string(hide_password=False)
