"""A state in PostgreSQL: backed up in one snapshot while it is written to, and back to a server or to a file.

And copied before its schema is changed, which brings it back, too.
"""

import contextlib
import errno
import json
import os
import shutil
import sqlite3
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing

import pytest
from sqlalchemy import MetaData, create_engine, inspect, text

from stead_controller.backup import other_database, server_databases
from stead_controller.backup.repository import BackupError, revision_of
from stead_controller.db import migrate, schema, server_copy, server_rows
from stead_controller.db.session import Database
from stead_controller.db.tables import Base
from stead_controller.desired import revisions
from stead_proto import alone
from tests.api.test_backups import run
from tests.bench import launches_at_once
from tests.support.clients import FAST
from tests.support.postgresql import PROGRAMS, PostgresqlServer
from tests.support.waiting import wait_for

pytestmark = [
    pytest.mark.story,
    pytest.mark.skipif(not PROGRAMS, reason="needs a PostgreSQL server: ./stead test --postgresql installs it"),
    pytest.mark.skipif(os.geteuid() != 0, reason="needs root, to run the server as its own user"),
]


def nothing(_step, _done, _of):
    """Show no progress."""


@pytest.fixture(scope="module")
def server():
    made = PostgresqlServer()
    try:
        made.start()
        yield made
    finally:
        made.stop()


@pytest.fixture(scope="module")
def prepared(server):
    """A database with tenants, hosts, images and what the last column of each kind may have."""
    made = server.new_database()
    engine = create_engine(made)
    schema.bring_up_to_date(engine)
    launches_at_once.prepared(made, hosts=3)
    with engine.begin() as connection:
        connection.execute(text("UPDATE hosts SET labels = 'null', huge_pages = '{\"a\" :  1.50}'"))
    engine.dispose()
    return engine.url.database


@pytest.fixture
def url(server, prepared):
    """A copy of it."""
    return server.new_database(copy_of=prepared)


def content_of(url):
    """All rows of a database, each as its driver gives it, but JSON as its text."""
    engine = create_engine(url)
    found = {}
    with engine.connect() as connection:
        is_file = engine.dialect.name == "sqlite"
        for table in Base.metadata.sorted_tables:
            names = (f'CAST("{column.name}" AS text)' if not is_file and str(column.type) == "JSON" else f'"{column.name}"'
                     for column in table.columns)  # fmt: skip
            rows = connection.exec_driver_sql(f'SELECT {", ".join(names)} FROM "{table.name}"').all()
            found[table.name] = sorted(
                repr(tuple(int(one) if isinstance(one, bool) else one for one in row)) for row in rows
            )
    engine.dispose()
    return found


def test_all_rows_pass_to_a_file_and_to_another_server_unchanged(server, url, tmp_path):
    file, before = tmp_path / "file.sqlite", content_of(url)
    server_databases.read(url, file, nothing)
    assert file.stat().st_mode & 0o077 == 0
    assert revision_of(file) == schema.newest()
    assert content_of(f"sqlite:///{file}") == before
    assert sum(map(len, before.values())) > 50

    other = server.new_database()
    server_databases.write(file, other, nothing)
    assert content_of(other) == before
    server_databases.finish(other)
    assert content_of(url) == before
    engine = create_engine(other)
    assert migrate.differences(engine) == []
    engine.dispose()


def test_rows_that_come_later_are_numbered_after_those_that_were_there(server, url, tmp_path):
    add = text(
        "INSERT INTO usage_lines (account_id, resource_id, usage, operation, zone, quantity, began, ended)"
        " VALUES ('111122223333', 'i-1', 'u', 'o', 'z', 1, 1, 2) RETURNING number"
    )
    with closing(Database(url)) as database:
        last = [database.run_blocking(lambda tx: tx.connection.scalar(add)) for _ in range(3)][-1]
    server_databases.read(url, tmp_path / "file.sqlite", nothing)
    other = server.new_database()
    server_databases.write(tmp_path / "file.sqlite", other, nothing)
    with closing(Database(other)) as database:
        assert database.run_blocking(lambda tx: tx.connection.scalar(add)) == last + 1


