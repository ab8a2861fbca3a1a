"""What a host does for a traced call is in the call's trace, from the state that it was sent to what it reports."""

from collections.abc import Iterator

import pytest

from stead_agent import traced
from stead_agent.traced import TracedChanges
from stead_agent.wanted import Key
from stead_proto import traces
from stead_proto.v1 import desired_pb2 as pb
from stead_proto.v1 import host_pb2
from tests.support import desired_states as make
from tests.support import trace_server
from tests.support.trace_server import TraceServer
from tests.unit.agent.test_link import HOST, MACHINE, Rig, controller, rig

__all__ = ["controller", "rig"]  # fixtures

TRACE, SPAN = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"
CALL = f"00-{TRACE}-{SPAN}-01"
OTHER = f"00-{TRACE[::-1]}-{SPAN}-01"
VOLUME, VPC = Key(pb.KIND_VOLUME, "vol-1"), Key(pb.KIND_VPC, "vpc-1")


@pytest.fixture
def server() -> Iterator[TraceServer]:
    """What this process does is traced."""
    with trace_server.tracing() as server:
        yield server


def _state(*resources: pb.Resource, revision: int = 1, parents: tuple[str, ...] = (CALL,)) -> host_pb2.DesiredState:
    for each in resources:
        each.revision = revision
    told = [host_pb2.TracedRevision(revision=revision + n, traceparent=each) for n, each in enumerate(parents)]
    return host_pb2.DesiredState(revision=revision, resources=resources, traces=told)


def _status(key: Key, revision: int, condition: "host_pb2.Condition.ValueType") -> host_pb2.ResourceStatus:
    return host_pb2.ResourceStatus(kind=key.kind, id=key.id, revision=revision, condition=condition)


def _changes() -> TracedChanges:
    return TracedChanges(lambda key: VPC if key.kind == pb.KIND_INTERFACE else key)


async def test_a_launch_is_traced_through_the_agent(server: TraceServer, rig: Rig) -> None:
    rig.start()
    session = await rig.session()
    state = rig.controller.sender(HOST).change(make.host_network(), *make.launch())
    state.traces.add(revision=state.revision, traceparent=CALL)
    session.send(state)
    await rig.controller.until(lambda: len(session.traces) == 6, "the ends of its changes are told")
    await rig.stop()
    traces.stop()
    assert {each.trace for each in server.spans} == {TRACE}
    changes = {each.about["stead.id"]: each for each in server.spans if each.name.startswith("change ")}
    told = {each.id: each.traceparent for each in session.traces}
    assert changes.keys() == told.keys() == {"host-network", "snap-1", "vol-1", "vpc-1", "eni-1", "i-1"}
    for name, change in changes.items():
        assert (change.parent, change.kind, change.failed) == (SPAN, 5, False)  # CONSUMER of the protocol
        assert told[name] == f"00-{TRACE}-{change.id}-01"
    for work, name in (
        ("make disk", "vol-1"),
        ("make network", "eni-1"),
        ("start or stop guest", "i-1"),
        ("fetch image", "snap-1"),
    ):
        change = changes[name]
        parts = [each for each in server.named(work) if each.parent == change.id]
        assert parts, work
        assert all(change.began <= each.began + 10**6 <= each.ended + 2 * 10**6 for each in parts)
        assert all(each.ended <= change.ended and not each.failed for each in parts)
    [stored] = server.named("store desired state")
    assert stored.parent == SPAN


async def test_without_traces_here_a_traced_call_is_as_any_other(rig: Rig) -> None:
    rig.start()
    session = await rig.session()
    state = rig.controller.sender(HOST).change(make.host_network(), *make.launch())
    state.traces.add(revision=state.revision, traceparent=CALL)
    session.send(state)
    await rig.controller.until(lambda: session.revision == 1, "revision 1 is reached")
    assert session.statuses[MACHINE].condition == host_pb2.CONDITION_READY
    assert session.traces == []


