"""What hosts are told of the other controllers, and that they leave one that has lost its database."""

import pytest

from stead_controller.db.tables import Host
from stead_controller.db.wakes import Wakes
from stead_controller.hosts.feed import Stream
from stead_controller.hosts.first_reports import FirstReports
from stead_controller.hosts.link import HostLink
from stead_controller.hosts.liveness import Liveness
from stead_controller.metrics.engine_store import EngineStore
from stead_controller.metrics.http_engine import HttpEngine
from stead_proto.certificates import Authority
from stead_proto.digests import digest_of
from stead_proto.tls import authorities_digest
from stead_proto.v1 import host_pb2 as pb
from tests.support import rows
from tests.support.rows import CLOUD, NOW


@pytest.fixture
async def link(database):
    return HostLink(
        database,
        CLOUD,
        Liveness(lambda: NOW, 20),
        FirstReports(20),
        clock=lambda: NOW,
        authority=Authority.create(),
        metrics=EngineStore(HttpEngine("http://127.0.0.1:1"), lambda: NOW),
        heartbeat_seconds=5,
    )


async def told(stream):
    stream.end()
    return [pb.HostUpdate.FromString(content).throttle async for content in stream.updates()]


async def test_hosts_are_told_of_all_controllers(link):
    stream = Stream("h-1", 0, "")
    link._feed.join(stream)
    link.share(["a:1", "b:1"], serves=True)
    (throttle,) = await told(stream)
    assert (list(throttle.controllers), throttle.heartbeat_seconds) == (["a:1", "b:1"], 5)


async def test_a_host_that_has_heard_it_and_is_certified_is_not_told_again(link):
    link.share(["a:1"], serves=True)
    throttle = link._throttle()
    known = {"throttle": digest_of(throttle), "certified": throttle.authorities}
    for host_id, hello, is_told in (
        ("h-1", pb.Hello(), True),  # of an earlier release
        ("h-2", pb.Hello(throttle=known["throttle"]), True),  # it is still to say which certificate it uses
        ("h-3", pb.Hello(certified=known["certified"]), True),
        ("h-4", pb.Hello(**known), False),
    ):
        stream = Stream(host_id, 0, "")
        link._begin(stream, hello)
        assert await told(stream) == ([throttle] if is_told else [])
        assert link.is_certified(host_id) == (not is_told)
    link.share(["a:1", "b:1"], serves=True)
    link._begin(stream := Stream("h-5", 0, ""), pb.Hello(**known))
    assert [list(each.controllers) for each in await told(stream)] == [["a:1", "b:1"]]


async def test_hosts_leave_a_controller_without_its_database(link):
    stream = Stream("h-1", 0, "")
    link._feed.join(stream)
    link.share(["a:1"], serves=False)
    assert stream.ended
    assert await told(stream) == []
    assert not link._serves


async def test_the_stream_of_a_removed_host_ends_wherever_it_was_removed(link, database):
    streams = Stream("h-1", 0, ""), Stream("h-2", 0, "")
    for stream in streams:
        link._feed.join(stream)
    database.wake(Wakes(removed_hosts={"h-1", "h-3"}))
    assert [pb.HostUpdate.FromString(each) async for each in streams[0].updates()] == []
    assert [stream.ended for stream in streams] == [True, False]


async def test_a_host_whose_late_hello_another_controller_stored_says_it_again(link, database, run, world):
    quiet = rows.host(hostname="box2", controller_id="another")  # of which nothing was heard here
    run(lambda tx: tx.session.add(quiet))
    streams = [Stream(host_id, 0, "") for host_id in (world.host_id, quiet.id)]
    for each in streams:
        link._feed.join(each)
    for where, has_ended in ((None, False), (database.id, False), ("another", True)):
        run(lambda tx, where=where: setattr(tx.session.get_one(Host, world.host_id), "controller_id", where))
        link._liveness.seen(world.host_id)
        await link.write_liveness()
        assert [each.ended for each in streams] == [has_ended, False]


async def test_a_host_that_has_nothing_to_settle_costs_no_write_when_it_is_certified(link, statements):
    stream, digest = Stream("h-1", 0, ""), authorities_digest(link._authority.ca_pem)
    await link._settle(stream, digest)
    assert statements == []
    stream.unsettled = True
    await link._settle(stream, digest)
    assert statements != []
    assert not stream.unsettled


async def test_whose_request_it_was_is_known_of_what_another_controller_committed(database, link):
    database.wake(Wakes(revision=3, request="req-1"))
    [told] = link._feed.traced.take(3).requests({3})
    assert b"req-1" in told
