"""Whether a database has the newest schema: asked at each start, without Alembic, which takes half a second to load."""

import re
from pathlib import Path
from typing import Final

from sqlalchemy import Engine, inspect

_VERSIONS: Final = Path(__file__).resolve().parent / "migrations" / "versions"
_REVISION: Final = re.compile(r'^(revision|down_revision) = "(\w+)"$', re.MULTILINE)


def bring_up_to_date(engine: Engine) -> None:
    """Run the migrations that this database has not seen, in one transaction."""
    if revision_of(engine) != newest():
        from stead_controller.db.migrate import upgrade  # noqa: PLC0415 - see above

        upgrade(engine)


def revision_of(engine: Engine) -> str | None:
    """The revision of a database's schema, as Alembic notes it there; None when there is none yet."""
    with engine.connect() as connection:
        if not inspect(connection).has_table("alembic_version"):
            return None
        revision: str | None = connection.exec_driver_sql("SELECT version_num FROM alembic_version").scalar()
        return revision


def newest() -> str:
    """The revision of the last migration: the only one that no other builds on."""
    made: set[str] = set()
    built_on: set[str] = set()
    for path in _VERSIONS.glob("*.py"):
        for kind, name in _REVISION.findall(path.read_text(encoding="utf-8")):
            (made if kind == "revision" else built_on).add(name)
    (last,) = made - built_on
    return last
