"""An upgrade's change of a database, and the way back from it, prepared while another controller serves."""

import shutil
import tempfile

import pytest
from sqlalchemy import text

from stead_controller.db import changes, schema
from stead_controller.db.session import Database
from stead_controller.settings import Settings
from stead_proto import alone
from tests.support import releases
from tests.unit.controller.db.conftest import revisions

OLD = revisions()[-2]


@pytest.fixture
def at(tmp_path, file_at):
    """Have the database of a state directory at a revision; give the settings."""

    def at(revision):
        (tmp_path / "stead.sqlite").write_bytes(file_at(revision))
        return Settings(state_dir=tmp_path)

    return at


def found(settings):
    """The revision, the accounts, and the copies of a database."""
    database = Database(settings.database)
    with database.engine.connect() as connection:
        names = connection.execute(text("SELECT name FROM accounts ORDER BY name")).scalars().all()
    revision = schema.revision_of(database.engine)
    database.close()
    return revision, names, [path.name for path in schema.copies_of(settings.state_dir / "stead.sqlite")]


def add_account(settings, name):
    database = Database(settings.database)
    with database.engine.begin() as connection:
        words = "INSERT INTO accounts (id, name, created, disabled) VALUES (:name, :name, 5, 0)"
        connection.execute(text(words), {"name": name})
    database.close()


def test_it_goes_there_and_back_with_all_rows_and_the_copy_of_before(at, tmp_path, monkeypatch):
    settings, taken = at(OLD), []
    monkeypatch.setattr(alone, "take", taken.append)
    add_account(settings, "former")
    with monkeypatch.context() as patch:
        patch.setattr(tempfile, "_candidate_tempdir_list", list)  # as below ProtectSystem=strict
        patch.setattr(tempfile, "tempdir", None)
        works = changes.at_hand(settings)
    assert not list(tmp_path.glob("stead-downgrade-*"))
    add_account(settings, "while it was prepared")
    works[changes.THERE]()
    copies = [f"stead.sqlite.of-{OLD}"]
    assert found(settings) == (schema.newest(), ["former", "while it was prepared"], copies)
    assert taken == []
    add_account(settings, "newer")
    works[changes.BACK]()
    assert found(settings) == (OLD, ["former", "newer", "while it was prepared"], copies)
    assert taken == [settings.state_dir / alone.SERVING_FILE_NAME]
    works[changes.BACK]()
    assert found(settings)[0] == OLD


@pytest.fixture
def files(tmp_path):
    """Migrations that may be replaced, as by a checkout of another commit under a controller that serves on."""
    files = shutil.copytree(schema.migrations(), tmp_path / "migrations")
    before = schema._migrations.set(files)
    schema.newest()
    yield files / "versions"
    schema._migrations.reset(before)


def test_a_release_does_not_follow_anothers_migrations(at, files):
    settings, newest = at(schema.newest()), schema.newest()
    (files / "newer.py").write_text(releases.migration("newer", newest))
    database = Database(settings.database)
    schema.bring_up_to_date(database.engine)
    database.close()
    assert found(settings)[0] == newest


def test_a_release_does_not_serve_without_its_own_migrations(at, files):
    settings, newest = at(OLD), schema.newest()
    for path in files.glob("*.py"):
        if f'revision = "{newest}"' in path.read_text():
            path.unlink()
    database = Database(settings.database)
    with pytest.raises(schema.OtherFilesError, match="another release's"):
        schema.bring_up_to_date(database.engine)
    database.close()
    assert found(settings)[0] == OLD


def test_nothing_is_prepared_where_the_database_is_as_it_should_be_or_a_newer_releases(at, tmp_path):
    assert changes.at_hand(Settings(state_dir=tmp_path)) == {}
    settings = at(schema.newest())
    assert changes.at_hand(settings) == {}
    database = Database(settings.database)
    with database.engine.begin() as connection:
        connection.execute(text("UPDATE alembic_version SET version_num = 'ffffffffffff'"))
    database.close()
    assert changes.at_hand(settings) == {}
