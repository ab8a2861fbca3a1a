"""The agent's page: what its reconciler does, and the guests that it has seen."""

import asyncio
import urllib.request

import pytest

from stead_agent.exposition import Exposition
from stead_agent.metrics.outgoing import Outgoing
from stead_agent.reconcile.loop import Failure, perform
from stead_proto import traces
from stead_proto.v1.host_pb2 import Measured, Measurements
from tests.support import desired_states as make
from tests.support import trace_server
from tests.support.simulated_agent import Bench
from tests.support.waiting import wait_for


class _Shown:
    """A bench and the page of its agent, with a clock of its own."""

    def __init__(self) -> None:
        self.bench = Bench()
        self.outgoing = Outgoing()
        self.connected = False
        self.now = 100.0
        self.page = Exposition(
            self.bench.reconciler, self.outgoing, lambda: self.connected, ("127.0.0.1", 0), clock=lambda: self.now
        )

    def read(self) -> set[str]:
        """The lines of the page."""

        async def get() -> str:
            port = await self.page.start()
            try:
                return await asyncio.to_thread(_get, port)
            finally:
                await self.page.stop()

        return set(asyncio.run(get()).splitlines())


def _get(port: int) -> str:
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=60) as answer:
        return str(answer.read().decode())


@pytest.fixture
def shown() -> _Shown:
    return _Shown()


def test_parts_of_traces_are_counted_where_there_are_any(shown: _Shown) -> None:
    assert not [line for line in shown.read() if "trace_spans" in line]
    with trace_server.tracing():
        call = traces.begin("call")
        assert call is not None
        call.end()
        wait_for(lambda: traces.counts() == (1, 0), "it is sent", 10)
        lines = shown.read()
    assert {"stead_agent_trace_spans_sent_total 1.0", "stead_agent_trace_spans_dropped_total 0.0"} <= lines


def test_a_launch_is_seen(shown: _Shown) -> None:
    lines = shown.read()
    assert {
        "stead_agent_controller_connected 0.0",
        "stead_agent_units_running 0.0",
        "stead_agent_resources_pending 0.0",
        "stead_agent_measurements_unsent 0.0",
    } <= lines

    launched = make.launch()
    shown.bench.tell(make.Sender().change(make.host_network(), *launched, full=True))
    work = shown.bench.reconciler.begin()
    assert work is not None
    shown.connected = True
    shown.outgoing.put(Measurements(measured=[Measured(id="i-1")]))
    lines = shown.read()
    pending = f"stead_agent_resources_pending {1.0 + len(launched)}"
    assert {
        "stead_agent_controller_connected 1.0",
        "stead_agent_units_running 1.0",
        pending,
        "stead_agent_measurements_unsent 1.0",
    } <= lines

    shown.bench.clock.step(7.0)
    shown.bench.reconciler.finish(work, perform(work))
    shown.bench.work()
    shown.now += 15.0
    lines = shown.read()
    assert {
        'stead_agent_reconcile_seconds_bucket{kind="host_network",le="5.0"} 0.0',
        'stead_agent_reconcile_seconds_bucket{kind="host_network",le="15.0"} 1.0',
        'stead_agent_guests{power="running"} 1.0',
        "stead_agent_units_running 0.0",
        "stead_agent_resources_pending 0.0",
    } <= lines
    assert not any(line.startswith("stead_agent_reconcile_failures_total{") for line in lines)


def test_guests_are_counted_now_and_then(shown: _Shown) -> None:
    assert not _guests(shown)
    shown.bench.tell(make.Sender().change(make.host_network(), *make.launch(), full=True))
    shown.now += 14.9
    assert not _guests(shown)
    shown.now += 0.1
    assert _guests(shown) == {'stead_agent_guests{power="unknown"} 1.0'}


def test_a_failure_is_counted(shown: _Shown) -> None:
    shown.bench.tell(make.Sender().change(make.host_network(), full=True))
    work = shown.bench.reconciler.begin()
    assert work is not None
    shown.bench.reconciler.finish(work, Failure(OSError("the disk is gone")))
    assert 'stead_agent_reconcile_failures_total{kind="host_network"} 1.0' in shown.read()


def _guests(shown: _Shown) -> set[str]:
    return {line for line in shown.read() if line.startswith("stead_agent_guests{")}