def test_what_is_written_meanwhile_is_in_it_whole_or_not_at_all(url, tmp_path):
    """A writer moves the revision and marks all hosts with it in one transaction."""
    database, ending = Database(url), threading.Event()

    def move(tx):
        tx.connection.execute(text("UPDATE hosts SET revision = :to"), {"to": revisions.next_revision(tx)})

    def write():
        while not ending.is_set():
            database.run_blocking(move)

    database.run_blocking(move)
    writer = threading.Thread(target=write)
    writer.start()
    try:
        for number in range(3):
            file = tmp_path / f"{number}.sqlite"
            server_databases.read(url, file, nothing)
            with closing(sqlite3.connect(file)) as opened:
                assert len(opened.execute("SELECT DISTINCT revision FROM hosts").fetchall()) == 1
                assert (
                    opened.execute("SELECT value FROM revisions").fetchall()
                    == opened.execute("SELECT DISTINCT revision FROM hosts").fetchall()
                )
                assert opened.execute("PRAGMA foreign_key_check").fetchall() == []
    finally:
        ending.set()
        writer.join(60)
        database.close()


def test_a_database_of_an_earlier_release_is_brought_to_the_newest_before_it_is_written(server, url, tmp_path):
    file = tmp_path / "file.sqlite"
    server_databases.read(url, file, nothing)
    engine = create_engine(f"sqlite:///{file}")
    migrate.downgrade(engine, "-1")
    engine.dispose()
    assert revision_of(file) != schema.newest()
    other = server.new_database()
    server_databases.write(file, other, nothing)
    assert content_of(other)["hosts"] == content_of(url)["hosts"] != []


def test_what_cannot_be_copied_is_refused_in_words(server, url, tmp_path):
    cases = [
        ("mysql://there", "mysql is no kind of server that Stead knows"),
        (server.new_database(), "has nothing of Stead"),
        (url.replace("/stead_", "/not_there_"), "does not exist"),
    ]
    for number, (wrong, said) in enumerate(cases):
        with pytest.raises(BackupError, match=said):
            server_databases.read(wrong, tmp_path / str(number), nothing)
    engine = create_engine(url)
    migrate.downgrade(engine, "-1")
    engine.dispose()
    with pytest.raises(BackupError, match="start the controller of this release first"):
        server_databases.read(url, tmp_path / "older", nothing)


def test_only_an_empty_database_is_written_to_and_what_a_killed_restore_left_goes(server, url, tmp_path):
    file, before = tmp_path / "file.sqlite", content_of(url)
    server_databases.read(url, file, nothing)
    with pytest.raises(BackupError, match="is not empty"):
        server_databases.write(file, url, nothing)
    assert content_of(url) == before

    other = server.new_database()
    with closing(sqlite3.connect(file)) as opened:
        long = "x" * 300
        opened.execute("UPDATE hosts SET hostname = ?", (long,))
        opened.commit()
    with pytest.raises(BackupError, match=r"The table hosts cannot be copied: value too long"):
        server_databases.write(file, other, nothing)
    engine = create_engine(other)
    assert inspect(engine).get_table_names() == [], "whole or not at all"

    with closing(sqlite3.connect(file)) as opened:
        opened.execute("UPDATE hosts SET hostname = 'short'")
        opened.commit()
    server_databases.write(file, other, nothing)  # and was killed before it finished
    server_databases.write(file, other, nothing)
    server_databases.finish(other)
    with pytest.raises(BackupError, match="is not empty"):
        server_databases.require_empty(other)
    assert "stead_restore" not in inspect(engine).get_table_names()
    engine.dispose()


def test_rows_that_change_on_their_way_are_noticed(server, url, tmp_path, monkeypatch):
    rows_of_file = server_rows.of_file

    def changed(file, table):
        for number, row in enumerate(rows_of_file(file, table)):
            yield row if (table.name, number) != ("hosts", 1) else (row[0], "another", *row[2:])

    monkeypatch.setattr(server_rows, "of_file", changed)
    said = "rows of the table hosts changed on their way: 4, then 4"
    with pytest.raises(BackupError, match=said):
        server_databases.read(url, tmp_path / "file.sqlite", nothing)
    with closing(Database(url)) as database:
        migrate.downgrade(database.engine, "-1")
        with pytest.raises(schema.NotCopiedError, match=said):
            schema.bring_up_to_date(database.engine, copies=tmp_path)


