import errno
import os
import signal
import subprocess
import sys

import pytest
from alembic.config import Config
from alembic.script import ScriptDirectory
from click.testing import CliRunner

from stead_controller.__main__ import cli
from stead_controller.db import migrate, schema
from stead_controller.db.session import Database
from tests.unit.controller.db.conftest import revisions
from tests.unit.controller.db.rows import fill

# An older schema, after which three tables are made anew, and the one of a release before.
_OLDER, _FORMER = "5b1c7e90a4d2", revisions()[-4]
_LATE = ("alembic", "botocore.client")


def test_the_newest_revision_is_what_alembic_takes_for_the_head():
    config = Config()
    config.set_main_option("script_location", str(schema.migrations()))
    assert schema.newest() == ScriptDirectory.from_config(config).get_current_head()


@pytest.mark.story
def test_a_database_is_brought_from_nothing_or_an_older_schema_to_the_newest(tmp_path, file_at):
    for revision in (None, _FORMER):
        file = tmp_path / f"{revision}.sqlite"
        file.write_bytes(file_at(revision) if revision else b"")
        database = Database(f"sqlite:///{file}")
        assert schema.revision_of(database.engine) == revision
        schema.bring_up_to_date(database.engine)
        assert schema.revision_of(database.engine) == schema.newest()
        assert migrate.differences(database.engine) == []
        database.close()


def test_the_database_before_an_upgrade_is_copied_for_a_downgrade(tmp_path, file_at):
    file = tmp_path / "stead.sqlite"
    file.write_bytes(file_at(_FORMER))
    database = Database(f"sqlite:///{file}")
    with database.engine.begin() as connection:
        connection.exec_driver_sql("INSERT INTO accounts (id, name, created, disabled) VALUES ('1', 'old', 5, 0)")
    (tmp_path / "stead.sqlite.of-997a8f069d6f").write_text("of the upgrade before")
    (tmp_path / f"stead.sqlite.of-{_FORMER}").write_text("of a try that failed, since when more was written")
    schema.bring_up_to_date(database.engine)
    schema.bring_up_to_date(database.engine)
    database.close()
    copy = schema.copy_of(file, _FORMER)
    assert sorted(tmp_path.glob("stead.sqlite.*")) == [copy]
    assert copy.stat().st_mode & 0o777 == 0o600
    former = Database(f"sqlite:///{copy}")
    assert schema.revision_of(former.engine) == _FORMER
    with former.engine.connect() as connection:
        assert connection.exec_driver_sql("SELECT name FROM accounts").scalars().all() == ["old"]
    former.close()


def test_where_there_is_no_room_for_the_copy_nothing_is_changed(tmp_path, monkeypatch, file_at):
    file = tmp_path / "stead.sqlite"
    file.write_bytes(file_at(_FORMER))
    database = Database(f"sqlite:///{file}")

    def full(_handle):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(schema.NotCopiedError, match=r"cannot be copied .*No space left on device\)\. Mend that"):
        schema.bring_up_to_date(database.engine)
    assert schema.revision_of(database.engine) == _FORMER
    database.close()
    assert list(tmp_path.iterdir()) == [file]


def test_a_database_of_a_newer_release_is_left_alone(tmp_path, empty_database_file):
    (tmp_path / "stead.sqlite").write_bytes(empty_database_file)
    database = Database(f"sqlite:///{tmp_path / 'stead.sqlite'}")
    with database.engine.begin() as connection:
        connection.exec_driver_sql("UPDATE alembic_version SET version_num = 'ffffffffffff'")
    with pytest.raises(schema.NewerDatabaseError, match="ffffffffffff, of a newer release"):
        schema.bring_up_to_date(database.engine)
    assert schema.revision_of(database.engine) == "ffffffffffff"
    database.close()
    done = CliRunner().invoke(cli, ["init", f"--state-dir={tmp_path}"])
    assert (done.exit_code, done.output.startswith("Error: The database has the revision ffffffffffff")) == (1, True)


def test_what_a_start_does_not_need_is_not_loaded():
    """Alembic and botocore's client are a third of the controller's time to start."""
    script = (
        "import sys, stead_controller.controller, stead_controller.initialise;"
        f"print(*[name for name in {_LATE} if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=120, check=True)
    assert done.stdout.split() == []


@pytest.mark.story
def test_what_migrates_need_not_be_loaded_here(tmp_path):
    script = (
        "import sys\n"
        "from stead_controller import supervisor\n"
        "from stead_controller.db import schema\n"
        "from stead_controller.db.session import Database\n"
        f"database = Database('sqlite:///{tmp_path}/stead.sqlite')\n"
        "schema.bring_up_to_date(database.engine, supervisor.apart)\n"
        "print(schema.revision_of(database.engine) == schema.newest(), 'alembic' in sys.modules)\n"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=120, check=True)
    assert done.stdout.split() == ["True", "False"]


_DIES = """
import os, signal, sys
from sqlalchemy import event
from stead_controller.db import schema
from stead_controller.db.session import Database
database, left = Database(f"sqlite:///{sys.argv[1]}"), int(sys.argv[2])
def count(*_of_the_statement):
    global left
    left -= 1
    if left == 0:
        os.kill(os.getpid(), signal.SIGKILL)
event.listen(database.engine, "before_cursor_execute", count)
schema.bring_up_to_date(database.engine)
"""


@pytest.mark.story
@pytest.mark.parametrize("statement", [200, 400])
def test_a_migration_that_is_killed_changes_nothing_and_is_done_anew(tmp_path, file_at, statement):
    """All of it is one transaction, tables that are made anew as well."""
    file = tmp_path / "stead.sqlite"
    file.write_bytes(file_at(_OLDER))
    database = Database(f"sqlite:///{file}")
    with database.engine.begin() as connection:
        fill(connection, 11, accounts={"name": "old"})
    database.close()
    done = subprocess.run([sys.executable, "-c", _DIES, file, str(statement)], capture_output=True, check=False)
    assert done.returncode == -signal.SIGKILL, done
    database = Database(f"sqlite:///{file}")
    assert schema.revision_of(database.engine) == _OLDER
    schema.bring_up_to_date(database.engine)
    assert migrate.differences(database.engine) == []
    with database.engine.connect() as connection:
        assert connection.exec_driver_sql("SELECT name FROM accounts").scalars().all() == ["old"]
        assert connection.exec_driver_sql("PRAGMA integrity_check").scalars().all() == ["ok"]
    database.close()
