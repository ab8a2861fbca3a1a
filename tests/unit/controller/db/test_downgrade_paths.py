"""Each migration since the oldest release that is supported has a way back, with a row in each table that there is."""

import sqlite3
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import event, text

from stead_controller.db import migrate, schema
from stead_controller.db.session import Database
from tests.house.checkout import ROOT
from tests.support.examples import examples
from tests.unit.controller.db.conftest import revisions
from tests.unit.controller.db.rows import Rows, fill, rows_of

_RELEASES = sorted((ROOT / "tests" / "api" / "releases").glob("*/cloud.sql"))


LINE = revisions()
_OLDEST = "9b4c61d7e0f2"  # of the release of 2026-11-25
STEPS = list(zip(LINE[LINE.index(_OLDEST) :], LINE[LINE.index(_OLDEST) + 1 :], strict=False))
TRIED = STEPS[-examples(16) :]  # nobody changes those before; all are gone there and back by the cloud of a release


@pytest.fixture
def database(tmp_path):
    database = Database(f"sqlite:///{tmp_path / 'stead.sqlite'}")
    # Nothing here outlives a crash, so no disk is awaited.
    event.listen(database.engine, "connect", lambda driver, _: driver.execute("PRAGMA synchronous=OFF"))
    yield database
    database.close()


@pytest.fixture
def at(database, file_at):
    """Bring the database, which nobody has opened yet, to a revision."""
    return lambda revision: Path(database.engine.url.database).write_bytes(file_at(revision))


def contents(database: Database) -> tuple[Rows, Any]:
    """All rows, and the tables and indexes as the database has them noted."""
    with database.engine.connect() as connection:
        noted = connection.execute(text("SELECT type, name FROM sqlite_master ORDER BY 1, 2")).all()
        return rows_of(connection), noted


def add_rows(database: Database, number: int) -> None:
    with database.engine.begin() as connection:
        no_room = dict.fromkeys(("vcpus", "memory", "disk"), 0)  # the way back no longer counts what there is
        # The way there again makes meters of those that are in use.
        unbilled = {"public_addresses": {"released": 1}, "snapshots": {"completed": None}}
        others = {"image_tasks": {"bucket": "exchange"}, "unclaimed_resources": no_room}  # of which there are none
        fill(connection, number, **unbilled, **others)


def narrowed(rows: Rows, to: Rows) -> Rows:
    """Only those tables and columns that others have, too."""
    names = {table: set(found[0]) for table, found in to.items() if found}
    return {
        table: [{name: value for name, value in row.items() if name in names[table]} for row in found]
        for table, found in rows.items()
        if table in names and table != "alembic_version"
    }


@pytest.mark.parametrize(("before", "after"), TRIED, ids=[f"{step[1]}" for step in TRIED])
def test_there_and_back_and_there_again(database, at, before, after):
    at(before)
    add_rows(database, 11)
    first = contents(database)
    migrate.upgrade(database.engine, after)
    second = contents(database)
    migrate.downgrade(database.engine, before)
    assert contents(database) == first
    migrate.upgrade(database.engine, after)
    assert contents(database) == second
    add_rows(database, 12)
    filled = contents(database)[0]
    migrate.downgrade(database.engine, before)
    migrate.upgrade(database.engine, after)
    assert narrowed(contents(database)[0], first[0]) == narrowed(filled, first[0])


@pytest.mark.story
@pytest.mark.parametrize("release", _RELEASES, ids=lambda path: path.parent.name)
def test_the_cloud_of_a_release_goes_up_and_comes_back_as_it_was(database, release):
    connection = sqlite3.connect(database.engine.url.database)
    connection.executescript(release.read_text())
    connection.close()
    present = schema.revision_of(database.engine)
    before = contents(database)[0]
    schema.bring_up_to_date(database.engine)
    newest = contents(database)[0]
    migrate.downgrade(database.engine, present)
    assert contents(database)[0] == before
    migrate.upgrade(database.engine)
    assert contents(database)[0] == newest
    assert migrate.differences(database.engine) == []


