"""What hosts measure becomes data of CloudWatch's metrics, of the account that has the instance or the volume."""

import asyncio
import logging
import math
import time
from collections.abc import Iterator, Mapping, Sequence
from typing import Final

from sqlalchemy import select

from stead_controller.catalog.metric_names import EBS, EC2, INSTANCE, OF_INSTANCES, OF_VOLUMES, VOLUME
from stead_controller.clock import Clock
from stead_controller.db.session import Database, Transaction
from stead_controller.db.tables import Instance, Volume
from stead_controller.metrics.datum import Datum, Identity, MetricsUnavailable, Store, single
from stead_proto.v1 import host_pb2 as pb

_log = logging.getLogger(__name__)

_LATE_MILLISECONDS: Final = 2 * 3_600_000
_EARLY_MILLISECONDS: Final = 300_000
_AT_ONCE: Final = 500
_KNOWN_SECONDS: Final = 300.0


class MeasurementIntake:
    """Stores the measurements of all hosts."""

    def __init__(self, database: Database, store: Store, clock: Clock) -> None:
        """Take where the owners are known, and where data go."""
        self._database = database
        self._store = store
        self._clock = clock
        self._fails = False
        self._writing = asyncio.Semaphore(4)
        self._owners: dict[str, tuple[float, Mapping[str, str]]] = {}  # by host: until when it counts, and the accounts

    async def take(self, host_id: str, measurements: pb.Measurements) -> bool:
        """Store what a host measured; False if it must send it again later."""
        ids = [measured.id for measured in measurements.measured]
        owners = await self._owners_of(host_id, ids)
        now = int(self._clock().timestamp() * 1000)
        data = [datum for measured in measurements.measured for datum in _data(measured, owners, now)]
        try:
            async with self._writing:
                await self._store.write(data)
        except MetricsUnavailable as error:
            if not self._fails:
                _log.error("measurements_not_stored", extra={"host": host_id, "detail": error.detail})
            self._fails = True
            return False
        if self._fails:
            _log.info("measurements_stored_again")
        self._fails = False
        return True

    async def _owners_of(self, host_id: str, ids: Sequence[str]) -> Mapping[str, str]:
        """Return the accounts of what a host may speak of; asked again after some minutes, or when it has others."""
        until, known = self._owners.get(host_id, (0.0, {}))
        if time.monotonic() < until and all(each in known for each in ids):
            return known
        found = await self._database.run(lambda tx: _owners(tx, host_id, ids), writes=False)
        self._owners[host_id] = time.monotonic() + _KNOWN_SECONDS, found
        return found


def _owners(tx: Transaction, host_id: str, ids: Sequence[str]) -> Mapping[str, str]:
    """Return the accounts of those instances and volumes that this host may speak of: its guests', and theirs."""
    found: dict[str, str] = {}
    for first in range(0, len(ids), _AT_ONCE):
        some = ids[first : first + _AT_ONCE]
        instances = select(Instance.id, Instance.account_id).where(Instance.id.in_(some), Instance.host_id == host_id)
        volumes = select(Volume.id, Volume.account_id).where(Volume.id.in_(some), Volume.attached_host_id == host_id)
        for query in (instances, volumes):
            found.update((id_, account_id) for id_, account_id in tx.session.execute(query))
    return found


def _data(measured: pb.Measured, owners: Mapping[str, str], now: int) -> Iterator[Datum]:
    """Yield the data of one instance or volume; nothing of what this controller does not know, or of a wrong time."""
    account = owners.get(measured.id)
    if account is None or not now - _LATE_MILLISECONDS <= measured.at <= now + _EARLY_MILLISECONDS:
        return
    is_volume = measured.id.startswith("vol-")
    namespace, dimension, names = (EBS, VOLUME, OF_VOLUMES) if is_volume else (EC2, INSTANCE, OF_INSTANCES)
    for metric, value in zip(measured.metrics, measured.values, strict=False):
        known = names.get(metric)
        if known is not None and math.isfinite(value) and value >= 0:
            name, unit = known
            yield single(Identity(account, namespace, name, ((dimension, measured.id),)), measured.at, unit, value)
