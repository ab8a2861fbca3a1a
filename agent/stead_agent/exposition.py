"""The agent's metrics of itself, for Prometheus; imported only where a port is set."""

import time
from collections import Counter as Count
from collections.abc import Callable, Iterator
from typing import Final

from prometheus_client import CollectorRegistry, Counter, Histogram, ProcessCollector
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from stead_agent.metrics.outgoing import Outgoing
from stead_agent.reconcile.loop import Reconciler
from stead_agent.wanted import Key
from stead_proto import traces
from stead_proto.metrics_page import MetricsPage
from stead_proto.v1 import desired_pb2, host_pb2

_SECONDS: Final = (0.01, 0.05, 0.1, 0.5, 1.0, 5.0, 15.0, 60.0, 300.0)
_GUESTS_SECONDS: Final = 15.0
"""How old the numbers of guests may be: all resources of the host are looked through for them."""


class Exposition:
    """The page of one agent."""

    def __init__(
        self,
        reconciler: Reconciler,
        measurements: Outgoing,
        is_connected: Callable[[], bool],
        address: tuple[str, int],
        *,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Watch the reconciler's work from now on."""
        self._reconciler = reconciler
        self._measurements = measurements
        self._is_connected = is_connected
        self._clock = clock
        self._guests: Count[str] = Count()
        self._counted: float | None = None
        registry = CollectorRegistry()
        ProcessCollector(registry=registry)
        self._seconds = Histogram(
            "stead_agent_reconcile_seconds",
            "Time to make one unit as it is wanted, waiting for a thread included.",
            ("kind",),
            buckets=_SECONDS,
            registry=registry,
        )
        self._failures = Counter(
            "stead_agent_reconcile_failures",
            "Units whose work failed; each is tried again.",
            ("kind",),
            registry=registry,
        )
        registry.register(_Numbers(self))
        reconciler.watch(self._note)
        self._page = MetricsPage(registry, *address)

    async def start(self) -> int:
        """Listen, and return the port; raises OSError."""
        return await self._page.start()

    async def stop(self) -> None:
        """Stop listening."""
        await self._page.stop()

    def _note(self, unit: Key, seconds: float, *, failed: bool) -> None:
        kind = desired_pb2.Kind.Name(unit.kind).removeprefix("KIND_").lower()
        self._seconds.labels(kind).observe(seconds)
        if failed:
            self._failures.labels(kind).inc()

    def families(self) -> Iterator[Metric]:
        """Yield what is read at each scrape."""
        reconciler = self._reconciler
        yield GaugeMetricFamily(
            "stead_agent_controller_connected",
            "Whether there is a session with a controller.",
            value=float(self._is_connected()),
        )
        yield GaugeMetricFamily(
            "stead_agent_units_running", "Units that are being worked on.", value=reconciler.running
        )
        yield GaugeMetricFamily(
            "stead_agent_resources_pending",
            "Resources that are not yet as they are wanted.",
            value=reconciler.reports.pending,
        )
        yield GaugeMetricFamily(
            "stead_agent_measurements_unsent",
            "Minutes of measurements that the controller has not stored.",
            value=len(self._measurements),
        )
        if traces.is_on():
            sent, dropped = traces.counts()
            yield CounterMetricFamily(
                "stead_agent_trace_spans_sent", "Parts of traces that their server took.", value=sent
            )
            yield CounterMetricFamily(
                "stead_agent_trace_spans_dropped",
                "Parts of traces that their server did not get, or not take.",
                value=dropped,
            )
        guests = GaugeMetricFamily(
            "stead_agent_guests", "Guests of this host, as they were last seen.", labels=("power",)
        )
        for power, number in sorted(self._count_guests().items()):
            guests.add_metric((power,), number)
        yield guests

    def _count_guests(self) -> Count[str]:
        now = self._clock()
        if self._counted is None or now - self._counted >= _GUESTS_SECONDS:
            self._counted = now
            reconciler = self._reconciler
            machines = [key for key in reconciler.wanted.resources if key.kind == desired_pb2.KIND_MACHINE]
            latest = [reconciler.reports.latest(key) for key in machines]
            self._guests = Count(_power(each) for each in latest)
        return self._guests


class _Numbers(Collector):
    """What is read at each scrape, as the library asks for it."""

    def __init__(self, exposition: Exposition) -> None:
        self._exposition = exposition

    def describe(self) -> Iterator[Metric]:
        """Yield nothing: the library need not read the numbers to know their names."""
        return iter(())

    def collect(self) -> Iterator[Metric]:
        """Yield all of them."""
        return self._exposition.families()


def _power(status: host_pb2.ResourceStatus | None) -> str:
    """Return whether a guest is on or off; it is unknown until its first status."""
    power = host_pb2.MACHINE_POWER_UNSPECIFIED if status is None else status.machine.power
    if power == host_pb2.MACHINE_POWER_UNSPECIFIED:
        return "unknown"
    return host_pb2.MachinePower.Name(power).removeprefix("MACHINE_POWER_").lower()
