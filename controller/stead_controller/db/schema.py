"""Checks at each start if a database has the newest schema, without Alembic, which takes half a second to load."""

import contextlib
import logging
import os
import re
import shutil
import sqlite3
import tempfile
import time
from collections.abc import Callable, Iterator
from contextvars import ContextVar
from functools import cache, partial
from pathlib import Path
from typing import Final

from sqlalchemy import Engine, inspect
from sqlalchemy.exc import SQLAlchemyError

from stead_controller.errors import SteadError

_migrations: ContextVar[Path] = ContextVar("migrations", default=Path(__file__).resolve().parent / "migrations")
_REVISION: Final = re.compile(r'^(revision|down_revision) = "(\w+)"$', re.MULTILINE)
FILE: Final = "stead.sqlite"
"""What copies of a server's database have their names of, in the state directory: that of a file is named so."""
_LOCK: Final = 0x5374656164  # of PostgreSQL: who has it changes the schema; "Stead", and no other use of such locks

_log = logging.getLogger(__name__)

type Run = Callable[[Callable[[], None]], None]
"""Calls what it is given, here or in another process."""


def here(work: Callable[[], None]) -> None:
    """Do work in this process."""
    work()


class UnchangedError(SteadError):
    """The schema could not be brought up to date, for a reason that its message says, and nothing was changed."""


class NewerDatabaseError(UnchangedError):
    """A newer release has changed the database's schema."""


class OtherFilesError(UnchangedError):
    """The migrations that are there are not those of the release that runs."""


class NotCopiedError(UnchangedError):
    """The database could not be copied, so that its schema was not changed."""


def bring_up_to_date(engine: Engine, run: Run = here, *, copies: Path | None = None) -> None:
    """Run the migrations that this database has not had, in one transaction, after it was copied.

    The copy of a file is beside it, that of a server's database in the folder `copies`; of several controllers the one
    that migrates makes it. An empty one gets all tables at once. `run` calls what migrates, perhaps in a forked
    process: what it loads, 20 MiB, is of no use afterwards. Raises, and changes nothing, NewerDatabaseError where the
    database knows a revision that this release does not, and NotCopiedError where it cannot be copied.
    """
    present = revision_of(engine)
    if present == newest():
        return
    _require_known(present)
    if engine.dialect.name == "sqlite":
        if present is not None and engine.url.database:
            _keep_copy(engine, Path(engine.url.database), present)
        change = partial(_change, engine, present)
    else:
        change = partial(_change_server, engine, copies)
    engine.dispose()  # no connection may be used in two processes
    run(change)


def prepare(engine: Engine, copies: Path, *, goes_back: bool = False) -> None:
    """Prepare the copy that `bring_up_to_date`, or a downgrade, will make, while a controller still serves.

    That of a file needs nothing. What fails is logged: then all of it is made later.
    """
    if engine.dialect.name == "sqlite":
        return
    from stead_controller.db import server_copy  # noqa: PLC0415 - see above

    try:
        present = revision_of(engine)
        if present is not None and knows(present) and (goes_back or present != newest()):
            server_copy.prepare(copy_of(copies / FILE, present), present)
    except (OSError, SQLAlchemyError, sqlite3.Error):
        _log.exception("copy_not_prepared")


def _change(engine: Engine, present: str | None) -> None:
    if present is None:
        from stead_controller.db.new_schema import make  # noqa: PLC0415 - see above

        make(engine, newest())
    else:
        from stead_controller.db.migrate import upgrade  # noqa: PLC0415 - see above

        upgrade(engine)
    if revision_of(engine) != newest():
        raise OtherFilesError("The database is not upgraded: the migrations here are another release's.")


def _change_server(engine: Engine, copies: Path | None) -> None:
    """Copy a server's database and change its schema, unless another controller has done so meanwhile."""
    with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as held:
        held.detach()  # the lock ends with this connection
        held.exec_driver_sql(f"SELECT pg_advisory_lock({_LOCK})")
        present = revision_of(engine)
        if present == newest():
            return
        _require_known(present)
        if present is not None:
            if copies is None:
                raise NotCopiedError("The database is not upgraded, since no folder is named for a copy of it.")
            _keep_copy(engine, copies / FILE, present)
        _change(engine, present)


def _require_known(present: str | None) -> None:
    if present is not None and not knows(present):
        raise NewerDatabaseError(
            f"The database has the revision {present}, of a newer release: run that one, or have it go back by "
            f"`stead-controller database downgrade {newest()}`, or put the copy back that its upgrade left in "
            "the state folder: what was made since then, hosts keep, and `stead host show` names it until you decide."
        )


