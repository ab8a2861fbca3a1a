"""The lead and its fence, and what a database without others does; with a server: `tests/api/test_postgresql.py`."""

import contextlib
from types import SimpleNamespace

import pytest
from sqlalchemy import select

from stead_controller.db import wakes
from stead_controller.db.membership import LEASE_SECONDS, LOST_SECONDS, Fenced, LeadLost, Membership, Other, led
from stead_controller.db.session import Database
from stead_controller.db.tables import CloudFact, Lease


@pytest.fixture
def database(tmp_path, empty_database_file):
    (tmp_path / "test.sqlite").write_bytes(empty_database_file)
    database = Database(f"sqlite:///{tmp_path / 'test.sqlite'}")
    yield database
    database.close()


class Moment:
    def __init__(self):
        self.now = 100.0

    def __call__(self):
        return self.now


@pytest.fixture
def moment():
    return Moment()


@pytest.fixture
def shared(database, moment):
    """One of several, as with a server."""
    made = Membership(database, "127.0.0.1:1", {"blocks": "a"}, lambda: None, moment)
    made.is_alone = False
    return made


def hold(database, holder, token):
    database.run_blocking(lambda tx: tx.session.merge(Lease(name="lead", holder=holder, token=token, until=0)))


def write(tx):
    tx.session.add(CloudFact(name="written", value="so"))


def written(database):
    return database.run_blocking(lambda tx: tx.session.scalars(select(CloudFact.value)).all(), writes=False)


def test_who_is_alone_always_leads_and_has_no_fence(database, moment):
    membership = Membership(database, "127.0.0.1:1", {"blocks": "a"}, lambda: None, moment)
    membership.require_same_state()
    membership.begin()
    assert membership._thread is None
    moment.now += 10 * LOST_SECONDS
    assert membership.leads()
    assert membership.has_database
    assert led(database, membership) is database
    membership.end()


def test_a_lead_ends_by_itself(shared, moment):
    assert not shared.leads()
    shared._note((), 3, moment.now + LEASE_SECONDS)
    assert shared.leads()
    moment.now += LEASE_SECONDS
    assert not shared.leads(), "whatever the database says: it may not be reached"


def test_the_log_has_the_beginning_and_the_end_of_an_outage(shared, moment, monkeypatch, caplog):
    caplog.set_level("INFO", "stead_controller.db.membership")
    tries = iter([1.0, 1.0, 58.0, 1.0])

    def stay():
        seconds = next(tries, None)
        if seconds is not None:
            moment.now += seconds
            raise ConnectionError("no such server\n")
        connection = SimpleNamespace(execute=lambda *_: None)
        monkeypatch.setattr(shared, "_connection", lambda: contextlib.nullcontext(connection))
        monkeypatch.setattr(shared, "_say", lambda _connection: shared._ends.set())
        monkeypatch.setattr(shared, "_look", lambda _connection: ())
        Membership._stay(shared)

    monkeypatch.setattr(shared, "_stay", stay)
    monkeypatch.setattr(shared._ends, "wait", lambda _seconds: None)
    shared._run()
    assert [each.message for each in caplog.records] == ["database_away", "database_away", "database_back"]
    assert caplog.records[0].error == "no such server"
    shared._ends.clear()
    caplog.clear()
    shared._run()
    assert caplog.records == []


def test_the_database_counts_as_lost_after_a_while(shared, moment):
    moment.now += LOST_SECONDS - 0.1
    assert shared.has_database
    moment.now += 0.1
    assert not shared.has_database


def test_only_what_is_new_is_told(database, moment):
    told = []
    shared = Membership(database, "127.0.0.1:1", {"blocks": "a"}, lambda: told.append(1), moment)
    seen = [((), 0, 0), ((Other("b", "b:1"),), 0, 1), ((Other("b", "b:1"),), 0, 1), ((Other("b", "b:1"),), 2, 2)]
    for others, token, count in seen:
        shared._note(others, token, moment.now)
        assert len(told) == count
    assert shared.others == (Other("b", "b:1"),)


class Asked:
    """A connection to a server that answers each beat with the same rows."""

    def __init__(self, *rows):
        self.rows = rows
        self.said = []

    def execute(self, statement, arguments):
        self.said.append((statement.split()[0], arguments))
        return self

    def fetchall(self):
        return list(self.rows)


def test_a_beat_is_one_statement_and_the_one_that_leads_forgets_now_and_then(shared, moment):
    server = Asked((3, "b", "b:1", True), (3, "a", "a:1", False))
    for after in (0.0, 0.5, 30.0, 30.0):
        moment.now += after
        shared._say(server)
    assert [word for word, _ in server.said] == ["WITH", "DELETE", "WITH", "WITH", "WITH", "DELETE"]
    assert shared._others == (Other("b", "b:1"), Other("a", "a:1", lives=False))
    assert shared.leads()
    assert shared.lost_in == LOST_SECONDS
    _, asked = server.said[0]
    assert (asked["names"], asked["holders"]) == (["lead", "blocks"], [shared._database.id, "a"])


def test_who_does_not_lead_and_is_alone_forgets_nobody(shared):
    server = Asked((None, None, None, None))
    shared._say(server)
    assert [word for word, _ in server.said] == ["WITH"]
    assert shared._others == ()
    assert not shared.leads()


async def test_what_is_written_late_is_refused(database, shared, moment):
    fenced = led(database, shared)
    hold(database, database.id, 3)
    shared._note((), 3, moment.now + LEASE_SECONDS)
    assert shared.leads()
    await fenced.run(lambda tx: None)
    hold(database, "another", 4)
    with pytest.raises(LeadLost):
        await fenced.run(write)
    hold(database, database.id, 5)
    shared._note((), 5, moment.now + LEASE_SECONDS)
    with pytest.raises(LeadLost):
        await fenced.run(write)  # it leads again, but this work began under an earlier lead
    assert written(database) == []
    assert shared.leads()
    await fenced.run(write)
    assert written(database) == ["so"]


async def test_only_ones_own_lease_of_the_lead_counts(database, shared, moment):
    fenced = led(database, shared)
    shared._note((), 3, moment.now + LEASE_SECONDS)
    assert shared.leads()
    hold(database, "another", 3)
    database.run_blocking(lambda tx: tx.session.merge(Lease(name="blocks", holder=database.id, token=3, until=0)))
    with pytest.raises(LeadLost):
        await fenced.run(write)


async def test_who_does_not_lead_writes_nothing_and_may_read(database, shared):
    fenced = led(database, shared)
    hold(database, "another", 1)
    with pytest.raises(LeadLost):
        await fenced.run(write)
    with pytest.raises(LeadLost):
        fenced.run_blocking(write)
    assert await fenced.run(lambda tx: 5, writes=False) == 5
    assert fenced.run_blocking(lambda tx: 6, writes=False) == 6


def test_a_fence_is_checked_in_the_same_transaction(database):
    seen = []
    Fenced(database, lambda: seen.append).run_blocking(seen.append)
    assert seen[0] is seen[1]


def test_only_what_others_commit_wakes_here(database, shared):
    heard = []
    database.on_commit(heard.append)
    for sender in (database.id, "another"):
        [payload] = wakes.written(wakes.Wakes(scaling=True), sender)
        shared._hear(SimpleNamespace(payload=payload))
    assert heard == [wakes.Wakes(scaling=True)]
