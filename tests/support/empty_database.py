"""A migrated SQLite file without rows, made once in a process: to walk through all migrations takes longer than most tests."""

import tempfile
from functools import cache
from pathlib import Path

from stead_controller.db import migrate
from stead_controller.db.session import Database


def write(path: Path) -> Path:
    """Make a file the migrated database, readable by its owner alone, and return its path."""
    path.touch(mode=0o600)
    path.write_bytes(content())
    return path


@cache
def content() -> bytes:
    """Return the bytes of the file."""
    with tempfile.TemporaryDirectory() as folder:
        database = Database(f"sqlite:///{folder}/stead.sqlite")
        migrate.upgrade(database.engine)
        return closed(database)


def closed(database: Database) -> bytes:
    """Close a database and return the bytes of its file."""
    path = database.engine.url.database
    assert path is not None
    with database.engine.connect() as connection:
        connection.exec_driver_sql("PRAGMA wal_checkpoint(TRUNCATE)")
    database.close()
    return Path(path).read_bytes()
