"""What is loaded by prepared statements is what the session itself would have loaded, once and for its changes."""

from datetime import UTC, datetime

import pytest
from sqlalchemy import bindparam, func, select

from stead_controller.db import load
from stead_controller.db.load import Load, columns_of
from stead_controller.db.session import Database
from stead_controller.db.tables import Host, HostError, Instance
from tests.support import rows

AT = datetime(2026, 1, 2, 3, 4, 5, 678_000, tzinfo=UTC)
UP = Load(Host, select(*columns_of(Host)).where(Host.state == bindparam("state")).order_by(Host.id))


@pytest.fixture
def database(tmp_path, empty_database_file):
    path = tmp_path / "stead.sqlite"
    path.write_bytes(empty_database_file)
    database = Database(f"sqlite:///{path}")
    hosts = [rows.host(id=f"h-{number}", cpus=number, created=AT, labels={"rack": "a"}) for number in range(3)]
    database.run_blocking(lambda tx: tx.session.add_all(hosts))
    yield database
    database.close()


def test_objects_are_those_of_the_session(database):
    def values(host):
        return {column.key: getattr(host, column.key) for column in columns_of(Host)}

    expected = database.run_blocking(
        lambda tx: [values(host) for host in tx.session.scalars(select(Host).order_by(Host.id))]
    )
    loaded = database.run_blocking(lambda tx: [values(host) for host in UP.all(tx.session, {"state": "up"})])
    assert loaded == expected
    assert loaded[1]["created"] == AT
    assert loaded[1]["labels"] == {"rack": "a"}


def test_changes_of_loaded_objects_are_written(database):
    def change(tx):
        host = load.get(tx.session, Host, "h-1")
        assert host not in tx.session.dirty
        host.cpus = 77

    database.run_blocking(change)
    query = select(Host.id, Host.cpus).order_by(Host.id)
    assert database.run_blocking(lambda tx: tx.connection.execute(query).all()) == [("h-0", 0), ("h-1", 77), ("h-2", 2)]


def test_an_object_that_the_session_has_keeps_its_changes(database):
    def look(tx):
        host = tx.session.get_one(Host, "h-1")
        host.cpus = 77
        assert load.get(tx.session, Host, "h-1") is host
        assert UP.all(tx.session, {"state": "up"})[1] is host
        assert UP.first(tx.session, {"state": "up"}) is tx.session.get(Host, "h-0")
        assert host.cpus == 77
        mine = UP.first(tx.session, {"state": "up"})
        assert tx.session.scalars(select(Host).where(Host.id == "h-0")).one() is mine

    database.run_blocking(look)


def test_an_object_that_the_session_has_expired_is_read_again(database):
    def look(tx):
        for read in (lambda: load.get(tx.session, Host, "h-1"), lambda: UP.all(tx.session, {"state": "up"})[1]):
            host = read()
            tx.session.expire(host)
            assert read() is host
            assert host.__dict__["cpus"] == 1

    database.run_blocking(look)


def test_what_is_not_there_is_none(database):
    assert database.run_blocking(lambda tx: load.get(tx.session, Instance, "i-1")) is None
    assert database.run_blocking(lambda tx: UP.first(tx.session, {"state": "down"})) is None
    assert database.run_blocking(lambda tx: UP.all(tx.session, {"state": "down"})) == []


def test_rows_of_several_keys_are_several_objects(database):
    errors = [HostError(host_id="h-1", kind=kind, resource_id="v", since=AT, error=str(kind)) for kind in (1, 2)]
    database.run_blocking(lambda tx: tx.session.add_all(errors))
    every = Load(HostError, select(*columns_of(HostError)).order_by(HostError.kind))

    def look(tx):
        found = every.all(tx.session, {})
        assert [each.error for each in found] == ["1", "2"]
        assert tx.session.get(HostError, ("h-1", 1, "v")) is found[0]

    database.run_blocking(look)


def test_further_columns_come_beside_the_object(database):
    query = Load(Host, select(*columns_of(Host), Host.cpus + 1, func.lower("X")).order_by(Host.id))
    found = database.run_blocking(lambda tx: [(host.id, more) for host, more in query.with_more(tx.session, {})])
    assert found == [("h-0", (1, "x")), ("h-1", (2, "x")), ("h-2", (3, "x"))]