def revision_of(engine: Engine) -> str | None:
    """The revision of a database's schema, as Alembic stores it there; None when there is none yet."""
    with engine.connect() as connection:
        if not inspect(connection).has_table("alembic_version"):
            return None
        revision: str | None = connection.exec_driver_sql("SELECT version_num FROM alembic_version").scalar()
        return revision


def migrations() -> Path:
    """The folder of all migrations, as Alembic has it."""
    return _migrations.get()


@contextlib.contextmanager
def migrations_apart() -> Iterator[None]:
    """Read migrations from a copy meanwhile, since another release's files may replace those that are there."""
    with tempfile.TemporaryDirectory(prefix="stead-migrations-") as folder:
        shutil.copytree(migrations(), folder, dirs_exist_ok=True)
        before = _migrations.set(Path(folder))
        try:
            yield
        finally:
            _migrations.reset(before)


def newest() -> str:
    """The revision of the last migration: the only one that no other builds on."""
    made, built_on = _revisions(migrations())
    (last,) = made - built_on
    return last


def knows(revision: str) -> bool:
    """Tell whether this release can use a database with a revision: its own, or an earlier one."""
    return revision in _revisions(migrations())[0]


def copy_of(database: Path, revision: str) -> Path:
    """The path of the copy of a database as it was with a revision, made by the upgrade from that revision."""
    return database.with_name(f"{database.name}.of-{revision}")


@cache
def _revisions(folder: Path) -> tuple[frozenset[str], frozenset[str]]:
    """The revisions of all migrations, and those that others build on: as they were when this was first asked.

    A process that has loaded all serves on with another commit's files in its checkout.
    """
    made: set[str] = set()
    built_on: set[str] = set()
    for path in (folder / "versions").glob("*.py"):
        for kind, name in _REVISION.findall(path.read_text(encoding="utf-8")):
            (made if kind == "revision" else built_on).add(name)
    return frozenset(made), frozenset(built_on)


def copies_of(database: Path) -> list[Path]:
    """List the copies that upgrades and downgrades have left beside a database; not what a killed one has begun."""
    return sorted(path for path in database.parent.glob(f"{database.name}.of-*") if path.suffix.startswith(".of-"))


def keep_only(copy: Path, database: Path) -> None:
    """Remove all copies beside a database but one, and what killed ones have begun."""
    for other in database.parent.glob(f"{database.name}.of-*"):
        if other != copy:
            other.unlink()


def write_copy(engine: Engine, target: Path) -> None:
    """Copy an SQLite database, whole or not at all."""
    new = target.with_name(f"{target.name}.copy-{os.getpid()}")
    new.unlink(missing_ok=True)
    os.close(os.open(new, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600))  # VACUUM may write to an empty existing file
    try:
        with engine.connect() as connection:
            connection.exec_driver_sql("VACUUM INTO ?", (str(new),))
        with new.open("rb") as file:
            os.fsync(file.fileno())
        new.replace(target)
    finally:
        new.unlink(missing_ok=True)


def _keep_copy(engine: Engine, database: Path, revision: str) -> None:
    """Copy the database for a return to the previous release: only the last such copy is retained."""
    target = copy_of(database, revision)
    began = time.monotonic()
    try:
        write_copy_of(engine, target, revision)
    except NotCopiedError as error:
        raise NotCopiedError(
            f"The database is not upgraded, and nothing of it is changed, since it cannot be copied to {target} before "
            f"({error.message}). Mend that, such as by making room in {target.parent}, and start the controller "
            "again, or the former release, which can use the database as it is."
        ) from error
    _log.info("database_copied", extra={"file": str(target), "seconds": round(time.monotonic() - began, 1)})
    keep_only(target, database)


def write_copy_of(engine: Engine, target: Path, revision: str) -> None:
    """Copy a file, or a server's database that has a revision, whole or not at all; raises NotCopiedError with why."""
    try:
        if engine.dialect.name == "sqlite":
            write_copy(engine, target)
        else:
            from stead_controller.db.server_copy import write  # noqa: PLC0415 - see above

            write(engine, target, revision)
    except (OSError, SQLAlchemyError, sqlite3.Error, SteadError) as error:
        raise NotCopiedError(str(getattr(error, "orig", None) or error).strip()) from error
