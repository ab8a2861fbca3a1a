"""The controller's state in PostgreSQL: the schema there and back, transactions, and a whole controller that is killed.

With STEAD_TEST_POSTGRESQL=URL all tests of the API and most of the controller run there: see tests/README.md.
"""

import asyncio
import contextlib
import os
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime

import pytest
from alembic.config import Config
from alembic.script import ScriptDirectory
from sqlalchemy import func, select, text
from sqlalchemy.exc import DBAPIError

from stead_controller.aws import operations
from stead_controller.db import migrate, session
from stead_controller.db.membership import ForeignBlocksError, Membership
from stead_controller.db.session import Database
from stead_controller.db.tables import Host, Instance, Lease, NetworkInterface
from stead_controller.desired import revisions
from stead_controller.resources.storage import stored_blocks
from stead_controller.resources.storage.block_names import BlockName
from tests.bench import launches_at_once
from tests.support import benches
from tests.support.clients import FAST
from tests.support.postgresql import PROGRAMS, PostgresqlServer
from tests.support.waiting import wait_for

pytestmark = [
    pytest.mark.story,
    pytest.mark.skipif(not PROGRAMS, reason="needs a PostgreSQL server: ./stead test --postgresql installs it"),
    pytest.mark.skipif(os.geteuid() != 0, reason="needs root, to run the server as its own user"),
]


@pytest.fixture(scope="module")
def server():
    made = PostgresqlServer()
    try:
        made.start()
        yield made
    finally:
        made.stop()


@pytest.fixture
def database(server):
    made = Database(server.new_database())
    migrate.upgrade(made.engine)
    yield made
    made.close()


def test_the_schema_is_the_same_there_and_back(database):
    assert migrate.differences(database.engine) == []
    config = Config()
    config.set_main_option("script_location", str(migrate._MIGRATIONS))
    (first, *_) = reversed([each.revision for each in ScriptDirectory.from_config(config).walk_revisions()])
    migrate.downgrade(database.engine, first)
    migrate.upgrade(database.engine)
    assert migrate.differences(database.engine) == []


def test_what_prepared_statements_alone_have_written_stays(database):
    name, now = BlockName.new(b"d" * 32), datetime(2026, 11, 29, tzinfo=UTC)
    assert database.run_blocking(lambda tx: stored_blocks.add(tx, {name: 5}, now)) == []
    assert database.run_blocking(lambda tx: stored_blocks.copies(tx, [name.digest]), writes=False) == {
        name.digest: name
    }

    def fail(tx):
        stored_blocks.add(tx, {BlockName.new(b"e" * 32): 5}, now)
        raise RuntimeError("undone")

    with pytest.raises(RuntimeError, match="undone"):
        database.run_blocking(fail)
    assert database.run_blocking(lambda tx: stored_blocks.copies(tx, [b"e" * 32])) == {}


@pytest.fixture
def other(database):
    """Another controller's."""
    made = Database(database.engine.url.render_as_string(hide_password=False))
    yield made
    made.close()


def test_launches_at_the_same_moment_by_two_controllers_all_succeed(database, other):
    operations.load()
    world = launches_at_once.prepared(database.engine.url.render_as_string(hide_password=False), hosts=3)
    apps = [launches_at_once.app_on(each, world) for each in (database, other)]

    async def launch():
        return await asyncio.gather(*(launches_at_once.launch(app, world, 100, 100) for app in apps))

    assert asyncio.run(launch()) == [Counter({200: 100})] * 2

    def look(tx):
        addresses = tx.session.scalars(select(NetworkInterface.private_address)).all()
        promised = tx.session.scalar(select(func.sum(Host.cpus_reserved)))
        return len(addresses), len(set(addresses)), promised, tx.session.scalar(select(func.sum(Instance.vcpus)))

    total, different, promised, taken = database.run_blocking(look, writes=False)
    assert (total, different) == (200, 200)
    assert promised == taken


def test_a_writer_waits_for_another_controllers_and_sees_its_work(database, other):
    tried = []

    def write(tx):
        tried.append(tx)
        return revisions.next_revision(tx)

    def hold(tx):
        mine = revisions.next_revision(tx)
        later = threads.submit(other.run_blocking, write)
        wait_for(lambda: database.run_blocking(_waits, writes=False), "the other one waits")
        return mine, later

    with ThreadPoolExecutor(1) as threads:
        mine, later = database.run_blocking(hold)
        assert later.result(30) == mine + 1
    assert len(tried) == 1, "it saw what was committed while it waited, so that nothing had to be tried again"


def _waits(tx):
    return tx.connection.scalar(text("SELECT count(*) FROM pg_locks WHERE NOT granted"))


def test_readers_do_not_wait_for_writers(database, other):
    before = database.run_blocking(revisions.current, writes=False)

    def hold(tx):
        revisions.next_revision(tx)
        return other.run_blocking(revisions.current, writes=False)

    assert database.run_blocking(hold) == before


