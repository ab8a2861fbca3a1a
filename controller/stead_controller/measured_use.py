"""Bills what no change of a resource tells: requests, and what buckets keep; each has its own loop."""

from collections.abc import Awaitable, Callable, Iterator, Sequence

from stead_controller.audit.files import AuditFiles
from stead_controller.clock import Clock
from stead_controller.db.session import Database
from stead_controller.object_store import bucket_counting, object_usage
from stead_controller.object_store.backend import Backend
from stead_controller.object_store.bucket_counting import BucketCounting, BucketWrites
from stead_controller.object_store.object_usage import ObjectUsage


class MeasuredUse:
    """What is to be done, and how often."""

    def __init__(
        self, database: Database, files: Sequence[AuditFiles], objects: Backend, writes: BucketWrites, clock: Clock
    ) -> None:
        """Take what is asked; nothing is asked yet."""
        self._requests = ObjectUsage(database, files, clock)
        self._buckets = BucketCounting(database, objects, writes, clock)

    def loops(self) -> Iterator[tuple[float, Callable[[], Awaitable[None]]]]:
        """Yield each work, and after how many seconds it is done again."""
        yield object_usage.SECONDS, self._requests.run
        yield bucket_counting.SECONDS, self._buckets.run
