"""Hosts are told which traced call changed what, and what they report of it is a part of the call's trace."""

import asyncio
from collections.abc import Iterator

import pytest

from stead_controller.db.tables import CloudFact
from stead_controller.db.wakes import Wakes
from stead_controller.desired import outbox, revisions
from stead_controller.desired.changes import News, TopicNews
from stead_controller.hosts import traced_changes
from stead_controller.hosts.feed import Feed, Stream
from stead_controller.hosts.traced_changes import TracedChanges
from stead_proto import traces
from stead_proto.v1 import desired_pb2 as desired
from stead_proto.v1 import host_pb2 as pb
from tests.support import rows, trace_server
from tests.support.trace_server import TraceServer

TRACE, SPAN = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"
CALL = f"00-{TRACE}-{SPAN}-01"
OTHER = f"00-{TRACE[::-1]}-{SPAN}-01"


@pytest.fixture
def server() -> Iterator[TraceServer]:
    """What this process does is traced."""
    with trace_server.tracing() as server:
        yield server


class Cloud:
    """A feed with two hosts that are up to date."""

    def __init__(self, database):
        self.database = database
        self.size = 0
        self.feed = Feed(database)
        self.hosts = database.run_blocking(self._build)
        database.before_calls(self.feed.traced.note)
        self.streams = [Stream(host_id, 0, "") for host_id in self.hosts]

    def _build(self, tx):
        tx.session.add(CloudFact(name="epoch", value="e"))
        hosts = [rows.host(), rows.host()]
        tx.session.add_all(hosts)
        return [host.id for host in hosts]

    async def join(self):
        for stream in self.streams:
            self.feed.join(stream)
        await self.feed._round()
        self.sent()

    def put(self, tx, host, name, trace="", request=""):
        self.size += 1
        outbox.write(tx, self.hosts[host], {(desired.KIND_VOLUME, name): desired.Volume(size=self.size)})
        tx.trace, tx.request = trace, request

    def sent(self):
        """What each host was sent since the last time."""
        found = []
        for stream in self.streams:
            states = []
            while not stream._unread.empty():
                states.append(pb.HostUpdate.FromString(stream._unread.get_nowait()).state)
            found.append(states)
        return found


@pytest.fixture
async def cloud(database):
    made = Cloud(database)
    await made.join()
    return made


async def test_a_host_is_told_which_call_changed_what(cloud, server):
    await cloud.database.run(lambda tx: cloud.put(tx, 0, "vol-1", CALL))
    await cloud.database.run(lambda tx: cloud.put(tx, 0, "vol-2"))
    await cloud.database.run(lambda tx: cloud.put(tx, 1, "vol-3", OTHER))
    await cloud.feed._round()
    [first], [second] = cloud.sent()
    traces.stop()
    revisions = {each.id: each.revision for each in [*first.resources, *second.resources]}
    sent = {each.trace: each for each in server.named("send to host")}
    assert len(server.spans) == 2
    for state, name, trace, host_id in (
        (first, "vol-1", TRACE, cloud.hosts[0]),
        (second, "vol-3", TRACE[::-1], cloud.hosts[1]),
    ):
        [told] = state.traces
        assert (told.revision, told.traceparent) == (revisions[name], f"00-{trace}-{sent[trace].id}-01")
        assert (sent[trace].parent, sent[trace].kind) == (SPAN, 4)  # PRODUCER of the protocol
        assert sent[trace].about == {"stead.host": host_id, "stead.revision": revisions[name]}
        assert sent[trace].began < sent[trace].ended
    await cloud.database.run(lambda tx: cloud.put(tx, 0, "vol-1"))
    await cloud.feed._round()
    [[again], _] = cloud.sent()
    assert (len(again.resources), list(again.traces)) == (1, [])


async def test_a_host_is_told_whose_request_it_is_without_traces(cloud):
    await cloud.database.run(lambda tx: cloud.put(tx, 0, "vol-1", CALL, "req-1"))
    await cloud.database.run(lambda tx: cloud.put(tx, 0, "vol-2", request="req-2"))
    await cloud.database.run(lambda tx: cloud.put(tx, 0, "vol-3"))
    await cloud.feed._round()
    [[state], []] = cloud.sent()
    revisions = {each.revision: each.id for each in state.resources}
    assert [(revisions[each.revision], each.request_id, each.traceparent) for each in state.traces] == [
        ("vol-1", "req-1", ""),
        ("vol-2", "req-2", ""),
    ]


async def test_a_traced_request_has_both(cloud, server):
    await cloud.database.run(lambda tx: cloud.put(tx, 0, "vol-1", CALL, "req-1"))
    await cloud.feed._round()
    [[state], _] = cloud.sent()
    [told] = state.traces
    assert (told.request_id, told.traceparent[3:35]) == ("req-1", TRACE)
    await cloud.database.run(lambda tx: cloud.put(tx, 0, "vol-2", request="req-2"))
    await cloud.feed._round()
    [[state], _] = cloud.sent()
    assert [(each.request_id, each.traceparent) for each in state.traces] == [("req-2", "")]
    traces.stop()
    [sent] = server.named("send to host")
    assert sent.began > 10**18


