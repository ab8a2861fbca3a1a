"""Bring a database to the newest schema: `python -m stead_controller.db.migrate --new "what changed"` writes a step."""

import argparse
import tempfile
from collections.abc import Callable

from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, Engine, create_engine

from stead_controller.db import schema
from stead_controller.db.tables import Base


def load() -> None:
    """Load all migrations, which compiles those that were not."""
    config = Config()
    config.set_main_option("script_location", str(schema.migrations()))
    for _ in ScriptDirectory.from_config(config).walk_revisions():
        pass


def upgrade(engine: Engine, revision: str = "head") -> None:
    """Run the migrations up to a revision that this database has not seen, in one transaction: see `_in_one`."""
    _in_one(engine, lambda config: command.upgrade(config, revision))


def downgrade(engine: Engine, revision: str) -> None:
    """Undo the migrations after a revision, in one transaction: see `_in_one`.

    Data that an earlier release cannot store is lost. Raises ValueError, and changes nothing, where a migration cannot
    convert the present data back, and alembic's CommandError for a revision that is not an earlier one.
    """
    _in_one(engine, lambda config: command.downgrade(config, revision))


def _in_one(engine: Engine, migrate: Callable[[Config], None]) -> None:
    """Run migrations in one transaction.

    SQLite needs a new table for most changes of one, and the old one is dropped: meanwhile foreign keys must be off, or
    rows that refer to it would be deleted as well (https://www.sqlite.org/lang_altertable.html, section 7). They are
    checked at the end; raises ValueError, and changes nothing, where a row would refer to a missing one.
    """
    config = Config()
    config.set_main_option("script_location", str(schema.migrations()))
    is_sqlite = engine.dialect.name == "sqlite"
    with engine.connect() as connection:
        if is_sqlite:
            connection.exec_driver_sql("PRAGMA foreign_keys=OFF")
            connection.exec_driver_sql("BEGIN IMMEDIATE")  # which its driver leaves to the caller, see `session.py`
        config.attributes["connection"] = connection
        try:
            before = MigrationContext.configure(connection).get_current_heads()
            migrate(config)
            if is_sqlite and MigrationContext.configure(connection).get_current_heads() != before:
                _check_foreign_keys(connection)
            connection.commit()
        finally:
            connection.rollback()
            if is_sqlite:
                connection.exec_driver_sql("PRAGMA foreign_keys=ON")


def _check_foreign_keys(connection: Connection) -> None:
    found = connection.exec_driver_sql("PRAGMA foreign_key_check").first()
    if found is not None:
        raise ValueError(f"row {found[1]} of the table {found[0]} would hang on nothing in {found[2]}")


def differences(engine: Engine) -> list[object]:
    """List how the tables in the code differ from the migrated database; empty when they agree."""
    with engine.connect() as connection:
        return list(compare_metadata(MigrationContext.configure(connection), Base.metadata))


def _write_step(message: str) -> None:
    with tempfile.TemporaryDirectory() as folder:
        engine = create_engine(f"sqlite:///{folder}/scratch.sqlite")
        upgrade(engine)
        config = Config()
        config.set_main_option("script_location", str(schema.migrations()))
        with engine.begin() as connection:
            config.attributes["connection"] = connection
            command.revision(config, message, autogenerate=True)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--new", required=True, metavar="MESSAGE")
    _write_step(parser.parse_args().new)