def test_only_what_the_call_changed_is_traced(server: TraceServer) -> None:
    changes = _changes()
    with changes.taking(_state(make.volume("vol-1"), make.group(), parents=(CALL,))):
        pass
    mixed = _state(make.volume("vol-4"), revision=5, parents=(f"00-{TRACE}-{SPAN}-00", OTHER))
    with changes.taking(mixed):
        pass
    with changes.taking(_state(make.volume("vol-5"), revision=6, parents=(CALL,))):
        pass
    untraced = _state(make.volume("vol-6"), revision=8, parents=())
    untraced.traces.add(revision=7, traceparent=CALL)
    with changes.taking(untraced):
        pass
    assert [
        each.id
        for each in changes.reported(
            [_status(Key(pb.KIND_VOLUME, name), 9, host_pb2.CONDITION_READY) for name in ("vol-4", "vol-5", "vol-6")]
        )
    ] == ["vol-5"]
    with changes.taking(_state(make.volume("vol-2"), revision=2, parents=())):
        pass
    with changes.taking(_state(make.volume("vol-3"), revision=3, parents=("nonsense",))):
        pass
    with changes.taking(
        host_pb2.DesiredState(
            resources=[pb.Resource(id="new-kind", revision=4)],
            traces=[host_pb2.TracedRevision(revision=4, traceparent=CALL)],
        )
    ):
        pass
    assert changes._open.keys() == {VOLUME}
    for name in ("vol-1", "vol-2", "sg-1"):
        changes.worked(Key(pb.KIND_VOLUME, name), 1.0, failed=False)
    assert [each.id for each in changes.reported([_status(VOLUME, 1, host_pb2.CONDITION_READY)])] == ["vol-1"]
    traces.stop()
    assert {each.about["stead.id"] for each in server.of(TRACE) if "stead.id" in each.about} == {"vol-1", "vol-5"}


def test_a_removal_is_a_change_and_several_calls_have_each_their_trace(server: TraceServer) -> None:
    changes = _changes()
    state = host_pb2.DesiredState(revision=2)
    state.resources.add(id="eni-1", revision=1, interface=pb.Interface(vpc_id="vpc-1"))
    state.removals.add(kind=pb.KIND_INTERFACE, id="eni-2", revision=2)
    state.traces.add(revision=1, traceparent=CALL)
    state.traces.add(revision=2, traceparent=OTHER)
    with changes.taking(state):
        pass
    changes.worked(VPC, 0.5, failed=True)
    gone = Key(pb.KIND_INTERFACE, "eni-2")
    assert [each.id for each in changes.reported([_status(gone, 2, host_pb2.CONDITION_ABSENT)])] == ["eni-2"]
    traces.stop()
    assert {each.trace for each in server.named("make network")} == {TRACE, TRACE[::-1]}
    assert all(each.failed and each.about["error.type"] == "unit_failed" for each in server.named("make network"))
    assert all(0.4e9 < each.ended - each.began < 5e9 for each in server.named("make network"))
    assert [each.trace for each in server.named("change interface")] == [TRACE[::-1]]


def test_a_change_ends_with_the_status_of_its_revision(server: TraceServer) -> None:
    changes = _changes()
    with changes.taking(_state(make.volume("vol-1"), revision=2)):
        pass
    for revision, condition in ((1, host_pb2.CONDITION_READY), (2, host_pb2.CONDITION_PENDING)):
        assert changes.reported([_status(VOLUME, revision, condition)]) == []
    with changes.taking(_state(make.volume("vol-1"), revision=3, parents=(OTHER,))):
        pass
    assert len(changes.reported([_status(VOLUME, 3, host_pb2.CONDITION_FAILED)])) == 1
    assert changes.reported([_status(VOLUME, 3, host_pb2.CONDITION_READY)]) == []
    traces.stop()
    first, second = server.named("change volume")
    assert (first.trace, first.about["stead.superseded"], first.failed) == (TRACE, True, False)
    assert (second.trace, second.failed, second.about["error.type"]) == (TRACE[::-1], True, "failed")


def test_so_many_changes_are_traced_at_once_and_no_more(server: TraceServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(traced, "_MOST", 2)
    changes = _changes()
    with changes.taking(_state(*(make.volume(f"vol-{n}") for n in range(5)))):
        pass
    assert len(changes._open) == 2
