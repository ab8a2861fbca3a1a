"""After a start with a database that may be an older copy, changes wait for hosts, but for no host for ever."""

import asyncio
from datetime import timedelta

import pytest

from stead_controller.db.tables import Host
from stead_controller.hosts.feed import Stream
from stead_controller.hosts.first_reports import FirstReports, doubtful
from stead_controller.hosts.link import HostLink
from stead_controller.hosts.liveness import Liveness
from stead_controller.metrics.engine_store import EngineStore
from stead_controller.metrics.http_engine import HttpEngine
from stead_proto.certificates import Authority
from stead_proto.v1 import host_pb2 as pb
from tests.support import rows
from tests.support.rows import CLOUD, NOW

SILENCE = 20


@pytest.mark.parametrize(
    ("seconds", "waits"), [(0, False), (SILENCE - 1, False), (SILENCE, True), (1 - SILENCE, False), (-SILENCE, True)]
)
def test_a_database_is_doubtful_if_its_newest_report_is_old_or_of_a_time_to_come(run, world, seconds, *, waits):
    def add(tx):
        tx.session.get_one(Host, world.host_id).last_seen = NOW - timedelta(days=1)
        tx.session.add(rows.host(id="h-0000000000000000a", last_seen=NOW - timedelta(seconds=seconds), state="down"))

    run(add)
    assert sorted(run(doubtful, NOW, SILENCE)) == (sorted([world.host_id, "h-0000000000000000a"]) if waits else [])


def test_a_host_without_any_report_is_doubtful(run, world):
    def forget(tx):
        tx.session.get_one(Host, world.host_id).last_seen = None

    run(forget)
    assert run(doubtful, NOW, SILENCE) == [world.host_id]


async def test_a_change_waits_for_all_of_them():
    reports = FirstReports(3600)
    reports.expect(["a", "b"])
    waiting = asyncio.create_task(reports.wait())
    for host_id in ("c", "a", "a"):
        reports.came(host_id)
        await asyncio.sleep(0)
        assert not waiting.done()
    reports.came("b")
    async with asyncio.timeout(60):
        await waiting
        await reports.wait()


@pytest.mark.parametrize("body", ["progress", "heartbeat"])
async def test_a_host_has_reported_all_when_it_is_as_far_as_what_it_was_sent(database, body):
    reports = FirstReports(3600)
    reports.expect(["a", "b"])
    link = HostLink(
        database,
        CLOUD,
        Liveness(lambda: NOW, SILENCE),
        reports,
        clock=lambda: NOW,
        authority=Authority.create(),
        metrics=EngineStore(HttpEngine("http://127.0.0.1:1"), lambda: NOW),
        heartbeat_seconds=5,
    )
    waiting = asyncio.create_task(reports.wait())

    async def say(host_id, revision):
        async def incoming():
            kind = {"progress": pb.Progress, "heartbeat": pb.Heartbeat}[body]
            yield pb.HostReport(**{body: kind(revision=revision)})

        await link._receive(Stream(host_id, 0, "", sent=7), incoming())
        await asyncio.sleep(0)

    await say("a", 8)
    await say("b", 6)
    assert not waiting.done()
    await say("b", 7)
    async with asyncio.timeout(60):
        await waiting


async def test_without_hosts_nothing_waits(caplog):
    reports = FirstReports(3600)
    async with asyncio.timeout(60):
        await reports.wait()
        reports.expect([])
        await reports.wait()
    assert not caplog.records


async def test_a_host_that_does_not_come_is_not_waited_for_any_longer(caplog):
    reports = FirstReports(0)
    reports.expect(["a", "b"])
    reports.came("a")
    async with asyncio.timeout(60):
        await reports.wait()
        await reports.wait()
    [said] = [each for each in caplog.records if each.message == "hosts_did_not_report"]
    assert said.hosts == ["b"]


async def test_of_hosts_that_came_in_time_nothing_is_said(caplog):
    reports = FirstReports(0)
    reports.expect(["a"])
    reports.came("a")
    await asyncio.sleep(0.01)  # the timer was due before this one
    assert [each.message for each in caplog.records] == ["changes_wait_for_hosts"]
