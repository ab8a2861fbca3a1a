"""The controller's state in PostgreSQL: the schema there and back, transactions, and a whole controller that is killed.

With STEAD_TEST_POSTGRESQL=URL all tests of the API and most of the controller run there: see tests/README.md.
"""

import asyncio
import contextlib
import os
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime

import pytest
from botocore.exceptions import ClientError
from sqlalchemy import func, inspect, select, text
from sqlalchemy.exc import DBAPIError

from stead_cli.errors import CliError
from stead_controller.aws import operations
from stead_controller.db import downgrade, exchanges, migrate, schema, session, wakes
from stead_controller.db.membership import ForeignStateError, Membership
from stead_controller.db.session import Database
from stead_controller.db.tables import Host, Instance, Lease, NetworkInterface
from stead_controller.desired import revisions
from stead_controller.resources.operators import orphaned_rows
from stead_controller.resources.storage import stored_blocks
from stead_controller.resources.storage.block_names import BlockName
from tests.bench import launches_at_once
from tests.bench.launch_cost import Bench
from tests.support import benches, orphans, rows
from tests.support.clients import FAST
from tests.support.postgresql import PROGRAMS, PostgresqlServer
from tests.support.rows import NOW
from tests.support.schemas import parts_of
from tests.support.waiting import wait_for

_EXCHANGES, _EXCHANGES_REPORTED = 18, 9.5  # of a launch with the server, and of its report

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


@pytest.fixture(scope="module")
def migrated(server):
    """The name of a database of the newest schema, which nobody uses."""
    made = Database(server.new_database())
    schema.bring_up_to_date(made.engine)
    made.close()
    return made.engine.url.database


@pytest.fixture
def database(server, migrated):
    made = Database(server.new_database(copy_of=migrated))
    yield made
    made.close()


@pytest.mark.filterwarnings("error::sqlalchemy.exc.SAWarning")
def test_the_schema_is_the_same_there_and_back(database):
    """By all migrations from nothing a database gets what an empty one gets at once."""
    made = parts_of(database.engine)
    assert len(made) > 100
    assert migrate.differences(database.engine) == []
    migrate.downgrade(database.engine, "base")
    assert inspect(database.engine).get_table_names() == ["alembic_version"]
    migrate.upgrade(database.engine)
    walked = parts_of(database.engine)
    for name in sorted(walked.keys() | made.keys()):
        assert made.get(name) == walked.get(name), name
    assert schema.revision_of(database.engine) == schema.newest()


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


def test_rows_that_name_what_is_not_there_are_mended_there_as_well(database):
    world = database.run_blocking(rows.build_world)
    names = database.run_blocking(lambda tx: orphans.plant(tx, world))
    found = database.run_blocking(orphaned_rows.find, writes=False)
    assert [(each.kind, each.names) for each in found] == [(kind, names[kind]) for kind in orphans.KINDS]
    assert database.run_blocking(lambda tx: orphaned_rows.mend(tx, NOW)) == found
    assert database.run_blocking(orphaned_rows.find, writes=False) == []


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


def test_a_launch_asks_the_server_no_more_often_than_before(database, monkeypatch):
    bench, asked, execute = Bench(database, 2), [], exchanges.execute
    monkeypatch.setattr(exchanges, "execute", lambda *arguments: asked.append(1) or execute(*arguments))
    spent = []
    for _ in range(6):  # both hosts have instances in its VPC then
        bench.launch(1)
        spent.append(len(asked))
        asked.clear()
    reported, _ = bench.report()
    assert min(spent) <= _EXCHANGES
    assert len(asked) / reported <= _EXCHANGES_REPORTED


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
    server.stop_at_once()
    try:
        _every_protocol_says_that_the_database_is_away(cloud.first_account)
        with pytest.raises(CliError, match="does not answer: nothing was changed"):
            cloud.operator.list_hosts()
    finally:
        server.start_again()
    wait_for(lambda: cloud.answers() and ec2.describe_instances(InstanceIds=ids), "it serves again", 30)


def _every_protocol_says_that_the_database_is_away(account):
    asked = {
        "ec2": ("describe_vpcs", {}),
        "iam": ("create_user", {"UserName": "ann"}),
        "cloudtrail": ("describe_trails", {}),
        "cloudwatch": ("describe_alarms", {}),
        "ebs": ("start_snapshot", {"VolumeSize": 1}),
        "s3": ("list_buckets", {}),
    }
    for service, (name, params) in asked.items():
        with pytest.raises(ClientError, match="does not answer: nothing was changed") as refused:
            getattr(account.client(service), name)(**params)
        answer = refused.value.response
        found = (answer["Error"]["Code"], answer["ResponseMetadata"]["HTTPStatusCode"])
        assert found == ("ServiceUnavailable", 503), service


STATE = {"blocks": "a", "buckets": "b"}


def known(one):
    return {each.id for each in one.others}


@contextlib.contextmanager
def members(*databases, addresses=("0:1", "1:1")):
    """Let controllers share their database; give them, and what each hears."""
    heard = [[] for _ in databases]
    made = [Membership(each, address, STATE, lambda: None) for each, address in zip(databases, addresses, strict=True)]
    for each, kept in zip(databases, heard, strict=True):
        each.on_commit(kept.append)
    for each in made:
        each.begin()
    try:
        ids = {each.id for each in databases}
        wait_for(lambda: all(ids <= {one._database.id, *known(one)} for one in made), "each knows the others")
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


