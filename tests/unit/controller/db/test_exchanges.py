"""Statements for PostgreSQL go together, in order, and what one of them violates is raised."""

import asyncio
import contextlib
import os
import socket
import threading
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime

import psycopg
import pytest
from sqlalchemy import bindparam, insert, make_url, select, text
from sqlalchemy.exc import DBAPIError, IntegrityError

from stead_controller.db import connections, exchanges, schema
from stead_controller.db.insert import insert_if_absent, insert_new
from stead_controller.db.membership import Membership
from stead_controller.db.prepared import Prepared, ask
from stead_controller.db.session import Database
from stead_controller.db.tables import Reservation
from tests.support.postgresql import PROGRAMS, PostgresqlServer

pytestmark = [
    pytest.mark.story,
    pytest.mark.skipif(not PROGRAMS, reason="needs a PostgreSQL server: ./stead test --postgresql installs it"),
    pytest.mark.skipif(os.geteuid() != 0, reason="needs root, to run the server as its own user"),
]
AT = datetime(2026, 11, 30, tzinfo=UTC)
ADD = Prepared(insert(Reservation))
IDS = Prepared(select(Reservation.id).where(Reservation.id.like(bindparam("like"))).order_by(Reservation.id))


@pytest.fixture(scope="module")
def url():
    """An empty database with all tables."""
    server = PostgresqlServer()
    try:
        server.start()
        made = Database(server.new_database())
        schema.bring_up_to_date(made.engine)
        made.close()
        yield made.engine.url.render_as_string(hide_password=False)
    finally:
        server.stop()


@pytest.fixture
def database(url):
    made = Database(url)
    yield made
    made.run_blocking(lambda tx: tx.connection.execute(text("DELETE FROM reservations")))
    made.close()


@pytest.fixture
def sent(monkeypatch):
    """How each exchange's statements begin."""
    found = []
    execute = exchanges.execute

    def noted(connection, statements, answers=1):
        found.append([sql.split()[0] for sql, _ in statements])
        return execute(connection, statements, answers)

    monkeypatch.setattr(exchanges, "execute", noted)
    return found


def add(tx, *ids):
    ADD.many(tx.connection, [{"id": each, "account_id": "1" * 12, "created": AT} for each in ids])


def ids(tx, like="%"):
    return IDS.scalars(tx.connection, {"like": like})


def test_what_returns_nothing_goes_with_the_next_that_does(database, sent):
    def write(tx):
        add(tx, "r-1")
        add(tx, "r-2", "r-3")
        found = ids(tx)
        add(tx, "r-4")
        tx.events.add("i-1")
        return found

    assert database.run_blocking(write) == ["r-1", "r-2", "r-3"]
    assert sent == [["SET", "LOCK", "INSERT", "INSERT", "INSERT", "SELECT"], ["INSERT", "SELECT"]], "the last notifies"
    assert database.run_blocking(ids, writes=False) == ["r-1", "r-2", "r-3", "r-4"]


def test_what_sqlalchemy_executes_comes_after_what_waits(database):
    def write(tx):
        add(tx, "r-1")
        return tx.session.scalars(select(Reservation.id)).all()

    assert database.run_blocking(write) == ["r-1"]


def test_a_transaction_that_fails_leaves_nothing(database):
    def fail(tx):
        add(tx, "r-1")
        ids(tx)
        add(tx, "r-2")
        raise RuntimeError("undone")

    with pytest.raises(RuntimeError, match="undone"):
        database.run_blocking(fail)
    database.run_blocking(lambda tx: add(tx, "r-3"), dry_run=True)
    assert database.run_blocking(ids) == []


@pytest.mark.parametrize("then", [ids, lambda tx: None, lambda tx: tx.session.scalar(select(Reservation.id))])
def test_what_is_violated_is_raised_with_the_next_exchange(database, then):
    database.run_blocking(lambda tx: add(tx, "r-1"))

    def write(tx):
        add(tx, "r-2")
        add(tx, "r-1")
        add(tx, "r-3")
        then(tx)

    with pytest.raises(IntegrityError, match="pk_reservations"):
        database.run_blocking(write)
    assert database.run_blocking(ids) == ["r-1"]


