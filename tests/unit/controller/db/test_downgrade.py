"""Going back one release: by which copy it knows where to, what it keeps, and when it refuses."""

import errno
import os
import shutil
import sqlite3
import subprocess
import sys

import pytest
from click.testing import CliRunner
from sqlalchemy import text

from stead_controller import __main__ as main
from stead_controller.__main__ import cli
from stead_controller.db import schema
from stead_controller.db.downgrade import DowngradeError, downgrade_to
from stead_controller.db.session import Database
from stead_proto import alone
from tests.unit.controller.db.conftest import revisions

OLD = revisions()[-2]


@pytest.fixture
def database(tmp_path, file_at):
    """A database that was upgraded from the revision before the newest."""
    (tmp_path / "stead.sqlite").write_bytes(file_at(OLD))
    database = Database(f"sqlite:///{tmp_path / 'stead.sqlite'}")
    with database.engine.begin() as connection:
        connection.execute(text("INSERT INTO accounts (id, name, created, disabled) VALUES ('1', 'old', 5, 0)"))
    schema.bring_up_to_date(database.engine)
    yield database
    database.close()


def copies(tmp_path):
    return [path.name for path in schema.copies_of(tmp_path / "stead.sqlite")]


@pytest.mark.story
def test_it_goes_back_to_before_the_last_upgrade_and_up_again(database, tmp_path):
    newest = schema.newest()
    assert downgrade_to(database.engine) == OLD
    assert schema.revision_of(database.engine) == OLD
    assert copies(tmp_path) == [f"stead.sqlite.of-{newest}"]
    with database.engine.begin() as connection:
        connection.execute(text("INSERT INTO accounts (id, name, created, disabled) VALUES ('2', 'since', 5, 0)"))
    schema.bring_up_to_date(database.engine)
    with database.engine.connect() as connection:
        assert connection.execute(text("SELECT id FROM accounts ORDER BY id")).scalars().all() == ["1", "2"]
    assert copies(tmp_path) == [f"stead.sqlite.of-{OLD}"], "of now, not of the first upgrade"


_SERVES = """
import pathlib, signal, sys
from stead_proto import alone
alone.take(pathlib.Path(sys.argv[1]))
print("it serves", flush=True)
signal.pause()
"""


