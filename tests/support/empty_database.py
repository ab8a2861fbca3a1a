"""An SQLite file of the newest schema without rows, made once in a process: that takes longer than most tests."""

import contextlib
import sqlite3
import tempfile
from functools import cache
from pathlib import Path

from stead_controller.db.schema import bring_up_to_date
from stead_controller.db.session import Database
from tests.support import databases
from tests.support.databases import closed


def write(path: Path, *, of_program: bool = False) -> Path:
    """Make a file the migrated database, readable by its owner alone, and return its path.

    That of a controller which is a program of its own is a file of SQLite, on whatever server other tests have theirs.
    """
    path.touch(mode=0o600)
    path.write_bytes(_of_sqlite() if of_program else content())
    return path


@cache
def _of_sqlite() -> bytes:
    with tempfile.TemporaryDirectory() as folder:
        database = Database(f"sqlite:///{folder}/stead.sqlite")
        bring_up_to_date(database.engine)
        return closed(database)


@cache
def content() -> bytes:
    """Return the bytes of the file."""
    if not databases.SERVER:
        return _in_small_pages(_of_sqlite())
    with tempfile.TemporaryDirectory() as folder:
        database = databases.opened(Path(folder) / "stead.sqlite")
        bring_up_to_date(database.engine)
        return closed(database)


def _in_small_pages(content: bytes) -> bytes:
    """Give a file a quarter of its size: a hundred empty tables and their indexes take a page each, for each test anew."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "stead.sqlite"
        path.write_bytes(content)
        with contextlib.closing(sqlite3.connect(path, isolation_level=None)) as connection:
            for statement in (
                "PRAGMA journal_mode=DELETE",
                "PRAGMA page_size=1024",
                "VACUUM",
                "PRAGMA journal_mode=WAL",
            ):
                connection.execute(statement)
        return path.read_bytes()
