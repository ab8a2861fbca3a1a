"""All that the controller shows of itself, on one page.

What is in memory is read when the page is; rows are counted at most every `COUNTED_SECONDS`, and only when it is read.
Where the database does not answer, the page says so, and has all but these.
"""

import logging
import time
from collections.abc import Callable, Collection, Iterator, Mapping
from typing import Final

from prometheus_client import CollectorRegistry, ProcessCollector
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from stead_controller.aws.call_record import CallRecord
from stead_controller.clock import Clock
from stead_controller.db.session import Database
from stead_controller.errors import Unavailable
from stead_controller.exposition.counts import Counts, count
from stead_controller.exposition.requests import Requests
from stead_proto import traces
from stead_proto.metrics_page import MetricsPage

_log = logging.getLogger(__name__)

COUNTED_SECONDS: Final = 15.0
_PATIENCE_SECONDS: Final = 3.0  # Prometheus waits for ten


class Exposition:
    """The page of one controller; `note` each call that ends."""

    def __init__(
        self,
        database: Database,
        clock: Clock,
        *,
        address: tuple[str, int],
        operations: Collection[tuple[str, str]],
        queues: Mapping[str, Callable[[], int]],
        connected: Callable[[], int],
        dropped: Callable[[], int],
        has_database: Callable[[], bool],
    ) -> None:
        """Take where numbers come from, called at each scrape.

        `queues` are how long each queue is, by its name, `connected` is how many hosts have a stream to this
        controller, `dropped` how many records of calls were dropped since the start, `has_database` whether the
        database answers.
        """
        self._database = database
        self._clock = clock
        self._queues = queues
        self._connected = connected
        self._dropped = dropped
        self._has_database = has_database
        self._counts: Counts | None = None
        self._counted = 0.0
        registry = CollectorRegistry()
        ProcessCollector(registry=registry)
        self._requests = Requests(registry, operations)
        registry.register(_Numbers(self))
        self._page = MetricsPage(registry, *address, prepare=self._count)

    async def start(self) -> int:
        """Listen, and return the port; 0 where that is not possible, which keeps nobody from calling the APIs."""
        try:
            return await self._page.start()
        except OSError as error:
            _log.warning("prometheus_page_not_served", extra={"reason": str(error)})
            return 0

    async def stop(self) -> None:
        """Stop listening."""
        await self._page.stop()

    def note(self, call: CallRecord) -> None:
        """Count a call that has ended."""
        self._requests.note(call)

    async def _count(self) -> None:
        if self._counts is None or time.monotonic() - self._counted >= COUNTED_SECONDS:
            self._counted = time.monotonic()  # before the count, so that who asks meanwhile does not count too
            self._counts = await self._counted_now() if self._has_database() else None

    async def _counted_now(self) -> Counts | None:
        """Count rows; None where the database does not answer."""
        try:
            return await self._database.run(
                lambda tx: count(tx, self._clock()), writes=False, answered_within=_PATIENCE_SECONDS
            )
        except Unavailable:
            return None

    def families(self) -> Iterator[Metric]:
        """Yield the numbers that nobody counts up: they are read now, or were counted in the last seconds."""
        yield _gauge("stead_queue_length", "What waits or is being worked on.", "queue", {
            name: length() for name, length in self._queues.items()
        })  # fmt: skip
        yield GaugeMetricFamily(
            "stead_hosts_connected", "Hosts with a stream to this controller.", value=self._connected()
        )
        yield GaugeMetricFamily(
            "stead_database_connected", "Whether the database answers.", value=float(self._has_database())
        )
        yield CounterMetricFamily(
            "stead_writes_refused",
            "Calls that were refused, since they would have waited too long for the database.",
            value=self._database.refused,
        )
        yield CounterMetricFamily(
            "stead_audit_records_dropped", "Records of calls that no longer fitted in memory.", value=self._dropped()
        )
        if traces.is_on():
            sent, dropped = traces.counts()
            yield CounterMetricFamily("stead_trace_spans_sent", "Parts of traces that their server took.", value=sent)
            yield CounterMetricFamily(
                "stead_trace_spans_dropped",
                "Parts of traces that their server did not get, or not take.",
                value=dropped,
            )
        counts = self._counts
        if counts is None:
            return
        yield _gauge("stead_hosts", "Hosts of the cloud.", "state", counts.hosts)
        yield GaugeMetricFamily(
            "stead_hosts_cordoned", "Hosts that take no new instances.", value=counts.hosts_cordoned
        )
        yield GaugeMetricFamily(
            "stead_hosts_behind", "Hosts that have not done all that they were sent.", value=counts.hosts_behind
        )
        yield _gauge("stead_instances", "Instances of all accounts.", "state", counts.instances)
        workflows = counts.workflows.items()
        yield _gauge("stead_workflows", "Work that goes on after its call was answered.", "kind", {
            kind: each.number for kind, each in workflows
        })  # fmt: skip
        yield _gauge("stead_workflow_oldest_seconds", "Age of the oldest of them.", "kind", {
            kind: each.oldest for kind, each in workflows
        })  # fmt: skip
        yield _gauge("stead_workflows_failing", "Those whose last try failed.", "kind", {
            kind: each.failing for kind, each in workflows
        })  # fmt: skip


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


def _gauge(name: str, help_text: str, label: str, values: Mapping[str, float]) -> GaugeMetricFamily:
    family = GaugeMetricFamily(name, help_text, labels=(label,))
    for value, number in sorted(values.items()):
        family.add_metric((value,), number)
    return family