def test_every_revision_has_a_way_back(database, at):
    """From the newest to nothing, with no rows."""
    at(LINE[-1])
    migrate.downgrade(database.engine, "base")
    assert list(contents(database)[0]) == ["alembic_version"]


@pytest.mark.parametrize(
    ("revision", "row", "reason"),
    [
        ("9b4c61d7e0f2", ("image_tasks", {"encrypted": True}), "would go on unencrypted"),
        ("c7d10e5b2f64", ("snapshots", {"kms_key_id": "key"}), "cannot read"),
        ("c7d10e5b2f64", ("volumes", {"kms_key_id": "key"}), "cannot read"),
        ("b7e40c1d93a2", ("vpc_endpoints", {"endpoint_type": "Interface"}), "interface endpoints"),
        ("d7a6e1b3840c", ("image_tasks", {"bucket": "mine", "location": "x"}), "other files"),
        ("6b20f4d8e1a7", ("subnets", {"cidr_block": None}), "subnets without IPv4"),
    ],
)
def test_where_there_is_no_way_back_it_says_why_and_changes_nothing(database, at, revision, row, reason):
    at(revision)
    none_encrypted = {"volumes": {"kms_key_id": None}, "snapshots": {"kms_key_id": None}}
    with database.engine.begin() as connection:
        fill(connection, 11, **none_encrypted | {row[0]: row[1]})
    before = contents(database)
    with pytest.raises(ValueError, match=reason):
        migrate.downgrade(database.engine, LINE[LINE.index(revision) - 1])
    assert contents(database) == before


def test_room_of_instance_store_is_counted_for_what_runs_and_kvm_is_known(database, at):
    """Also back: the release before neither counts it nor knows room below zero."""
    before = LINE[LINE.index("3f9d72b6c1e8") - 1]
    at(before)
    pool = {"is_default": True, "provisioned": 7}
    kinds = {11: ("kvm", True, True), 12: ("kvm", False, True), 13: ("qemu", True, False)}
    for number, (kind, held, default) in kinds.items():
        with database.engine.begin() as connection:
            fill(
                connection,
                number,
                hosts={"virtualization": kind},
                instances={"capacity_held": held, "host_id": f"{number}id"},
                storage_pools=pool | {"is_default": default},
                instance_store_disks={"size": 5},
            )

    def shown(query):
        with database.engine.connect() as connection:
            return connection.execute(text(query)).scalars().all()

    counted = "SELECT provisioned FROM storage_pools ORDER BY host_id"
    migrate.upgrade(database.engine, "3f9d72b6c1e8")
    assert shown(counted) == [12, 7, 7]
    assert shown("SELECT accelerated FROM hosts ORDER BY id") == [1, 1, 0]
    with database.engine.begin() as connection:
        connection.execute(text("UPDATE hosts SET cpus_free = -1, memory_free = -2"))
    migrate.downgrade(database.engine, before)
    assert shown(counted) == [7, 7, 7]
    assert set(shown("SELECT cpus_free FROM hosts") + shown("SELECT memory_free FROM hosts")) == {0}


def test_the_release_before_does_not_count_unclaimed_resources(database, at):
    """It would never free that; after the next way up each host says anew what it has."""
    at("5d9c1e7fa204")
    room = {"cpus_free": 1, "cpus_reserved": 5, "memory_free": 2, "memory_reserved": 7}
    for number, (pool, default) in {11: ("", True), 12: ("", False), 13: ("13name", False)}.items():
        with database.engine.begin() as connection:
            fill(
                connection,
                number,
                hosts=room,
                storage_pools={"is_default": default, "provisioned": 9},
                unclaimed_resources={"vcpus": 3, "memory": 4, "disk": 5, "pool": pool},
            )
    migrate.downgrade(database.engine, LINE[LINE.index("5d9c1e7fa204") - 1])
    with database.engine.connect() as connection:
        hosts = "SELECT cpus_free, cpus_reserved, memory_free, memory_reserved FROM hosts"
        assert set(connection.execute(text(hosts)).all()) == {(4, 2, 6, 3)}
        pools = "SELECT provisioned FROM storage_pools ORDER BY host_id"
        assert connection.execute(text(pools)).scalars().all() == [4, 9, 4]