async def test_all_hosts_of_a_vpc_are_told_whose_change_of_it_is(cloud, monkeypatch):
    """Not of changes that are collected: nobody asks when each host had each of them."""
    for stream in cloud.streams:
        cloud.feed._follow(stream, {"vpc-1"})
    for number, request, gathers in ((1, "req-1", False), (2, "", False), (3, "req-3", True)):
        wakes = Wakes(revision=number, request=request, gathers=gathers)
        cloud.feed.traced.note(wakes)
        cloud.feed.committed(number, gathers=gathers)
        topic = TopicNews("vpc-1", {(desired.KIND_VPC, "vpc-1"): b""}, {number})
        cloud.feed._hand_out(News(number, "e", topics={"vpc-1": topic}), number - 1)
    monkeypatch.setattr(cloud.feed._delayed, "due_in", lambda: 0)
    cloud.feed._send_delayed()
    told = [
        [[(each.revision, each.request_id) for each in state.traces] for state in states] for states in cloud.sent()
    ]
    assert told == [[[(1, "req-1")], [], []]] * 2


async def test_who_failed_to_commit_has_made_no_change_of_another(cloud):
    for request in ("req-failed", "req-1", "req-1"):
        cloud.feed.traced.note(Wakes(revision=7, request=request))
    [told] = cloud.feed.traced.take(7).told("h-1", {7})
    assert b"req-1" in told


async def test_what_is_undone_is_no_change_of_the_call(cloud, server):
    def fails(tx):
        cloud.put(tx, 0, "vol-1", CALL)
        tx.flush()
        raise ValueError

    for dry_run, change in ((True, lambda tx: cloud.put(tx, 0, "vol-1", CALL)), (False, fails)):
        try:
            await cloud.database.run(change, dry_run=dry_run)
        except ValueError:
            assert not dry_run
    await cloud.database.run(lambda tx: cloud.put(tx, 0, "vol-2"))
    await cloud.feed._round()
    [[state], _] = cloud.sent()
    assert [each.id for each in state.resources] == ["vol-2"]
    assert list(state.traces) == []


async def test_transactions_that_share_a_commit_have_each_their_trace(cloud, server):
    await asyncio.gather(
        *(cloud.database.run(lambda tx, n=n: cloud.put(tx, 0, f"vol-{n}", CALL if n % 2 else "")) for n in range(8))
    )
    await cloud.feed._round()
    [[state], _] = cloud.sent()
    revisions = {each.revision: each.id for each in state.resources}
    assert sorted(revisions[each.revision] for each in state.traces) == ["vol-1", "vol-3", "vol-5", "vol-7"]


async def test_a_commit_of_another_controller_is_told_as_well(cloud, server):
    await cloud.database.run(lambda tx: cloud.put(tx, 0, "vol-1"))
    revision = await cloud.database.run(revisions.current, writes=False)
    cloud.feed.traced.note(Wakes(revision=revision, trace=CALL))
    await cloud.feed._round()
    [[state], _] = cloud.sent()
    assert [each.revision for each in state.traces] == [revision]


def test_what_is_not_traced_or_too_much_is_not_kept(server, monkeypatch):
    changes = TracedChanges()
    changes.note(Wakes(revision=1))
    changes.note(Wakes(trace=CALL))
    changes.note(Wakes(request="req-1"))
    assert not changes.take(9)
    monkeypatch.setattr(traced_changes, "_MOST", 2)
    for revision in (1, 2, 3):
        changes.note(Wakes(revision=revision, trace=CALL))
    assert list(changes.take(1).told("h-1", {1, 2, 3}))
    later = changes.take(9)
    assert list(later.told("h-1", {2}))
    assert list(later.told("h-1", {1, 3})) == []
    changes.note(Wakes(revision=4, trace=f"00-{TRACE}-{SPAN}-00"))
    assert list(changes.take(9).told("h-1", {4})) == [], "the call is not recorded"
    assert not changes.take(9)
    traces.stop()
    changes.note(Wakes(revision=4, trace=CALL))
    assert not changes.take(9)


def test_the_report_is_the_last_part(server):
    ready, failed = (
        pb.ResourceStatus(kind=desired.KIND_VOLUME, id="vol-1", revision=7, condition=pb.CONDITION_READY),
        pb.ResourceStatus(kind=desired.KIND_MACHINE, id="i-1", revision=8, condition=pb.CONDITION_FAILED, error="why"),
    )
    progress = pb.Progress(revision=8, statuses=[ready, failed])
    for kind, name, parent in (
        (ready.kind, "vol-1", CALL),
        (failed.kind, "i-1", OTHER),
        (failed.kind, "i-2", CALL),
        (ready.kind, "i-1", CALL),
    ):
        progress.traces.add(kind=kind, id=name, traceparent=parent)
    progress.traces.add(kind=ready.kind, id="vol-1", traceparent="nonsense")
    traced_changes.record_report("h-1", progress, 17)
    traces.stop()
    assert [(each.name, each.trace, each.parent, each.began) for each in server.spans] == [
        ("store report", TRACE, SPAN, 17),
        ("store report", TRACE[::-1], SPAN, 17),
    ]
    assert [each.about for each in server.spans] == [
        {"stead.host": "h-1", "stead.id": "vol-1", "stead.revision": 7, "stead.condition": "ready"},
        {"stead.host": "h-1", "stead.id": "i-1", "stead.revision": 8, "stead.condition": "failed"},
    ]
