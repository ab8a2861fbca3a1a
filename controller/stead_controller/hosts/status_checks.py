"""The metrics of status checks, once a minute: also of instances whose host is silent, so they come from here."""

import logging
from collections.abc import Iterator, Sequence
from functools import partial
from typing import Final

from stead_controller.catalog.metric_names import ANY_STATUS_CHECK, EC2, INSTANCE, STATUS_CHECKS
from stead_controller.clock import Clock
from stead_controller.db.session import Database
from stead_controller.metrics.datum import Datum, Identity, MetricsUnavailable, Store, single
from stead_controller.resources.instances import failed_checks
from stead_controller.resources.instances.failed_checks import FailedChecks

_log = logging.getLogger(__name__)

SECONDS: Final = 60.0
_AT_ONCE: Final = 250  # instances, of four data each: more would keep the event loop busy for long


async def write(database: Database, store: Store, clock: Clock) -> None:
    """Write the present results of all running instances' checks; a minute that cannot be stored is missing."""
    minute = int(clock().timestamp() // SECONDS * SECONDS) * 1000
    after = ""
    while True:
        read = partial(failed_checks.of_running, after=after, limit=_AT_ONCE)
        found = await database.run(read, writes=False)
        if found:
            try:
                await store.write(list(_data(found, minute)))
            except MetricsUnavailable as error:
                _log.warning("status_checks_not_stored", extra={"detail": error.detail})
                return
        if len(found) < _AT_ONCE:
            return
        after = found[-1].instance_id


def _data(found: Sequence[FailedChecks], at: int) -> Iterator[Datum]:
    for each in found:
        results = (each.instance, each.system, each.volumes)
        named = [(name, result) for name, result in zip(STATUS_CHECKS, results, strict=True) if result is not None]
        if named:
            named.append((ANY_STATUS_CHECK, any(result for _, result in named)))
        for name, result in named:
            identity = Identity(each.account_id, EC2, name, ((INSTANCE, each.instance_id),))
            yield single(identity, at, "Count", float(result))