def test_a_writer_that_is_stopped_does_not_hold_up_the_others_for_long(database, other, monkeypatch):
    monkeypatch.setattr(session, "_MOST_IDLE_MS", 100)
    before = database.run_blocking(revisions.current, writes=False)

    others = []

    def stopped(tx):
        mine = revisions.next_revision(tx)
        if not others:
            others.append(other.run_blocking(revisions.next_revision))
        revisions.current(tx)
        return mine

    assert database.run_blocking(stopped) == before + 2, "it was undone, and begun anew"
    assert others == [before + 1]
    assert database.run_blocking(revisions.current, writes=False) == before + 2


def test_a_writer_whose_connection_is_lost_again_and_again_says_so(database):
    ends = text("SELECT pg_terminate_backend(pg_backend_pid())")
    tries = []

    def lost(tx):
        tries.append(tx)
        tx.connection.execute(ends)

    with pytest.raises(DBAPIError, match="terminat"):
        database.run_blocking(lost)
    assert len(tries) == session._TRIES
    assert database.run_blocking(revisions.current, writes=False) > 0


def test_a_controller_launches_is_killed_and_terminates(server, own_cloud):
    cloud = own_cloud(hosts=2, options=(f"--database-url={server.new_database()}",))
    ec2 = cloud.first_account.ec2
    request = {"ImageId": cloud.add_image(), "InstanceType": "t3.micro", "MinCount": 2, "MaxCount": 2}
    ids = [each["InstanceId"] for each in ec2.run_instances(**request)["Instances"]]
    ec2.get_waiter("instance_running").wait(InstanceIds=ids, WaiterConfig=FAST)
    killed = cloud.controller.kill_serving()
    wait_for(lambda: cloud.controller.another_serves(killed) and cloud.answers(), "another one serves", 30)
    (found,) = ec2.describe_instances(InstanceIds=ids)["Reservations"]
    assert {each["State"]["Name"] for each in found["Instances"]} == {"running"}
    ec2.terminate_instances(InstanceIds=ids)
    ec2.get_waiter("instance_terminated").wait(InstanceIds=ids, WaiterConfig=FAST)


@contextlib.contextmanager
def members(*databases):
    """Let controllers share their database; give them, and what each hears."""
    heard = [[] for _ in databases]
    made = [Membership(each, f"{number}:1", "blocks", lambda: None) for number, each in enumerate(databases)]
    for each, wakes in zip(databases, heard, strict=True):
        each.on_commit(wakes.append)
    for each in made:
        each.begin()
    try:
        wait_for(lambda: all(len(each.others) == len(made) - 1 for each in made), "each knows the others")
        yield made, heard
    finally:
        for each in made:
            each.end()


def test_each_controller_hears_what_the_others_commit(database, other):
    with members(database, other) as (_, (_, heard)):
        revision = database.run_blocking(revisions.next_revision)
        wait_for(lambda: [each for each in heard if each.revision == revision], "the other one hears of it")
        count = len(heard)
        database.run_blocking(lambda tx: None)
        database.run_blocking(lambda tx: tx.events.add("i-1"))
        wait_for(lambda: len(heard) > count, "and of what comes later")
        assert [each.events for each in heard[count:]] == [{"i-1"}], "of what wakes nobody nothing is said"


def test_who_has_other_blocks_is_no_controller_of_this_cloud(database, other):
    with members(database, other):
        Membership(other, "2:1", "blocks", lambda: None).require_blocks()
        with pytest.raises(ForeignBlocksError):
            Membership(other, "2:1", "empty", lambda: None).require_blocks()


def test_one_controller_leads_and_another_follows_it_at_once(database, other):
    with members(database, other) as (made, _):
        wait_for(lambda: sum(each.leads() for each in made) == 1, "one leads")
        leads, follows = sorted(made, key=Membership.leads, reverse=True)
        tokens = database.run_blocking(
            lambda tx: tx.session.scalars(select(Lease.token).where(Lease.name == "lead")).all(), writes=False
        )
        leads.end()
        wait_for(follows.leads, "the other one leads")
        assert follows.others == ()
        assert database.run_blocking(
            lambda tx: tx.session.scalars(select(Lease.token).where(Lease.name == "lead")).all(), writes=False
        ) == [tokens[0] + 1]


def test_a_controller_notices_that_its_database_is_gone_and_back(server, database, other):
    with members(database, other) as (made, _):
        server.stop_at_once()
        wait_for(lambda: not any(each.has_database for each in made), "both know that it is gone")
        assert not any(each.leads() for each in made)
        server.start_again()
        wait_for(lambda: all(each.has_database and each.others for each in made), "both are back", 30)


@pytest.mark.parametrize("name", benches.WITH_POSTGRESQL)
def test_benchmarks_of_it_still_run(name):
    assert "launches that failed: 0.00" in benches.run(name)
