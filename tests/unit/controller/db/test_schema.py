import subprocess
import sys

from alembic.config import Config
from alembic.script import ScriptDirectory

from stead_controller.db import migrate, schema
from stead_controller.db.session import Database

_LATE = ("alembic", "botocore.client")


def test_the_newest_revision_is_what_alembic_takes_for_the_head():
    config = Config()
    config.set_main_option("script_location", str(migrate._MIGRATIONS))
    assert schema.newest() == ScriptDirectory.from_config(config).get_current_head()


def test_a_database_is_brought_from_nothing_or_an_older_schema_to_the_newest(tmp_path):
    for revision in (None, "faa718eac69d"):
        database = Database(f"sqlite:///{tmp_path / f'{revision}.sqlite'}")
        if revision:
            migrate.upgrade(database.engine, revision)
        assert schema.revision_of(database.engine) == revision
        schema.bring_up_to_date(database.engine)
        assert schema.revision_of(database.engine) == schema.newest()
        assert migrate.differences(database.engine) == []
        database.close()


def test_what_a_start_does_not_need_is_not_loaded():
    """Alembic and botocore's client are a third of the controller's time to start."""
    script = (
        "import sys, stead_controller.controller, stead_controller.initialise;"
        f"print(*[name for name in {_LATE} if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=120, check=True)
    assert done.stdout.split() == []
