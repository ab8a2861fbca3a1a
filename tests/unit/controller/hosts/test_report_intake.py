"""A report that the controller cannot take over costs its resource a word, not the session of its host."""

import asyncio
import logging

import pytest
from sqlalchemy import select
from sqlalchemy.exc import OperationalError

from stead_controller.db.tables import Host, HostError, Volume
from stead_controller.hosts import facts, reports
from stead_controller.hosts.feed import Stream
from stead_controller.hosts.first_reports import FirstReports
from stead_controller.hosts.link import HostLink
from stead_controller.hosts.liveness import Liveness
from stead_controller.hosts.report_intake import ReportIntake, SessionOver
from stead_controller.metrics.engine_store import EngineStore
from stead_controller.metrics.http_engine import HttpEngine
from stead_proto.certificates import Authority
from stead_proto.v1 import desired_pb2 as desired
from stead_proto.v1 import host_pb2 as pb
from tests.support import rows
from tests.support.rows import CLOUD, NOW

BAD = "snap-0123456789abcdef0"


@pytest.fixture
def volume_ids(run, world):
    """Volumes of the world's host that are being deleted."""

    def write(tx):
        made = []
        for number in range(5):
            instance = rows.launch(tx, world, world.one, number=number)
            (volume,) = tx.session.query(Volume).filter_by(instance_id=instance.id)
            volume.state, volume.instance_id = "deleting", None
            made.append(volume.id)
        return made

    return run(write)


@pytest.fixture
def broken(monkeypatch):
    """Let a status of a snapshot break whoever takes it over, with the error that is put here."""
    errors = [ValueError("on purpose")]

    def handler(_writing, _host_id, _status):
        raise errors[-1]

    monkeypatch.setitem(reports._HANDLERS, desired.KIND_SNAPSHOT, handler)
    return errors


def bad():
    return pb.ResourceStatus(kind=desired.KIND_SNAPSHOT, id=BAD, snapshot=pb.SnapshotStatus(blocks=1))


def gone(volume_id):
    return pb.ResourceStatus(kind=desired.KIND_VOLUME, id=volume_id, condition=pb.CONDITION_ABSENT)


def left(run):
    return run(lambda tx: set(tx.session.scalars(select(Volume.id).where(Volume.state == "deleting"))))


def noted(run):
    return run(lambda tx: [(row.kind, row.resource_id, row.error) for row in tx.session.scalars(select(HostError))])


async def test_what_cannot_be_taken_over_is_left_out_and_shown(database, run, world, volume_ids, broken, *, caplog):
    statuses = [gone(each) for each in volume_ids]
    statuses.insert(2, bad())
    with caplog.at_level(logging.ERROR):
        await ReportIntake(database, lambda: NOW).take(world.host_id, statuses)
    assert left(run) == set()
    (record,) = [each for each in caplog.records if each.message == "host_status_left_out"]
    assert (record.host, record.id) == (world.host_id, BAD)
    ((kind, resource_id, error),) = noted(run)
    assert (kind, resource_id) == (desired.KIND_SNAPSHOT, BAD)
    assert "on purpose" in error


async def test_hosts_that_report_at_the_same_time_do_not_notice(database, run, world, volume_ids, broken):
    intake = ReportIntake(database, lambda: NOW)
    await asyncio.gather(
        intake.take("h-00000000000000000", [bad()]), intake.take(world.host_id, [gone(each) for each in volume_ids])
    )
    assert left(run) == set()
    assert noted(run) == []  # of a host that is not known nothing is


async def test_a_database_that_is_away_is_no_fault_of_a_status(database, run, world, volume_ids, broken):
    broken.append(OperationalError("INSERT", {}, Exception("the disk is full")))
    with pytest.raises(OperationalError):
        await ReportIntake(database, lambda: NOW).take(world.host_id, [bad()])
    with pytest.raises(OperationalError):
        await ReportIntake(database, lambda: NOW).take(world.host_id, [gone(volume_ids[0]), bad()])
    assert volume_ids[0] in left(run)
    assert noted(run) == []


async def test_the_session_goes_on(database, run, world, volume_ids, broken):
    link = HostLink(
        database,
        CLOUD,
        Liveness(lambda: NOW, 20),
        FirstReports(20),
        clock=lambda: NOW,
        authority=Authority.create(),
        metrics=EngineStore(HttpEngine("http://127.0.0.1:1"), lambda: NOW),
        heartbeat_seconds=5,
    )
    stream = Stream(world.host_id, 0, "")
    ended = []

    async def incoming():
        for statuses in ([bad(), gone(volume_ids[0])], [gone(each) for each in volume_ids[1:]]):
            yield pb.HostReport(progress=pb.Progress(statuses=statuses))
            ended.append(stream.ended)

    await link._receive(stream, incoming())
    assert ended == [False, False]
    assert left(run) == set()
    # When it is well again, that is news, and the error goes.
    assert (desired.KIND_SNAPSHOT, BAD) in stream.failing


async def test_what_an_earlier_session_brings_late_is_not_stored(database, run, world, volume_ids):
    hello = (world.host_id, pb.Hello(facts=pb.HostFacts(cpus=8)))

    def greet(controller_id):
        run(facts.take_facts, [hello], CLOUD, NOW, controller_id)
        return run(facts.sessions, [world.host_id])

    first, second = greet("one"), greet("two")
    intake = ReportIntake(database, lambda: NOW)
    with pytest.raises(SessionOver):
        await intake.take(world.host_id, [gone(volume_ids[0])], first[world.host_id])
    assert volume_ids[0] in left(run)
    await intake.take(world.host_id, [gone(volume_ids[0])], second[world.host_id])
    assert volume_ids[0] not in left(run)
    assert run(lambda tx: tx.session.get_one(Host, world.host_id).controller_id) == "two"