def test_what_is_violated_in_a_savepoint_is_undone_with_it(database):
    database.run_blocking(lambda tx: add(tx, "r-1"))

    def violate(tx):
        with tx.savepoint():
            add(tx, "r-3")
            insert_new(tx.session, Reservation(id="r-1", account_id="1" * 12, created=AT))

    def fail(tx):
        with tx.savepoint():
            add(tx, "r-4")
            raise RuntimeError

    def write(tx):
        add(tx, "r-2")
        with pytest.raises(IntegrityError):
            violate(tx)
        with pytest.raises(RuntimeError):
            fail(tx)
        add(tx, "r-5")

    database.run_blocking(write)
    assert database.run_blocking(ids) == ["r-1", "r-2", "r-5"]


def test_statements_that_a_failed_exchange_was_to_prepare_are_prepared_again(database):
    later = Prepared(select(Reservation.account_id).where(Reservation.id == bindparam("id")))

    def write(tx):
        exchanges.held(tx.connection).waiting.append(("SELECT 1 / 0", ()))
        later.all(tx.connection, {"id": "r-1"})

    with pytest.raises(DBAPIError, match="division by zero"):
        database.run_blocking(write)
    assert database.run_blocking(lambda tx: later.all(tx.connection, {"id": "r-1"})) == []


def prepared(tx):
    return tx.connection.scalar(text("SELECT count(*) FROM pg_prepared_statements WHERE name LIKE 'stead_%'"))


def test_of_many_statements_the_last_used_stay_prepared_over_the_end_of_a_transaction(database, monkeypatch):
    monkeypatch.setattr(exchanges, "_STATEMENTS", 3)
    statements = [
        Prepared(select(Reservation.id.label(f"id_{n}")).where(Reservation.id == bindparam("id"))) for n in range(5)
    ]

    def read(tx):
        for each in (*statements, statements[0], *statements):
            assert each.all(tx.connection, {"id": "r-1"}) == []
        return prepared(tx)

    assert database.run_blocking(read, writes=False) == 3
    assert database.run_blocking(prepared, writes=False) == 3, "also when it is rolled back, as all that only read are"


def test_values_of_all_kinds_come_back_and_many_at_once(database):
    many = [f"r-{number:05}" + "x" * 30 for number in range(6000)]

    def write(tx):
        add(tx, *many)
        assert insert_if_absent(tx.session, Reservation, {"id": "r-%", "account_id": "%s $1", "created": AT})
        assert not insert_if_absent(tx.session, Reservation, {"id": "r-%", "account_id": "", "created": AT})

    database.run_blocking(write)
    several = Prepared(
        select(Reservation.id, Reservation.account_id, Reservation.created).where(
            Reservation.id.in_(bindparam("ids", expanding=True)),
            Reservation.id.not_in(bindparam("not", expanding=True)),
        )
    )

    def read(tx):
        assert several.all(tx.connection, {"ids": [], "not": []}) == []
        assert len(several.all(tx.connection, {"ids": many, "not": many[:10]})) == 5990
        return several.all(tx.connection, {"ids": {"r-%", many[0]}, "not": (many[0],)})

    assert database.run_blocking(read, writes=False) == [("r-%", "%s $1", AT)]


def test_questions_asked_together_are_answered_once_each_until_something_is_written(database, sent):
    three, none, other = ((IDS, {"like": f"{begin}-%"}) for begin in "rxy")

    def read(tx):
        add(tx, "r-1")
        ask(tx.connection, three)
        ask(tx.connection, three, none, other)  # as in a function that is called within another
        assert (ids(tx, "r-%"), ids(tx, "x-%"), ids(tx, "y-%")) == (["r-1"], [], [])
        assert sent.pop() == ["SELECT", "SELECT"]
        assert sent.pop() == ["SET", "LOCK", "INSERT", "SELECT"]
        assert sent == [], "all answers were here"
        assert ids(tx, "r-%") == ["r-1"]
        assert sent.pop() == ["SELECT"], "each is used once"

    database.run_blocking(read, dry_run=True)

    for write in (
        lambda tx: add(tx, "r-2"),
        lambda tx: tx.connection.execute(insert(Reservation).values(id="r-2", account_id="1" * 12, created=AT)),
        lambda tx: insert_if_absent(tx.session, Reservation, {"id": "r-2", "account_id": "1" * 12, "created": AT}),
    ):

        def changed(tx, write=write):
            ask(tx.connection, three)
            write(tx)
            return ids(tx, "r-%")

        assert database.run_blocking(changed, dry_run=True) == ["r-2"]
    before = len(sent)
    database.run_blocking(lambda tx: ask(tx.connection, three), writes=False)
    assert len(sent) == before, "what only reads asks when it needs to know"


