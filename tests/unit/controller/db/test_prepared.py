"""A prepared statement does what SQLAlchemy does with the same, and is seen by whoever listens to the engine."""

import sqlite3
from contextlib import closing
from datetime import UTC, datetime

import pytest
from sqlalchemy import bindparam, delete, event, insert, select, update
from sqlalchemy.dialects import postgresql
from sqlalchemy.exc import IntegrityError, OperationalError

from stead_controller.catalog import ids
from stead_controller.db.failures import asks_for_retry
from stead_controller.db.insert import insert_new, new_row
from stead_controller.db.prepared import Prepared, _arguments, _compile
from stead_controller.db.session import Database
from stead_controller.db.tables import Host, Instance, PublicAddress, Reservation, Tag
from tests.support import rows

AT = datetime(2026, 1, 2, 3, 4, 5, 678_000, tzinfo=UTC)
HOSTS = select(Host.id, Host.cpus, Host.schedulable, Host.created).order_by(Host.id)


@pytest.fixture
def database(tmp_path, empty_database_file):
    path = tmp_path / "stead.sqlite"
    path.write_bytes(empty_database_file)
    database = Database(f"sqlite:///{path}")
    hosts = [rows.host(id=f"h-{number}", cpus=number, schedulable=number % 2 == 0, created=AT) for number in range(5)]
    database.run_blocking(lambda tx: tx.session.add_all(hosts))
    yield database
    database.close()


@pytest.mark.parametrize(
    ("statement", "params"),
    [
        (HOSTS, {}),
        (HOSTS.where(Host.cpus >= bindparam("least")), {"least": 3}),
        (HOSTS.where(Host.created <= bindparam("at"), Host.state == "up"), {"at": AT}),
        (HOSTS.where(Host.created < bindparam("at")), {"at": AT}),
        (HOSTS.where(Host.id.in_(bindparam("ids", expanding=True))), {"ids": ["h-1", "h-4", "h-9"]}),
        (HOSTS.where(Host.id.in_(bindparam("ids", expanding=True))), {"ids": []}),
        (HOSTS.where(Host.id.not_in(bindparam("ids", expanding=True))), {"ids": []}),
        (HOSTS.where(Host.id.not_in(bindparam("ids", expanding=True))), {"ids": ("h-1",)}),
        (HOSTS.where(Host.created.in_([AT]), Host.cpus.in_(bindparam("cpus", expanding=True))), {"cpus": [1, 2]}),
        (HOSTS.where(Host.cpus > bindparam("n"), Host.cpus != bindparam("n") + 1).limit(2), {"n": 1}),
    ],
)
def test_rows_are_those_of_sqlalchemy(database, statement, params):
    prepared = Prepared(statement)

    def ask(tx):
        expected = [tuple(row) for row in tx.connection.execute(statement, params)]
        for _ in range(2):
            assert prepared.all(tx.connection, params) == expected
            assert prepared.scalars(tx.connection, params) == [row[0] for row in expected]
            assert prepared.first(tx.connection, params) == (expected[0] if expected else None)
            assert prepared.scalar(tx.connection, params) == (expected[0][0] if expected else None)
            named = prepared.named(tx.connection, params)
            assert [(row.id, row.cpus, row.schedulable, row.created) for row in named] == expected

    database.run_blocking(ask)


def test_changes_are_those_of_sqlalchemy(database):
    put = Prepared(insert(Tag))
    change = Prepared(
        update(Host)
        .where(Host.id == bindparam("host_id"), Host.cpus >= 1)
        .values(cpus=Host.cpus - 1)
        .returning(Host.cpus)
    )
    remove = Prepared(delete(Host).where(Host.id == bindparam("host_id")))

    def run(tx):
        tag = {"resource_id": "i-1", "key": "k", "value": "v", "account_id": "1", "resource_type": "instance"}
        assert put.all(tx.connection, tag) == []
        put.many(tx.connection, [tag | {"key": key} for key in ("l", "m")])
        put.many(tx.connection, [])
        assert change.all(tx.connection, {"host_id": "h-1"}) == [(0,)]
        assert change.first(tx.connection, {"host_id": "h-1"}) is None
        remove.all(tx.connection, {"host_id": "h-2"})

    database.run_blocking(run)

    def look(tx):
        assert tx.session.execute(select(Tag.key, Tag.value)).all() == [("k", "v"), ("l", "v"), ("m", "v")]
        assert tx.session.get_one(Host, "h-1").cpus == 0
        assert tx.session.get(Host, "h-2") is None

    database.run_blocking(look)


def test_an_insert_has_the_columns_that_it_is_given_each_time(database):
    put = Prepared(insert(PublicAddress))

    def run(tx):
        put.all(tx.connection, {"address": "192.0.2.1", "account_id": "1"})
        put.all(tx.connection, {"address": "192.0.2.2", "account_id": "1", "released": AT})
        query = select(PublicAddress.address, PublicAddress.released).order_by(PublicAddress.address)
        assert tx.connection.execute(query).all() == [("192.0.2.1", None), ("192.0.2.2", AT)]

    database.run_blocking(run)


