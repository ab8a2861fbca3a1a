"""Logs of a host name the calls of the API that its work is for."""

import asyncio
import json
import logging
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from stead_agent import logs
from stead_agent.machines.interface import MachineError
from stead_agent.reconcile import requests
from stead_agent.reconcile.loop import perform
from stead_agent.reconcile.requests import Requests
from stead_agent.wanted import Key
from stead_proto.v1 import desired_pb2 as pb
from stead_proto.v1 import host_pb2
from tests.support import desired_states as make
from tests.support.simulated_agent import Bench

MACHINE, VOLUME, VPC = Key(pb.KIND_MACHINE, "i-1"), Key(pb.KIND_VOLUME, "vol-1"), Key(pb.KIND_VPC, "vpc-1")


class Lines(logging.Handler):
    """What is logged, as the agent writes it."""

    def __init__(self) -> None:
        super().__init__()
        self.setFormatter(logs._Lines(as_json=True))
        self.all: list[dict[str, object]] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.all.append(json.loads(self.format(record)))

    def take(self, *events: str) -> list[tuple[object, object]]:
        """Return the subjects and requests of some events since the last time, in order."""
        taken, self.all = self.all, []
        return [(one.get("unit", one.get("machine")), one.get("request")) for one in taken if one["event"] in events]


@pytest.fixture
def log(caplog: pytest.LogCaptureFixture) -> Iterator[Lines]:
    """All that is logged."""
    caplog.set_level(logging.INFO)
    lines = Lines()
    logging.getLogger().addHandler(lines)
    yield lines
    logging.getLogger().removeHandler(lines)


def _told(state: host_pb2.DesiredState, request: str) -> host_pb2.DesiredState:
    state.traces.add(revision=state.revision, request_id=request)
    return state


def test_what_a_launch_does_names_its_request(log: Lines) -> None:
    bench, sender = Bench(), make.Sender()
    bench.settle(_told(sender.change(make.host_network(), *make.launch(), full=True), "req-1"))
    assert {one["request"] for one in log.all if one["event"] == "volume_made"} == {"req-1"}
    done = log.take("machine_started", "change_made")
    assert {subject for subject, _ in done} == {"host-network", "snap-1", "vol-1", "vpc-1", "i-1"}
    assert {request for _, request in done} == {"req-1"}
    assert done[-2:] == [("i-1", "req-1")] * 2
    bench.settle(sender.change(gone=(MACHINE,)))
    assert log.take("machine_removed", "change_made") == [("i-1", None)]


def test_what_fails_names_its_request_until_it_is_made(log: Lines) -> None:
    bench, sender = Bench(), make.Sender()
    bench.host.fail_next("machines.start", MachineError("no"), times=2)
    bench.settle(_told(sender.change(make.host_network(), *make.launch(), full=True), "req-1"))
    last = log.take("unit_failed", "machine_started", "change_made")[-4:]
    assert last == [("i-1", "req-1")] * 4


def test_a_removal_is_somebodys_too(log: Lines) -> None:
    bench, sender = Bench(), make.Sender()
    bench.settle(sender.change(make.host_network(), *make.launch(), full=True))
    assert log.take("change_made") == []
    bench.settle(_told(sender.change(gone=(MACHINE,)), "req-2"))
    assert log.take("machine_removed", "change_made") == [("i-1", "req-2")] * 2


async def test_it_is_so_with_threads_and_for_what_changes_while_it_is_worked_on(log: Lines) -> None:
    bench, sender = Bench(), make.Sender()
    bench.tell(_told(sender.change(make.host_network(), *make.launch(), full=True), "req-1"))
    while (work := bench.reconciler.begin()) is not None and work.unit != VOLUME:
        bench.reconciler.finish(work, perform(work))
    assert work is not None
    bench.tell(_told(sender.change(make.volume("vol-1", size=2 * make.GIB)), "req-2"))
    bench.reconciler.finish(work, perform(work))
    assert VOLUME.id not in dict(log.take("change_made"))  # the second change is not made yet
    started = asyncio.Event()
    bench.reconciler.watch(lambda unit, _, failed: started.set() if unit == MACHINE and bench.host.running() else None)
    with ThreadPoolExecutor(1) as pool:
        running = asyncio.create_task(bench.reconciler.run(pool))
        await started.wait()
        running.cancel()
    assert log.take("machine_started") == [("i-1", "req-1")]


def _state(*resources: pb.Resource, revision: int, request: str) -> host_pb2.DesiredState:
    for each in resources:
        each.revision = revision
    told = host_pb2.TracedRevision(revision=revision, request_id=request)
    return host_pb2.DesiredState(revision=revision, resources=resources, traces=[told])


def test_a_unit_may_be_changed_by_several_calls_and_knows_the_last(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(requests, "_MOST_OF_UNIT", 2)
    known = Requests()
    for number, request in enumerate(("req-1", "req-2", "req-2", "req-3")):
        known.take(_state(make.volume("vol-1"), revision=number + 1, request=request), lambda _: VPC)
    assert (known.of(VOLUME), known.of(VPC)) == ("", "req-2,req-3")
    assert (known.settle(VPC), known.settle(VPC), known.of(VPC)) == ("req-2,req-3", "", "")


def test_what_is_no_work_or_nobodys_is_not_kept() -> None:
    known = Requests()
    known.take(_state(make.volume("vol-1"), revision=1, request="req-1"), lambda _: None)
    known.take(_state(make.volume("vol-1"), revision=2, request=""), lambda key: key)
    other = _state(make.volume("vol-1"), revision=3, request="req-3")
    other.traces[0].revision = 2
    known.take(other, lambda key: key)
    assert known.of(VOLUME) == ""
    known.take(_state(make.volume("vol-1"), revision=4, request="req-4"), lambda key: key)
    assert known.of(VOLUME) == "req-4"
    known.take(_state(pb.Resource(id="of another release"), revision=5, request="req-5"), lambda _: VPC)
    assert known.of(VPC) == ""


def test_the_oldest_are_forgotten(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(requests, "_MOST", 2)
    known = Requests()
    for number in (1, 2, 3):
        known.take(_state(make.volume(f"vol-{number}"), revision=number, request=f"req-{number}"), lambda key: key)
    assert [known.of(Key(pb.KIND_VOLUME, f"vol-{number}")) for number in (1, 2, 3)] == ["", "req-2", "req-3"]