def test_an_answer_of_what_was_undone_is_not_used(database):
    def fail(tx):
        add(tx, "r-1")
        ask(tx.connection, (IDS, {"like": "%"}))
        raise RuntimeError

    async def run():
        free = threading.Event()
        first = asyncio.create_task(database.run(lambda _: free.wait(20)))
        await asyncio.sleep(0)
        others = [asyncio.create_task(database.run(each)) for each in (fail, ids)]
        await asyncio.sleep(0)
        free.set()
        return await asyncio.gather(first, *others, return_exceptions=True)

    _, error, found = asyncio.run(run())
    assert isinstance(error, RuntimeError)
    assert found == []


@pytest.mark.parametrize(("fresh", "most"), [(0.0, 3), (60.0, 4)])
def test_connections_that_were_lost_while_nobody_used_them_are_made_anew(url, database, monkeypatch, fresh, most):
    monkeypatch.setattr(connections, "_FRESH_SECONDS", fresh)
    together, tries = threading.Barrier(3), []

    def pid(tx):
        tries.append(tx)
        return tx.connection.scalar(text("SELECT pg_backend_pid()"))

    def meet(tx):
        together.wait(20)
        return pid(tx)

    def read(function):
        with ThreadPoolExecutor(3) as threads:
            return set(threads.map(lambda _: database.run_blocking(function, writes=False), range(3)))

    before = read(meet)
    assert len(before) == 3
    with psycopg.connect(url.replace("+psycopg", ""), autocommit=True) as other:
        ended = other.execute("SELECT pg_terminate_backend(pid, 10000) FROM unnest(%s::int[]) AS pid", [list(before)])
        assert ended.fetchall() == [(True,)] * 3
    tries.clear()
    assert not {database.run_blocking(pid, writes=False) for _ in range(3)} & before
    assert len(tries) == most, "only one of them may be tried that was used a moment ago"


@contextlib.contextmanager
def by_tcp(url):
    """Give the URL of the same database by TCP: one connection to it goes on to the server's socket."""
    with socket.create_server(("127.0.0.1", 0)) as listener, socket.socket(socket.AF_UNIX) as server:
        given = make_url(url)

        def pass_on(source, target):
            with contextlib.suppress(OSError):  # the other end has closed
                while data := source.recv(1 << 16):
                    target.sendall(data)
                target.shutdown(socket.SHUT_WR)

        def serve():
            client, _ = listener.accept()
            with client, ThreadPoolExecutor() as threads:
                server.connect(f"{given.query['host']}/.s.PGSQL.5432")
                threads.submit(pass_on, client, server)
                threads.submit(pass_on, server, client)

        with ThreadPoolExecutor() as threads:
            threads.submit(serve)
            named = given.difference_update_query(["host"]).set(host="127.0.0.1", port=listener.getsockname()[1])
            yield named.render_as_string(hide_password=False)


def patience_of(driver):
    """What the kernel does about a connection whose other end is silent."""
    options = (socket.TCP_KEEPIDLE, socket.TCP_KEEPINTVL, socket.TCP_KEEPCNT, socket.TCP_USER_TIMEOUT)
    with socket.socket(fileno=os.dup(driver.fileno())) as one:
        assert one.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE) == 1
        return [one.getsockopt(socket.IPPROTO_TCP, each) for each in options]


@pytest.mark.parametrize(
    ("query", "idle", "unsent"), [("", 5, 20_000), ("?keepalives_idle=7&tcp_user_timeout=9", 7, 9)]
)
def test_a_server_that_is_cut_off_is_noticed_after_a_while(url, query, idle, unsent):
    with by_tcp(url) as by_port, contextlib.closing(Database(by_port + query)) as made, made.engine.connect() as one:
        driver = one.connection.dbapi_connection
        assert patience_of(driver) == [idle, 5, 3, unsent]
        assert driver.info.get_parameters()["connect_timeout"] == "5"


def test_who_serves_with_others_notices_it_sooner(url):
    with (
        by_tcp(url) as by_port,
        contextlib.closing(Database(by_port)) as made,
        Membership(made, "", {}, lambda: None)._connection() as driver,
    ):
        assert patience_of(driver) == [1, 1, 1, 1500]