def test_nobody_goes_back_under_a_controller_and_one_that_was_killed_is_waited_for(
    database, other, monkeypatch, tmp_path
):
    """And the database is copied before, as a file is."""
    monkeypatch.setattr(downgrade, "LEASE_SECONDS", 1.0)  # longer than a beat
    with members(database, other), pytest.raises(downgrade.DowngradeError, match="stop all of them before"):
        downgrade.downgrade_to(database.engine, "-1", copies=tmp_path)
    assert schema.revision_of(database.engine) == schema.newest()
    with database.engine.begin() as connection:
        connection.execute(text("UPDATE controllers SET seen = extract(epoch FROM clock_timestamp()) * 1000"))
    began = time.monotonic()
    downgrade.downgrade_to(database.engine, "-1", copies=tmp_path)
    assert time.monotonic() - began >= downgrade.LEASE_SECONDS
    present = schema.revision_of(database.engine)
    assert present != schema.newest()
    assert [path.name for path in tmp_path.iterdir()] == [f"stead.sqlite.of-{schema.newest()}"]
    with database.engine.begin() as connection:
        connection.execute(text("DELETE FROM controllers"))
    with pytest.raises(downgrade.DowngradeError, match="No folder is named"):
        downgrade.downgrade_to(database.engine, "-1")
    downgrade.downgrade_to(database.engine, "-1", copies=tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == [f"stead.sqlite.of-{present}"]


@pytest.mark.parametrize("what", STATE)
def test_who_has_other_blocks_or_buckets_is_no_controller_of_this_cloud(database, other, what):
    foreign = Membership(other, "2:1", STATE | {what: "empty"}, lambda: None)
    with members(database, other) as (made, _):
        Membership(other, "2:1", STATE, lambda: None).require_same_state()
        with pytest.raises(ForeignStateError, match=f"has other {what}"):
            foreign.require_same_state()
        made[0].end()
        with pytest.raises(ForeignStateError):
            foreign.require_same_state()
    foreign.require_same_state()


def test_one_controller_leads_and_another_follows_it_at_once(database, other):
    with members(database, other) as (made, _):
        wait_for(lambda: sum(each.leads() for each in made) == 1, "one leads")
        leads, follows = sorted(made, key=Membership.leads, reverse=True)
        tokens = database.run_blocking(
            lambda tx: tx.session.scalars(select(Lease.token).where(Lease.name == "lead")).all(), writes=False
        )
        leads.end()
        holds = "SELECT count(*) FROM leases WHERE name = 'lead' AND holder = :id AND until > 0"
        assert shown(database, holds, id=leads._database.id) == [0], "it has given up the lead"
        wait_for(follows.leads, "the other one leads")
        assert follows.others == ()
        assert database.run_blocking(
            lambda tx: tx.session.scalars(select(Lease.token).where(Lease.name == "lead")).all(), writes=False
        ) == [tokens[0] + 1]


def shown(database, query, **values):
    return database.run_blocking(lambda tx: tx.session.scalars(text(query), values).all(), writes=False)


def say(database, name, address, ago):
    """Let a controller have said that it lives, some seconds ago."""
    row = "INSERT INTO controllers (id, address, seen) VALUES (:id, :address, extract(epoch FROM clock_timestamp()) * 1000 - :ago)"
    database.run_blocking(lambda tx: tx.session.execute(text(row), {"id": name, "address": address, "ago": ago * 1000}))


def test_what_controllers_say_is_renewed_and_is_forgotten_in_the_end(database, other):
    say(database, "gone", "9:1", 1000)
    say(database, "away", "8:1", 100)
    renewed = "SELECT seen FROM controllers WHERE id <> 'away' UNION ALL SELECT until FROM leases ORDER BY 1"
    with members(database, other) as (made, _):
        wait_for(lambda: all("9:1" not in each.addresses for each in made), "who is long gone is forgotten")
        assert set(shown(database, "SELECT id FROM controllers")) == {"away", database.id, other.id}
        assert (made[0].addresses, len(made[0].others)) == (["1:1", "8:1"], 1)
        before = shown(database, renewed)
        assert len(before) == len(made) + len(("lead", *STATE))
        wait_for(
            lambda: all(now > was for was, now in zip(before, shown(database, renewed), strict=True)),
            "all is said again",
        )


@pytest.mark.parametrize("address", ["0:1", ""])
def test_another_process_of_the_same_address_is_no_other_controller(database, other, address):
    say(database, "former", "0:1", 1)
    say(database, "without an address", "", 1)
    with members(database, other, addresses=(address, "1:1")) as (made, _):
        assert known(made[0]) == {other.id, "without an address", *(["former"] if address == "" else [])}
        assert set(made[0].addresses) == {"1:1", *(["0:1"] if address == "" else [])}


def test_a_controller_notices_that_its_database_is_gone_and_back(server, database, other):
    with members(database, other) as (made, heard):
        server.stop_at_once()
        wait_for(lambda: not any(each.has_database for each in made), "both know that it is gone")
        assert not any(each.leads() for each in made)
        for each in heard:
            each.clear()
        server.start_again()
        wait_for(lambda: all(each.has_database and each.others for each in made), "both are back", 30)
        assert [each[0] for each in heard] == [wakes.everything()] * 2, "what was committed meanwhile is looked for"


@pytest.mark.parametrize("name", benches.WITH_POSTGRESQL)
def test_benchmarks_of_it_still_run(name, tmp_path):
    assert "launches that failed: 0.00" in benches.run_loaded(name, tmp_path)
