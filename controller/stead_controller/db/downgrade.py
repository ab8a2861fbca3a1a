"""Bring a database back to the schema of an earlier release, by the newer release's downgrade migrations."""

import contextlib
import logging
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from alembic.util import CommandError
from sqlalchemy import Engine, text
from sqlalchemy.exc import OperationalError, SQLAlchemyError

from stead_controller.db import migrate, new_schema, schema
from stead_controller.db.membership import LEASE_SECONDS
from stead_controller.db.session import Database
from stead_controller.errors import SteadError

_POLL_SECONDS: Final = 0.2
_log = logging.getLogger(__name__)
_SAID: Final = """
SELECT max(seen), extract(epoch FROM clock_timestamp()) * 1000 - max(seen) > :lease FROM controllers"""


class DowngradeError(SteadError):
    """The database cannot be brought back to a revision; it is unchanged."""


@contextlib.contextmanager
def at_hand(revision: str) -> Iterator[None]:
    """Have all that going back to a revision needs in memory, or in files of our own, by going back without any rows.

    Meanwhile `downgrade_to` needs nothing of this release's files, nor of its libraries'. Raises DowngradeError.
    """
    with schema.migrations_apart():
        rehearse(revision)
        yield


def rehearse(revision: str, place: Path | None = None) -> None:
    """Go back to a revision in a database without rows, which loads all that this needs; raises DowngradeError.

    The database is in a folder of its own, below `place` where one is named. It may miss what others than migrations
    have made, or rows: then all is loaded, and no more is known.
    """
    with tempfile.TemporaryDirectory(prefix="stead-downgrade-", dir=place) as folder:
        empty = Database(f"sqlite:///{folder}/{schema.FILE}")
        try:
            new_schema.make(empty.engine, schema.newest())
            if revision != schema.newest():
                downgrade_to(empty.engine, revision)
        except SQLAlchemyError as error:
            _log.info("downgrade_not_rehearsed", extra={"reason": str(getattr(error, "orig", error))})
        finally:
            empty.close()


def downgrade_to(engine: Engine, revision: str = "", *, copies: Path | None = None) -> str:
    """Go back to a revision, or to the one before the last upgrade of a file, and return the revision.

    A copy from before remains beside a file, and of a server's database in the folder `copies`, replacing that of the
    last upgrade. Raises DowngradeError.
    """
    present = schema.revision_of(engine)
    if present is None:
        raise DowngradeError("There is no database yet.")
    if not schema.knows(present):
        raise DowngradeError(f"The database has the revision {present}, of a newer release: that one can go back.")
    file = Path(engine.url.database) if engine.dialect.name == "sqlite" and engine.url.database else None
    target = revision or _before_the_last_upgrade(file, present)
    if file is None:
        _require_ended(engine)
        if copies is None:
            raise DowngradeError("No folder is named for a copy of the database.")
        file = copies / schema.FILE
    else:
        _require_alone(engine)
    copy = schema.copy_of(file, present)
    try:
        schema.write_copy_of(engine, copy, present)
    except schema.NotCopiedError as error:
        raise DowngradeError(f"The database cannot be copied to {copy} before: {error}. Make room there.") from error
    try:
        _downgrade(engine, target)
    except DowngradeError:
        copy.unlink()
        raise
    schema.keep_only(copy, file)
    return target


def undo(engine: Engine, revision: str) -> None:
    """Go back from an upgrade that was just made, and has left a copy of before, which stays; raises DowngradeError.

    Rows that were written since are kept.
    """
    if schema.revision_of(engine) == revision:
        return
    if engine.dialect.name == "sqlite":
        _require_alone(engine)
    else:
        _require_ended(engine)
    _downgrade(engine, revision)


def _before_the_last_upgrade(file: Path | None, present: str) -> str:
    copies = schema.copies_of(file) if file is not None else []
    earlier = [name for name in (copy.name.rpartition(".of-")[2] for copy in copies) if name != present]
    if len(earlier) != 1:
        raise DowngradeError(
            "No copy of an upgrade says which revision was before: name it. It is what the earlier release's "
            "`stead-controller database newest` prints."
        )
    return earlier[0]


def _require_alone(engine: Engine) -> None:
    """Raise DowngradeError while another process has the database open: it could not use the older schema."""
    with engine.connect() as connection:
        try:
            connection.exec_driver_sql("PRAGMA journal_mode=DELETE")
        except OperationalError as error:
            raise DowngradeError("A controller uses the database: stop it before, by `stead down`.") from error


def _require_ended(engine: Engine) -> None:
    """Raise DowngradeError while a controller says to a server that it lives; one that was killed is waited for."""
    first = None
    while True:
        with engine.connect() as connection:
            said, is_over = connection.execute(text(_SAID), {"lease": LEASE_SECONDS * 1000}).one()
        if said is None or is_over:
            return
        if first is not None and said > first:
            raise DowngradeError("A controller uses the database: stop all of them before, each on its machine.")
        first = said
        time.sleep(_POLL_SECONDS)


def _downgrade(engine: Engine, revision: str) -> None:
    try:
        migrate.downgrade(engine, revision)
    except CommandError as error:
        raise DowngradeError(f"{revision} is no earlier revision of this database: {error}") from error
    except ValueError as error:
        raise DowngradeError(str(error)) from error
