"""Counts the bytes that buckets keep, of those that may have changed, and bills them.

Before a bucket is written to, that is in the database, once until it is counted: so a size is counted again whatever
ends this process when, and no request but the first needs a transaction. S3 keeps, and bills, all versions, the parts
of uploads that are not complete, and the keys of delete markers:
https://docs.aws.amazon.com/AmazonS3/latest/userguide/DeleteMarker.html.
"""

import asyncio
import logging
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Final

from stead_controller.aws.app import Transactions
from stead_controller.clock import Clock
from stead_controller.errors import BadRequest
from stead_controller.object_store import listings
from stead_controller.object_store.backend import Backend
from stead_controller.object_store.forwarding import BackendRefusal
from stead_controller.resources.storage import bucket_sizes
from stead_controller.resources.storage.bucket_sizes import ToCount

SECONDS: Final = 60.0
_PAUSE: Final = 100  # times as long as counting took: a large bucket is counted less often
_GONE: Final = 404
_log = logging.getLogger(__name__)


class BucketWrites:
    """Notes which buckets are written to, in the database too."""

    def __init__(self, transactions: Transactions) -> None:
        """Take the database; nothing is noted yet."""
        self._transactions = transactions
        self._noted: dict[str, asyncio.Task[None]] = {}
        self._under_way: Counter[str] = Counter()

    @asynccontextmanager
    async def writing(self, backend_name: str) -> AsyncIterator[None]:
        """Be entered while a bucket is written to; raises what the database raises."""
        self._under_way[backend_name] += 1
        try:
            await self._note(backend_name)
            yield
        finally:
            self._under_way[backend_name] -= 1
            if not self._under_way[backend_name]:
                del self._under_way[backend_name]

    @property
    def noted(self) -> frozenset[str]:
        """The buckets that were written to since they were forgotten last."""
        return frozenset(self._noted)

    def forget(self, backend_name: str) -> bool:
        """Note it anew when it is written to again; tell False, and go on, while somebody writes to it."""
        if self._under_way[backend_name]:
            return False
        self._noted.pop(backend_name, None)
        return True

    async def _note(self, backend_name: str) -> None:
        noted = self._noted.get(backend_name)
        if noted is None or (noted.done() and (noted.cancelled() or noted.exception())):
            work = self._transactions.run(lambda tx: bucket_sizes.write_begins(tx, backend_name))
            noted = self._noted[backend_name] = asyncio.ensure_future(work)
        await asyncio.shield(noted)


class BucketCounting:
    """Counts and bills, every SECONDS."""

    def __init__(self, transactions: Transactions, backend: Backend, writes: BucketWrites, clock: Clock) -> None:
        """Take the dependencies; the server behind is not used while no bucket was written to."""
        self._transactions = transactions
        self._backend = backend
        self._writes = writes
        self._clock = clock
        self._not_before: dict[str, float] = {}

    async def run(self) -> None:
        """Count what may have changed, and bill all; what cannot be counted is logged, and tried in the next run."""
        noted, time = self._writes.noted, asyncio.get_running_loop().time
        wanted = await self._transactions.run(lambda tx: bucket_sizes.to_count(tx, noted, self._clock()), writes=False)
        for name in noted.difference(bucket.backend_name for bucket in wanted):
            self._writes.forget(name)  # it is removed, or is none of ours
        for bucket in wanted:
            started = time()
            if started < self._not_before.get(bucket.backend_name, 0):
                continue
            try:
                await self._count(bucket)
            except (BackendRefusal, BadRequest) as error:
                detail = {"bucket": bucket.backend_name, "detail": error.message}
                _log.warning("bucket_not_counted", extra=detail)
            self._not_before[bucket.backend_name] = time() + _PAUSE * (time() - started)
        self._not_before = {name: until for name, until in self._not_before.items() if until > time()}
        if await self._transactions.run(lambda tx: bucket_sizes.has_to_bill(tx, self._clock()), writes=False):
            await self._transactions.run(lambda tx: bucket_sizes.bill(tx, self._clock()))

    async def _count(self, bucket: ToCount) -> None:
        is_quiet = self._writes.forget(bucket.backend_name)
        try:
            size = await size_of(self._backend, bucket.backend_name)
        except BackendRefusal as refusal:
            if refusal.status != _GONE:
                raise
            size = 0  # it is being made, or removed
        await self._transactions.run(lambda tx: bucket_sizes.count(tx, bucket, size, self._clock(), is_quiet=is_quiet))


async def size_of(backend: Backend, backend_name: str) -> int:
    """Return the bytes that a bucket keeps; raises BackendRefusal, BackendError."""
    size = 0
    async for page in listings.versions(backend, backend_name):
        size += sum(int(each.findtext("Size", "0")) for each in page.iter("Version"))
        size += sum(len(each.findtext("Key", "").encode()) for each in page.iter("DeleteMarker"))
    begun = [
        (each.findtext("Key", ""), each.findtext("UploadId", ""))
        async for page in listings.uploads(backend, backend_name)
        for each in page.iter("Upload")
    ]
    for key, upload in begun:
        size += await _size_of_upload(backend, backend_name, key, upload)
    return size


async def _size_of_upload(backend: Backend, backend_name: str, key: str, upload: str) -> int:
    size = 0
    try:
        async for page in listings.parts(backend, backend_name, key, upload):
            size += sum(int(part.findtext("Size", "0")) for part in page.iter("Part"))
    except BackendRefusal as refusal:
        if refusal.status != _GONE:
            raise
        return 0  # it is complete, or ended: its object is counted the next time
    return size
