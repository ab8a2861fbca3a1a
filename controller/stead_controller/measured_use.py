"""Bills what no change of a resource tells: requests, what buckets keep, metrics of one's own; each by a loop."""

from collections.abc import Awaitable, Callable, Iterator, Sequence

from stead_controller.audit.files import AuditFiles
from stead_controller.clock import Clock
from stead_controller.db.session import Database
from stead_controller.metrics.datum import Store
from stead_controller.object_store import bucket_counting, object_usage
from stead_controller.object_store.backend import Backend
from stead_controller.object_store.bucket_counting import BucketCounting, BucketWrites
from stead_controller.object_store.object_usage import ObjectUsage
from stead_controller.workflows import metric_usage
from stead_controller.workflows.metric_usage import MetricUsage


class MeasuredUse:
    """What is to be done, and how often."""

    def __init__(
        self,
        database: Database,
        clock: Clock,
        files: Sequence[AuditFiles],
        objects: tuple[Backend, BucketWrites],
        metrics: Store,
    ) -> None:
        """Take what is asked; nothing is asked yet."""
        self._requests = ObjectUsage(database, files, clock)
        self._metrics = MetricUsage(database, metrics, clock)
        self._buckets = BucketCounting(database, *objects, clock)

    def loops(self) -> Iterator[tuple[float, Callable[[], Awaitable[None]]]]:
        """Yield each work, and after how many seconds it is done again."""
        yield object_usage.SECONDS, self._requests.run
        yield metric_usage.SECONDS, self._metrics.run
        yield bucket_counting.SECONDS, self._buckets.run