def test_a_cloud_moves_from_a_server_to_another_and_to_a_file(server, own_cloud):
    """Its disk and its database are lost; hosts and guests notice nothing."""
    first, second = server.new_database(), server.new_database()
    cloud = own_cloud(hosts=1, options=(f"--database-url={first}", "--heartbeat-seconds=1"))
    ec2, command = cloud.first_account.ec2, list(cloud.controller.command)
    request = {"ImageId": cloud.add_image(), "InstanceType": "t3.micro", "MinCount": 1, "MaxCount": 1}
    known = ec2.run_instances(**request)["Instances"][0]["InstanceId"]
    ec2.get_waiter("instance_running").wait(InstanceIds=[known], WaiterConfig=FAST)
    folder, state = cloud.folder / "backups", f"--state-dir={cloud.settings.controller_dir}"
    settings = cloud.folder / "settings.json"
    settings.write_text(json.dumps({"database_url": first, "region": "us-east-1"}))
    kept = f"--settings-file={settings}"
    created = ("create", folder, state, kept, "--passphrase-file=-")
    made = run(cloud, *created, f"--database-url={first}")["backup"]
    assert made["database"] == "postgresql"
    assert run(cloud, "verify", folder, "--passphrase-file=-")["faults"] == []

    for target, option in ((second, f"--database-url={second}"), ("", "--database-url=sqlite")):
        cloud.controller.kill()
        shutil.rmtree(cloud.settings.controller_dir)
        settings.unlink()
        assert "name an empty one, or say: sqlite" in refused(
            cloud, "restore", folder, state, kept, "--passphrase-file=-"
        )
        assert "is not empty" in refused(
            cloud, "restore", folder, state, kept, "--passphrase-file=-", f"--database-url={first}"
        )
        assert not cloud.settings.controller_dir.exists()
        assert list(cloud.folder.glob("*.restoring")) == [], "it is refused before anything is copied"
        run(cloud, "restore", folder, state, kept, "--passphrase-file=-", option)
        assert json.loads(settings.read_text()) == {"database_url": target, "region": "us-east-1"}
        assert (cloud.settings.controller_dir / "stead.sqlite").exists() == (target == "")
        cloud.controller.command = [word.replace(first, target) for word in map(str, command)]
        cloud.start_controller()
        [found] = ec2.describe_instances()["Reservations"]
        assert [(one["InstanceId"], one["State"]["Name"]) for one in found["Instances"]] == [(known, "running")]
        wait_for(lambda: cloud.operator.list_hosts()[0].state == "up", "the host is there again", 30)


def refused(cloud, *arguments):
    """Run `stead-controller backup`, which fails; give its reason."""
    return run(cloud, *arguments, status=1)["error"]


@pytest.fixture
def state(tmp_path, url):
    """A state directory whose database is a file, with the rows of that server's database."""
    (tmp_path / "state").mkdir()
    server_databases.read(url, tmp_path / "state" / "stead.sqlite", nothing)
    other_database.forget_controllers(tmp_path / "state" / "stead.sqlite")
    return tmp_path / "state"


def test_a_file_moves_to_a_server_and_back(server, state):
    file, other = state / "stead.sqlite", server.new_database()
    before = content_of(f"sqlite:///{file}")
    with closing(sqlite3.connect(file)) as opened:
        opened.execute("INSERT INTO controllers (id, address, seen) VALUES ('former', '', 1)")
        opened.commit()
    other_database.copy(state, "sqlite", other, nothing)
    assert content_of(other) == before, "without who served before"
    engine = create_engine(other)
    assert "stead_restore" not in inspect(engine).get_table_names()
    engine.dispose()
    kept = state / "stead.sqlite.before-postgresql"
    assert [path.name for path in state.glob("*sqlite*")] == [kept.name], "nobody goes on with it by mistake"
    assert content_of(f"sqlite:///{kept}") | {"controllers": []} == before

    third = server.new_database()
    other_database.copy(state, other, third, nothing)
    other_database.copy(state, third, "sqlite", nothing)
    assert content_of(f"sqlite:///{file}") == content_of(other) == content_of(third) == before
    assert file.stat().st_mode & 0o077 == 0
    assert sorted(path.name for path in state.iterdir()) == ["running", file.name, kept.name]


def test_what_is_not_in_the_file_yet_moves_too(server, state):
    """SQLite keeps what was written last beside its file, as long as somebody reads it."""
    file, other = state / "stead.sqlite", server.new_database()
    with closing(Database(f"sqlite:///{file}")) as database:
        database.run_blocking(lambda tx: tx.connection.execute(text("UPDATE hosts SET hostname = 'last'")))
        shutil.copytree(state, state.with_name("killed"))
    killed = state.with_name("killed")
    assert (killed / "stead.sqlite-wal").stat().st_size > 0
    other_database.copy(killed, "sqlite", other, nothing)
    assert all("'last'" in row for row in content_of(other)["hosts"])


