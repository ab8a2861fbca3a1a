"""Copies a controller's database to another, empty one, a file or a server's, while no controller uses either."""

import os
import sqlite3
import tempfile
from contextlib import closing
from pathlib import Path
from typing import Final

from sqlalchemy import create_engine
from sqlalchemy.exc import OperationalError
from sqlalchemy.pool import NullPool

from stead_controller.backup import server_databases
from stead_controller.backup.contents import DATABASE_NAME
from stead_controller.backup.progress import Show
from stead_controller.backup.repository import BackupError, revision_of
from stead_controller.db import membership, schema
from stead_controller.db.tables import ControllerRow, Lease
from stead_proto import alone

FILE: Final = "sqlite"
"""What names the file in the state directory."""


def copy(state_dir: Path, source: str, target: str, show: Show) -> None:
    """Copy all rows from one database to another, each of which is FILE or the URL of a server's, and read them again.

    A server's database stays as it is; a file is renamed, so that nobody goes on with it by mistake. Raises
    BackupError, where the other one has something already or a controller runs, and changes nothing then.
    """
    file = state_dir / DATABASE_NAME
    if source == target:
        raise BackupError("The database is there already.")
    try:
        held = alone.take(state_dir / alone.FILE_NAME)
    except alone.TakenError as error:
        raise BackupError(f"A controller uses the database: stop it first ({error}).") from error
    try:
        if target == FILE:
            _to_file(source, file, show)
        else:
            _to_server(file if source == FILE else None, source, target, show)
    finally:
        os.close(held)


def forget_controllers(database: Path) -> None:
    """Remove from a file who served, and what they led: for a while they would pass for others that live."""
    with closing(sqlite3.connect(database)) as file:
        for table in (ControllerRow.__tablename__, Lease.__tablename__):
            if file.execute("SELECT 1 FROM sqlite_master WHERE name = ?", (table,)).fetchone():
                file.execute(f"DELETE FROM {table}")  # noqa: S608 - our own name
        file.commit()


def _to_file(source: str, file: Path, show: Show) -> None:
    if file.exists():
        raise BackupError(f"{file} is there already: move it away first, so that nothing of it is lost.")
    with tempfile.TemporaryDirectory(prefix=".copy-", dir=file.parent) as scratch:
        made = Path(scratch) / DATABASE_NAME
        _read(source, made, show)
        with made.open("rb") as written:
            os.fsync(written.fileno())
        made.rename(file)


def _to_server(file: Path | None, source: str, target: str, show: Show) -> None:
    parent = file.parent if file is not None else None
    with tempfile.TemporaryDirectory(prefix=".copy-", dir=parent) as scratch:
        made = Path(scratch) / DATABASE_NAME
        if file is None:
            _read(source, made, show)
        else:
            _copy_file(file, made)
        server_databases.write(made, target, show)
        server_databases.finish(target)
    if file is not None:
        file.rename(file.with_name(f"{file.name}.before-{server_databases.kind_of(target)}"))


def _read(source: str, made: Path, show: Show) -> None:
    """Read a server's database that no other controller uses, either."""
    server_databases.read(source, made, show)
    with closing(sqlite3.connect(made)) as file:
        [lives] = file.execute(f"SELECT max(seen) FROM {ControllerRow.__tablename__}").fetchone()  # noqa: S608 - our own name
    if lives is not None and lives > server_databases.now(source) - membership.LEASE_SECONDS * 1000:
        raise BackupError("Another controller uses the database: stop it first, on its machine.")
    forget_controllers(made)


def _copy_file(file: Path, made: Path) -> None:
    if not file.exists():
        raise BackupError(f"There is no database at {file}.")
    engine = create_engine(f"sqlite:///{file}", poolclass=NullPool)
    try:
        with engine.connect() as connection:
            connection.exec_driver_sql("PRAGMA journal_mode=DELETE")  # all is in the file, which may then be renamed
    except OperationalError as error:
        raise BackupError(f"Another program uses {file}: end it first ({error.orig}).") from error
    if not schema.knows(revision_of(file)):  # an older one is brought to the newest as it is written
        raise BackupError("The database is of a newer release: copy it by that one.")
    schema.write_copy(engine, made)
    forget_controllers(made)
