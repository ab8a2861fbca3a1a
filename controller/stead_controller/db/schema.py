"""Checks at each start if a database has the newest schema, without Alembic, which takes half a second to load."""

import os
import re
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Final

from sqlalchemy import Engine, inspect

from stead_controller.errors import SteadError

_VERSIONS: Final = Path(__file__).resolve().parent / "migrations" / "versions"
_REVISION: Final = re.compile(r'^(revision|down_revision) = "(\w+)"$', re.MULTILINE)


def _here(work: Callable[[], None]) -> None:
    work()


class NewerDatabaseError(SteadError):
    """A newer release has changed the database's schema."""


def bring_up_to_date(engine: Engine, run: Callable[[Callable[[], None]], None] = _here) -> None:
    """Run the migrations that this database has not had, in one transaction; an SQLite database is copied before.

    An empty one gets all tables at once. `run` calls what migrates, perhaps in a forked process: what it loads, 20 MiB,
    is of no use afterwards. Raises NewerDatabaseError, and changes nothing, where the database knows a revision that
    this release does not.
    """
    present = revision_of(engine)
    if present == newest():
        return
    if present is not None and not knows(present):
        raise NewerDatabaseError(
            f"The database has the revision {present}, of a newer release: run that one, or have it go back by "
            f"`stead-controller database downgrade {newest()}`, or put the copy back that its upgrade left beside the "
            "database: what was made since then, hosts keep, and `stead host show` names it until you decide."
        )
    if present is not None and engine.dialect.name == "sqlite" and engine.url.database:
        _keep_copy(engine, Path(engine.url.database), present)
    engine.dispose()  # no connection may be used in two processes
    run(partial(_make if present is None else _upgrade, engine))


def _make(engine: Engine) -> None:
    from stead_controller.db.new_schema import make  # noqa: PLC0415 - see above

    make(engine, newest())


def _upgrade(engine: Engine) -> None:
    from stead_controller.db.migrate import upgrade  # noqa: PLC0415 - see above

    upgrade(engine)


def revision_of(engine: Engine) -> str | None:
    """The revision of a database's schema, as Alembic stores it there; None when there is none yet."""
    with engine.connect() as connection:
        if not inspect(connection).has_table("alembic_version"):
            return None
        revision: str | None = connection.exec_driver_sql("SELECT version_num FROM alembic_version").scalar()
        return revision


def newest() -> str:
    """The revision of the last migration: the only one that no other builds on."""
    made, built_on = _revisions()
    (last,) = made - built_on
    return last


def knows(revision: str) -> bool:
    """Tell whether this release can use a database with a revision: its own, or an earlier one."""
    return revision in _revisions()[0]


def copy_of(database: Path, revision: str) -> Path:
    """The path of the copy of a database as it was with a revision, made by the upgrade from that revision."""
    return database.with_name(f"{database.name}.of-{revision}")


def _revisions() -> tuple[set[str], set[str]]:
    """The revisions of all migrations, and those that others build on."""
    made: set[str] = set()
    built_on: set[str] = set()
    for path in _VERSIONS.glob("*.py"):
        for kind, name in _REVISION.findall(path.read_text(encoding="utf-8")):
            (made if kind == "revision" else built_on).add(name)
    return made, built_on


def copies_of(database: Path) -> list[Path]:
    """List the copies that upgrades and downgrades have left beside a database."""
    return sorted(database.parent.glob(f"{database.name}.of-*"))


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
    if target.exists():  # from an upgrade that was not completed
        return
    write_copy(engine, target)
    for other in copies_of(database):
        if other != target:
            other.unlink()