def test_a_database_that_is_used_or_not_empty_or_of_another_release_is_left_alone(server, url, state):
    file, other = state / "stead.sqlite", server.new_database()
    before = content_of(f"sqlite:///{file}")
    holding = (
        f"from stead_proto import alone; from pathlib import Path; alone.take(Path({str(state / alone.FILE_NAME)!r}))"
    )
    command = [sys.executable, "-c", f"{holding}; print(flush=True); input()"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as running:
        running.stdout.readline()
        with pytest.raises(BackupError, match="A controller uses the database"):
            other_database.copy(state, "sqlite", other, nothing)
        running.communicate(b"\n")
    with closing(sqlite3.connect(file, isolation_level=None)) as reader:
        reader.execute("PRAGMA journal_mode=WAL")
        reader.execute("BEGIN")
        reader.execute("SELECT count(*) FROM hosts").fetchone()
        with pytest.raises(BackupError, match=r"Another program uses .*stead\.sqlite"):
            other_database.copy(state, "sqlite", other, nothing)
    for source, target, said in (
        ("sqlite", url, "is not empty"),
        ("sqlite", "sqlite", "is there already"),
        (url, url, "is there already"),
        (url, "sqlite", "stead.sqlite is there already"),
    ):
        with pytest.raises(BackupError, match=said):
            other_database.copy(state, source, target, nothing)
    with contextlib.closing(sqlite3.connect(file)) as opened:
        opened.execute("UPDATE alembic_version SET version_num = 'ffffffffffff'")
        opened.commit()
        with pytest.raises(BackupError, match="of a newer release"):
            other_database.copy(state, "sqlite", other, nothing)
        opened.execute("UPDATE alembic_version SET version_num = ?", (schema.newest(),))
        opened.commit()
    assert content_of(f"sqlite:///{file}") == before
    engine = create_engine(other)
    assert inspect(engine).get_table_names() == []
    engine.dispose()


def test_a_server_that_another_controller_uses_is_left_alone(url, tmp_path):
    """It said that it lives just now, and its state directory is another machine's."""
    engine = create_engine(url)
    seen = "extract(epoch FROM clock_timestamp()) * 1000 - {}"
    add = "INSERT INTO controllers (id, address, seen) VALUES ('other', '', {})"
    for ago, is_refused in ((0, True), (6000, False)):
        with engine.begin() as connection:
            connection.execute(text("DELETE FROM controllers"))
            connection.execute(text(add.format(seen.format(ago))))
        with pytest.raises(BackupError, match="Another controller uses") if is_refused else contextlib.nullcontext():
            other_database.copy(tmp_path, url, "sqlite", nothing)
        assert (tmp_path / "stead.sqlite").exists() is not is_refused
    engine.dispose()


@pytest.fixture
def older(url):
    """A database with rows of an older schema, and its revision."""
    with closing(Database(url)) as database:
        migrate.downgrade(database.engine, "-5")
        yield database, schema.revision_of(database.engine)


def rows_of(url):
    """All rows of a database with any schema, as Python has them."""
    engine, tables, found = create_engine(url), MetaData(), {}
    with engine.connect() as connection:
        tables.reflect(connection, resolve_fks=False)
        for name, table in tables.tables.items():
            rows = connection.execute(table.select()).mappings()
            found[name] = sorted(repr(sorted(row.items())) for row in rows)  # columns may have another order
    engine.dispose()
    return found


def copies_in(folder):
    return sorted(path.name for path in folder.iterdir())


def test_the_copy_is_there_before_the_schema_changes_and_has_all_rows(older, tmp_path, monkeypatch):
    database, revision = older
    (tmp_path / "stead.sqlite.of-997a8f069d6f").write_text("of the upgrade before")
    (tmp_path / "stead.sqlite.before-postgresql").write_text("no copy of an upgrade")
    before = rows_of(database.engine.url)

    def fail(engine, _revision="head", really=migrate.upgrade):
        if engine.dialect.name == "sqlite":  # the copy, which is made of the same migrations
            really(engine, _revision)
        else:
            raise ZeroDivisionError

    with monkeypatch.context() as patch:
        patch.setattr(migrate, "upgrade", fail)
        with pytest.raises(ZeroDivisionError):
            schema.bring_up_to_date(database.engine, copies=tmp_path)
    file = tmp_path / f"stead.sqlite.of-{revision}"
    assert copies_in(tmp_path) == ["stead.sqlite.before-postgresql", file.name]
    assert file.stat().st_mode & 0o777 == 0o600
    assert rows_of(f"sqlite:///{file}") == before
    assert sum(map(len, before.values())) > 50

    # What the former release does meanwhile is in the copy of the next try, also if its tables were made before.
    schema.prepare(database.engine, tmp_path / "nowhere")
    schema.prepare(database.engine, tmp_path)
    assert f"{file.name}.empty" in copies_in(tmp_path)
    with database.engine.begin() as connection:
        connection.execute(text("UPDATE hosts SET hostname = 'since'"))
    before = rows_of(database.engine.url)
    with monkeypatch.context() as patch:
        patch.setattr(server_copy, "_make", None)
        schema.bring_up_to_date(database.engine, copies=tmp_path)
    assert migrate.differences(database.engine) == []
    schema.prepare(database.engine, tmp_path)  # there is nothing to upgrade any more
    assert copies_in(tmp_path) == ["stead.sqlite.before-postgresql", file.name]
    schema.prepare(database.engine, tmp_path, goes_back=True)
    assert f"stead.sqlite.of-{schema.newest()}.empty" in copies_in(tmp_path)
    assert rows_of(f"sqlite:///{file}") == before


def test_the_copy_brings_the_database_back(server, older, tmp_path):
    """As docs/operate/backup-and-upgrade.md says: it becomes the controller's file, which is copied to a server."""
    database, revision = older
    schema.bring_up_to_date(database.engine, copies=tmp_path)
    after, file, other = content_of(database.engine.url), tmp_path / "stead.sqlite", server.new_database()
    (tmp_path / f"stead.sqlite.of-{revision}").rename(file)
    assert revision_of(file) == revision
    other_database.copy(tmp_path, other_database.FILE, other, nothing)
    with closing(Database(other)) as brought:
        assert migrate.differences(brought.engine) == []
    left_out = {"controllers", "leases"}
    found = content_of(other)
    assert {name: rows for name, rows in found.items() if name not in left_out} == {
        name: rows for name, rows in after.items() if name not in left_out
    }


def test_where_it_cannot_be_copied_nothing_is_changed(older, tmp_path, monkeypatch):
    database, revision = older
    kept = tmp_path / "stead.sqlite.of-997a8f069d6f"
    kept.write_text("of the upgrade before")

    def full(_handle):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", full)
        with pytest.raises(
            schema.NotCopiedError, match=r"No space left on device\)\. Mend that, such as by making room in"
        ):
            schema.bring_up_to_date(database.engine, copies=tmp_path)
    with pytest.raises(schema.NotCopiedError, match="no folder is named"):
        schema.bring_up_to_date(database.engine)
    with database.engine.begin() as connection:
        connection.execute(text("ALTER TABLE subnets RENAME TO of_somebody"))
    with pytest.raises(schema.NotCopiedError, match="subnets"):
        schema.bring_up_to_date(database.engine, copies=tmp_path)
    assert schema.revision_of(database.engine) == revision

    def after_another_one(work):
        """Another controller, of a newer release, was faster."""
        with database.engine.begin() as connection:
            connection.execute(text("UPDATE alembic_version SET version_num = 'ffffffffffff'"))
        work()

    with pytest.raises(schema.NewerDatabaseError):
        schema.bring_up_to_date(database.engine, after_another_one, copies=tmp_path)
    assert list(tmp_path.iterdir()) == [kept]


def test_nothing_is_copied_of_a_new_database_or_of_one_that_stays_as_it_is(server, url, tmp_path):
    for each in (server.new_database(), url):
        with closing(Database(each)) as database:
            schema.bring_up_to_date(database.engine, copies=tmp_path)
            assert schema.revision_of(database.engine) == schema.newest()
    assert list(tmp_path.iterdir()) == []


# Of this database alone: others on the server are other tests'.
_ADVISORY_LOCKS = (
    "SELECT FROM pg_locks JOIN pg_database ON pg_database.oid = pg_locks.database"
    " WHERE locktype = 'advisory' AND datname = current_database()"
)


def test_of_several_controllers_the_one_that_migrates_makes_the_copy(older, tmp_path):
    """Both have seen the older schema when they begin."""
    database, revision = older
    folders, seen = [tmp_path / "one", tmp_path / "other"], threading.Barrier(2)

    def begin(work):
        seen.wait(60)
        work()

    def start(folder):
        folder.mkdir()
        with closing(Database(database.engine.url.render_as_string())) as own:
            schema.bring_up_to_date(own.engine, begin, copies=folder)
            assert schema.revision_of(own.engine) == schema.newest()
            seen.wait(60)  # a connection that is kept must not have the lock
            with own.engine.connect() as connection:
                assert connection.execute(text(_ADVISORY_LOCKS)).all() == []

    with ThreadPoolExecutor(2) as pool:
        list(pool.map(start, folders))
    assert [path.name for folder in folders for path in folder.iterdir()] == [f"stead.sqlite.of-{revision}"]
