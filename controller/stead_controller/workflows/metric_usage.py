"""Counts the metrics of accounts' own that have data, each five minutes, and bills them."""

import logging
from functools import partial
from typing import Final

from stead_controller.clock import Clock
from stead_controller.db.session import Database
from stead_controller.metrics.datum import MetricsUnavailable, Store
from stead_controller.resources.metrics import own_metrics
from stead_controller.resources.metrics.own_metrics import HOUR

SECONDS: Final = 300.0
_log = logging.getLogger(__name__)


class MetricUsage:
    """Asks the store of metrics, unless nobody has put data."""

    def __init__(self, database: Database, store: Store, clock: Clock) -> None:
        """Take the dependencies; nothing is asked yet."""
        self._database = database
        self._store = store
        self._clock = clock

    async def run(self) -> None:
        """Bill what has data in the last hour and in this one; what cannot be counted is counted the next time."""
        now = self._clock()
        if not await self._database.run(lambda tx: own_metrics.has_put(tx, now), writes=False):
            return
        this = int(now.timestamp()) // HOUR
        try:
            for hour in (this - 1, this):
                counts = await self._store.count(hour * HOUR * 1000, (hour + 1) * HOUR * 1000)
                if counts:
                    await self._database.run(partial(own_metrics.bill, hour=hour, counts=counts, now=now))
        except MetricsUnavailable as error:
            _log.warning("metrics_not_counted", extra={"detail": error.detail})