def test_an_error_is_sqlalchemys_and_undoes_the_transaction(database):
    put = Prepared(insert(Reservation))

    def run(tx):
        put.all(tx.connection, {"id": "r-1", "account_id": "1", "created": AT})
        put.all(tx.connection, {"id": "r-1", "account_id": "1", "created": AT})

    with pytest.raises(IntegrityError):
        database.run_blocking(run)
    assert database.run_blocking(lambda tx: tx.session.get(Reservation, "r-1")) is None


def test_listeners_see_what_is_executed(database):
    seen = []

    def note(_connection, _cursor, statement, parameters, *_):
        seen.append((statement, list(parameters)))

    statement = Prepared(select(Host.id).where(Host.id.in_(bindparam("ids", expanding=True))))
    event.listen(database.engine, "before_cursor_execute", note)
    database.run_blocking(lambda tx: statement.all(tx.connection, {"ids": ["h-1", "h-2"]}))
    event.remove(database.engine, "before_cursor_execute", note)
    found = [each for each in seen if each[0].startswith("SELECT hosts.id")]
    assert [parameters for _, parameters in found] == [["h-1", "h-2"]]


def test_postgresql_gets_numbered_places_and_lists_as_arrays():
    dialect = postgresql.dialect(paramstyle="pyformat")
    several, n = bindparam("ids", expanding=True), bindparam("n")
    statement = select(Host.id).where(Host.id.in_(several), Host.zone.not_in(several), Host.cpus > n, Host.cpus % 7 < n)
    compiled = _compile(statement, dialect, None)
    sql, arguments = _arguments(compiled, {"ids": ("a", "b"), "n": 3})
    where = " ".join(sql.split("WHERE ")[1].split())
    assert where == (
        "hosts.id = ANY ($1) AND (hosts.zone <> ALL ($1)) "
        "AND hosts.cpus > $2::INTEGER AND hosts.cpus % $3::INTEGER < $2::INTEGER"
    )
    assert arguments == (["a", "b"], 3, 7)


def test_a_new_row_is_as_a_flush_would_write_it(database):
    def build(**changes):
        return Instance(
            account_id="111111111111", reservation_id="r-1", image_id="ami-1", instance_type="t3.nano", vcpus=2, memory=1,
            architecture="x86_64", boot_mode="legacy-bios", state="pending", state_changed=AT, host_id="h-1", zone="z",
            vpc_id="vpc-1", subnet_id="subnet-1", private_address="10.0.0.4", launch_time=AT, launch_index=0,
            root_device_name="/dev/sda1", monitoring=True, **changes,
        )  # fmt: skip

    one, other = ids.new_id("instance"), ids.new_id("instance")

    def add(tx):
        tx.session.add(build(id=one))
        tx.session.flush()
        made = build(id=other)
        insert_new(tx.session, made)
        assert tx.session.get(Instance, other) is made
        assert not tx.session.is_modified(made)
        made.state = "running"  # is written by the end of the transaction, like any other change

    database.run_blocking(add)

    def look(tx):
        columns = [column for column in Instance.__table__.columns if column.key not in ("id", "state")]
        flushed = tx.session.execute(select(*columns).where(Instance.id == one)).one()
        assert tx.session.execute(select(*columns).where(Instance.id == other)).one() == flushed
        assert tx.session.get_one(Instance, other).state == "running"
        assert tx.session.get_one(Instance, other).recoveries == []

    database.run_blocking(look)


def test_a_transaction_that_cannot_begin_is_tried_again(tmp_path, empty_database_file):
    path = tmp_path / "stead.sqlite"
    path.write_bytes(empty_database_file)
    database = Database(f"sqlite:///{path}")
    # Each try has a new connection, and each would wait for ten seconds.
    event.listen(database._opener, "connect", lambda connection, _: connection.execute("PRAGMA busy_timeout=1"))
    with closing(sqlite3.connect(path, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(OperationalError) as caught:
            database.run_blocking(lambda _: None)
        assert asks_for_retry(caught.value)
        other.execute("ROLLBACK")
    assert database.run_blocking(lambda _: "done") == "done"
    database.close()


def test_a_new_row_is_as_its_constructor_makes_it(database):
    made = new_row(Reservation, id="r-1", account_id="1" * 12)
    made.created = AT
    with pytest.raises(TypeError, match="Reservation has no colour"):
        new_row(Reservation, id="r-2", colour="red")
    assert made.__dict__.keys() == Reservation(id="r-1", account_id="1" * 12, created=AT).__dict__.keys()
    database.run_blocking(lambda tx: insert_new(tx.session, made))
    second = new_row(Reservation, id="r-2", account_id="1" * 12, created=AT)
    database.run_blocking(lambda tx: tx.session.add(second))
    found = database.run_blocking(lambda tx: tx.connection.execute(select(Reservation.id, Reservation.created)).all())
    assert sorted(map(tuple, found)) == [("r-1", AT), ("r-2", AT)]
