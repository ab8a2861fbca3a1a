"""Changes of loaded rows are written as the session's own flush writes them, whatever they are."""

from datetime import UTC, datetime

import pytest
from sqlalchemy import delete, literal, select
from sqlalchemy.orm.exc import StaleDataError

from stead_controller.db import load
from stead_controller.db.flush import flush
from stead_controller.db.session import Database
from stead_controller.db.tables import Base, Host, HostError
from tests.support import rows

AT = datetime(2026, 1, 2, 3, 4, 5, 678_000, tzinfo=UTC)
LATER = datetime(2026, 1, 2, 3, 4, 6, 789_000, tzinfo=UTC)


@pytest.fixture
def database(tmp_path, empty_database_file):
    path = tmp_path / "stead.sqlite"
    path.write_bytes(empty_database_file)
    database = Database(f"sqlite:///{path}")
    errors = [
        HostError(host_id=host_id, kind=kind, resource_id="v", since=AT, error="a")
        for host_id in ("h-0", "h-1")
        for kind in (1, 2)
    ]
    hosts = [rows.host(id=f"h-{number}", cpus=4, cpus_reserved=1, labels={"rack": "a"}) for number in range(2)]
    database.run_blocking(lambda tx: tx.session.add_all(hosts))
    database.run_blocking(lambda tx: tx.session.add_all(errors))
    yield database
    database.close()


@pytest.fixture
def flushes(monkeypatch):
    """How often a session flushed itself."""
    from sqlalchemy.orm import Session

    seen = []
    own = Session.flush
    monkeypatch.setattr(Session, "flush", lambda self, *args: (seen.append(self), own(self, *args)))
    return seen


def errors_of(database):
    query = select(HostError.host_id, HostError.kind, HostError.error, HostError.since).order_by(
        HostError.host_id, HostError.kind
    )
    return [tuple(row) for row in database.run_blocking(lambda tx: tx.connection.execute(query).all())]


def test_only_what_changed_is_written_and_once(database, flushes):
    statements, written = [], []

    def change(tx):
        tx.connection.connection.driver_connection.set_trace_callback(written.append)
        first, second = (tx.session.get_one(HostError, ("h-0", kind, "v")) for kind in (1, 2))
        first.error, first.since = "b", LATER
        second.error = "b"
        second.error = "a"  # as it was
        flush(tx.session)
        assert not tx.session.dirty
        first.error = "c"
        assert first in tx.session.dirty
        statements.append(len(tx.session.dirty))

    database.run_blocking(change)
    assert statements == [1]
    assert len([one for one in written if one.startswith("UPDATE")]) == 2
    assert not flushes
    assert errors_of(database) == [
        ("h-0", 1, "c", LATER),
        ("h-0", 2, "a", AT),
        ("h-1", 1, "a", AT),
        ("h-1", 2, "a", AT),
    ]


def test_new_and_deleted_rows_are_written_with_the_changed_ones(database, flushes):
    def change(tx):
        tx.session.get_one(HostError, ("h-0", 1, "v")).error = "b"
        tx.session.delete(tx.session.get_one(HostError, ("h-0", 2, "v")))
        flush(tx.session)
        tx.session.get_one(HostError, ("h-1", 1, "v")).error = "b"
        tx.session.add(HostError(host_id="h-1", kind=3, resource_id="v", since=AT, error="n"))

    database.run_blocking(change)
    assert len(flushes) == 2
    assert [row[:3] for row in errors_of(database)] == [
        ("h-0", 1, "b"),
        ("h-1", 1, "b"),
        ("h-1", 2, "a"),
        ("h-1", 3, "n"),
    ]


def test_columns_that_the_database_derives_are_read_again(database, flushes):
    def change(tx):
        host = tx.session.get_one(Host, "h-0")
        free = host.cpus_free
        host.cpus_reserved = 2
        flush(tx.session)
        return host.cpus_free - free

    assert database.run_blocking(change) == -1
    assert flushes


def test_a_row_that_was_set_to_what_it_is_costs_no_flush(database, flushes):
    """As reports do with their host, whose table has columns that the database derives."""

    def change(tx):
        tx.session.get_one(Host, "h-0").cpus_reserved = 2
        tx.session.get_one(Host, "h-0").cpus_reserved = 1
        flush(tx.session)
        assert not tx.session.dirty

    database.run_blocking(change)
    assert not flushes


@pytest.mark.parametrize(
    ("name", "value", "after"),
    [
        ("resource_id", "w", ("w", "a")),
        ("error", HostError.resource_id + "!", ("v", "v!")),
        ("error", HostError.resource_id, ("v", "v")),
        ("error", select(literal("s")).scalar_subquery(), ("v", "s")),
    ],
    ids=["key", "operation", "column", "query"],
)
def test_keys_and_expressions_are_written_by_the_session(database, flushes, name, value, after):
    def change(tx):
        setattr(tx.session.get_one(HostError, ("h-1", 2, "v")), name, value)

    database.run_blocking(change)
    assert flushes
    query = select(HostError.resource_id, HostError.error).where(HostError.host_id == "h-1", HostError.kind == 2)
    found = database.run_blocking(lambda tx: tuple(tx.connection.execute(query).one()))
    assert found == after


def test_a_row_that_is_gone_is_not_written_in_silence(database):
    def change(tx):
        error = tx.session.get_one(HostError, ("h-0", 1, "v"))
        tx.connection.execute(delete(HostError))
        error.error = "b"

    with pytest.raises(StaleDataError):
        database.run_blocking(change)
    assert len(errors_of(database)) == 4


def test_an_attribute_without_a_value_is_written_by_the_session(database):
    def change(tx):
        error = tx.session.get_one(HostError, ("h-0", 1, "v"))
        tx.session.expire(error)
        error.error = "b"

    database.run_blocking(change)
    assert errors_of(database)[0] == ("h-0", 1, "b", AT)


def test_what_was_loaded_by_a_statement_is_written_too(database, flushes):
    def change(tx):
        load.get(tx.session, Host, "h-1").labels = {"rack": "b"}

    database.run_blocking(change)
    assert database.run_blocking(lambda tx: tx.session.get_one(Host, "h-1").labels) == {"rack": "b"}


def test_no_column_is_set_by_the_session_alone():
    """A default of an update, or a version: these statements would not set it."""
    for mapper in Base.registry.mappers:
        assert mapper.version_id_col is None
        assert [column for column in mapper.local_table.columns if column.onupdate is not None] == []
