"""Bills what no change of a resource tells, by loops: requests, what buckets keep, metrics; and folds old amounts."""

from collections.abc import Awaitable, Callable, Iterator, Sequence
from typing import Final

from stead_controller.audit.files import AuditFiles
from stead_controller.clock import Clock
from stead_controller.db.session import Database
from stead_controller.metering import folded_amounts
from stead_controller.metrics.datum import Store
from stead_controller.object_store import bucket_counting, object_usage
from stead_controller.object_store.backend import Backend
from stead_controller.object_store.bucket_counting import BucketCounting, BucketWrites
from stead_controller.object_store.object_usage import ObjectUsage
from stead_controller.workflows import metric_usage
from stead_controller.workflows.metric_usage import MetricUsage

_FOLDING_SECONDS: Final = 3600.0


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
        self._database = database
        self._clock = clock
        self._requests = ObjectUsage(database, files, clock)
        self._metrics = MetricUsage(database, metrics, clock)
        self._buckets = BucketCounting(database, *objects, clock)

    def loops(self) -> Iterator[tuple[float, Callable[[], Awaitable[None]]]]:
        """Yield each work, and after how many seconds it is done again."""
        yield object_usage.SECONDS, self._requests.run
        yield metric_usage.SECONDS, self._metrics.run
        yield _FOLDING_SECONDS, self._fold
        yield bucket_counting.SECONDS, self._buckets.run

    async def _fold(self) -> None:
        """Fold old amounts; others' transactions come between."""
        while await self._database.run(lambda tx: folded_amounts.fold(tx, self._clock())):
            pass
