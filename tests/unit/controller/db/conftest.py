"""What tests of the database share."""

from collections.abc import Callable, Iterator
from functools import cache
from typing import Any, Final

import pytest
from alembic.config import Config
from alembic.script import ScriptDirectory
from sqlalchemy import event

from stead_controller.db import migrate, schema
from stead_controller.db.session import Database
from tests.support.databases import closed

_RUNG: Final = 16  # revisions


@pytest.fixture(scope="session", autouse=True)
def _migrations_are_read_once() -> Iterator[None]:
    """Alembic loads the files of all migrations anew whenever it is asked for one step, which takes longer than the step."""
    make = ScriptDirectory.from_config

    @cache
    def stored(location: str) -> ScriptDirectory:
        config = Config()
        config.set_main_option("script_location", location)
        return make(config)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(ScriptDirectory, "from_config", lambda config: stored(config.get_main_option("script_location")))
        yield


@pytest.fixture(scope="session")
def file_at(tmp_path_factory: Any) -> Callable[[str], bytes]:
    """Give the bytes of a database without rows of some revision: made once, from those of the nearest one before it.

    On the way to the first all rungs are kept, so that nobody begins from nothing again.
    """
    made: dict[str, bytes] = {}
    line = revisions()

    @cache
    def at(revision: str) -> bytes:
        path = tmp_path_factory.mktemp("revisions") / "stead.sqlite"
        position = line.index(revision)
        if position > _RUNG:
            at(line[(position - 1) // _RUNG * _RUNG])
        before = [known for known in line[:position] if known in made]
        path.write_bytes(made[before[-1]] if before else b"")
        database = Database(f"sqlite:///{path}")
        # Nothing here outlives a crash, so no disk is awaited.
        event.listen(database.engine, "connect", lambda driver, _: driver.execute("PRAGMA synchronous=OFF"))
        migrate.upgrade(database.engine, revision)
        made[revision] = closed(database)
        path.unlink()
        return made[revision]

    return at


def revisions() -> list[str]:
    """List all revisions, the oldest first."""
    config = Config()
    config.set_main_option("script_location", str(schema.migrations()))
    return [step.revision for step in ScriptDirectory.from_config(config).walk_revisions()][::-1]