def test_it_waits_until_nobody_serves(database, tmp_path, monkeypatch):
    monkeypatch.setattr(main, "_ENDS_SECONDS", 0.1)
    words = ["database", "downgrade", f"--state-dir={tmp_path}", "--when-free", OLD]
    command = [sys.executable, "-c", _SERVES, str(tmp_path / alone.SERVING_FILE_NAME)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as server:
        assert server.stdout.readline() == "it serves\n"
        done = CliRunner().invoke(cli, words)
        assert (done.exit_code, "another controller serves" in done.output) == (1, True)
        assert schema.revision_of(database.engine) == schema.newest()
        server.kill()
    database.close()
    monkeypatch.setattr(main, "_ENDS_SECONDS", 60)
    assert CliRunner().invoke(cli, words).output == f"All is loaded.\nThe database has the revision {OLD}.\n"


def test_who_serves_next_does_not_await_the_end_of_what_went_back(database, tmp_path):
    names = (alone.SERVING_FILE_NAME, alone.CHANGING_FILE_NAME)
    code = "import pathlib, sys; from stead_proto import alone; print([alone.holder(pathlib.Path(it)) for it in sys.argv[1:]])"
    words = [sys.executable, "-c", code, *(str(tmp_path / name) for name in names)]

    def holders():
        return subprocess.run(words, capture_output=True, text=True, timeout=60, check=True).stdout

    with main._once_free(database, tmp_path, OLD):
        assert holders() == f"{[os.getpid()] * 2}\n"
    assert holders() == "[None, None]\n"


# What another commit's files replace: all of ours are gone, and so is whatever else could still be loaded.
_WITHOUT_FILES = """
import pathlib, shutil, sys
from stead_controller.db import schema
from stead_controller.db.downgrade import at_hand, downgrade_to
from stead_controller.db.session import Database
database, files, revision = sys.argv[1:]
schema._migrations.set(pathlib.Path(files))
opened = Database(database)
with at_hand(revision):
    shutil.rmtree(files)
    sys.meta_path.clear()
    print(downgrade_to(opened.engine, revision))
"""


def test_what_is_at_hand_needs_no_files_of_this_release(database, tmp_path):
    database.close()
    files = shutil.copytree(schema.migrations(), tmp_path / "migrations")
    words = [sys.executable, "-c", _WITHOUT_FILES, f"sqlite:///{tmp_path / 'stead.sqlite'}", str(files), OLD]
    done = subprocess.run(words, capture_output=True, text=True, timeout=240, check=False)
    assert (done.returncode, done.stdout) == (0, f"{OLD}\n"), done.stderr


def test_a_way_back_that_there_is_not_is_said_before_anything_ends(database, tmp_path):
    words = ["database", "downgrade", f"--state-dir={tmp_path}", "--when-free", "nonsense"]
    done = CliRunner().invoke(cli, words)
    assert (done.exit_code, "nonsense is no earlier revision" in done.output) == (1, True)
    assert "All is loaded" not in done.output


def test_what_a_killed_copy_has_begun_names_no_revision_and_goes(database, tmp_path):
    begun = [tmp_path / f"stead.sqlite.of-{revision}.copy-4711" for revision in (OLD, "c0ffee")]
    for path in begun:
        path.touch()
    assert downgrade_to(database.engine) == OLD
    assert [path for path in begun if path.exists()] == []
    begun[0].touch()
    schema.bring_up_to_date(database.engine)
    assert not begun[0].exists()


@pytest.mark.parametrize("revision", ["nonsense", "ffffffffffff"])
def test_what_is_no_earlier_revision_is_refused(database, tmp_path, revision):
    before = copies(tmp_path)
    with pytest.raises(DowngradeError, match="no earlier revision"):
        downgrade_to(database.engine, revision)
    assert (schema.revision_of(database.engine), copies(tmp_path)) == (schema.newest(), before)


def test_without_a_copy_the_revision_must_be_named(database, tmp_path):
    schema.copy_of(tmp_path / "stead.sqlite", OLD).unlink()
    with pytest.raises(DowngradeError, match="name it"):
        downgrade_to(database.engine)
    assert downgrade_to(database.engine, OLD) == OLD


def test_what_cannot_be_copied_before_is_not_changed(database, tmp_path, monkeypatch):
    before = copies(tmp_path)

    def full(_handle):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", full)
        with pytest.raises(DowngradeError, match=r"cannot be copied .*No space left on device\. Make room there"):
            downgrade_to(database.engine)
    assert (schema.revision_of(database.engine), copies(tmp_path)) == (schema.newest(), before)
    with database.engine.begin() as connection:
        connection.execute(text("UPDATE alembic_version SET version_num = 'ffffffffffff'"))
    with pytest.raises(DowngradeError, match="ffffffffffff, of a newer release"):
        downgrade_to(database.engine, OLD)
    assert copies(tmp_path) == before


def test_not_while_a_controller_has_it_open(database, tmp_path):
    """Another connection to it is open, as a controller's are."""
    with sqlite3.connect(tmp_path / "stead.sqlite") as other:
        other.execute("SELECT count(*) FROM accounts").fetchall()
        with pytest.raises(DowngradeError, match="stop it before"):
            downgrade_to(database.engine)
        assert schema.revision_of(database.engine) == schema.newest()
    other.close()
    assert downgrade_to(database.engine) == OLD


def test_the_command(database, tmp_path):
    database.close()
    done = CliRunner().invoke(cli, ["database", "downgrade", f"--state-dir={tmp_path}"])
    assert (done.exit_code, done.output) == (0, f"The database has the revision {OLD}.\n")
    again = CliRunner().invoke(cli, ["database", "downgrade", f"--state-dir={tmp_path}", "nonsense"])
    assert again.exit_code == 1
    assert "no earlier revision" in again.output
    assert CliRunner().invoke(cli, ["database", "newest"]).output == f"{schema.newest()}\n"
