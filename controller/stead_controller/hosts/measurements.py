"""What hosts measure becomes data of CloudWatch's metrics, of the account that has what was measured."""

import asyncio
import logging
import math
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from sqlalchemy import select

from stead_controller.catalog.metric_names import (
    EBS,
    EC2,
    GROUP,
    INSTANCE,
    NAT,
    NAT_GATEWAY,
    OF_INSTANCES,
    OF_NAT_GATEWAYS,
    OF_VOLUMES,
    VOLUME,
)
from stead_controller.clock import Clock
from stead_controller.db.session import Database, Transaction
from stead_controller.db.tables import Instance, NatGateway, ScalingGroup, ScalingInstance, Volume
from stead_controller.hosts import traffic
from stead_controller.metrics.datum import Datum, Identity, MetricsUnavailable, Store, single
from stead_proto.v1 import host_pb2 as pb

_log = logging.getLogger(__name__)

_LATE_MILLISECONDS: Final = 2 * 3_600_000
_EARLY_MILLISECONDS: Final = 300_000
_AT_ONCE: Final = 500
_KNOWN_SECONDS: Final = 60.0
_IN_SERVICE: Final = "InService"
_KINDS: Final[Mapping[str, tuple[str, str, Mapping[int, tuple[str, str]]]]] = {
    "i": (EC2, INSTANCE, OF_INSTANCES),
    "vol": (EBS, VOLUME, OF_VOLUMES),
    "nat": (NAT, NAT_GATEWAY, OF_NAT_GATEWAYS),
}
"""Namespace, dimension and metrics by what an id begins with."""


@dataclass(frozen=True, slots=True)
class _Owner:
    """The account of what was measured; and the group that an instance counts for, from a time on."""

    account_id: str
    group: str | None = None
    counts_from: datetime | None = None

    def counts(self, at: int) -> bool:
        """Tell whether what was measured at a time, in milliseconds, counts for the group."""
        return self.counts_from is not None and at >= self.counts_from.timestamp() * 1000


class MeasurementIntake:
    """Stores the measurements of all hosts."""

    def __init__(self, database: Database, store: Store, clock: Clock) -> None:
        """Take where the owners are known, and where data go."""
        self._database = database
        self._store = store
        self._clock = clock
        self._fails = False
        self._writing = asyncio.Semaphore(4)
        self._owners: dict[str, tuple[float, Mapping[str, _Owner]]] = {}  # by host: until when it counts, and what

    async def take(self, host_id: str, measurements: pb.Measurements) -> bool:
        """Store what a host measured, and bill what passed; False if it must send it again later."""
        if measurements.passed:
            await self._database.run(lambda tx: traffic.bill(tx, host_id, measurements, self._clock()))
        ids = [measured.id for measured in measurements.measured]
        owners = await self._owners_of(host_id, ids)
        now = int(self._clock().timestamp() * 1000)
        data = [datum for measured in measurements.measured for datum in _data(measured, owners, now)]
        data += _of_groups(host_id, data, owners)
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

    async def _owners_of(self, host_id: str, ids: Sequence[str]) -> Mapping[str, _Owner]:
        """Return the owners of what a host may speak of; asked again after a minute, or when it has others."""
        until, known = self._owners.get(host_id, (0.0, {}))
        if time.monotonic() < until and all(each in known for each in ids):
            return known
        found = await self._database.run(lambda tx: _owners(tx, host_id, ids), writes=False)
        self._owners[host_id] = time.monotonic() + _KNOWN_SECONDS, found
        return found


def _owners(tx: Transaction, host_id: str, ids: Sequence[str]) -> Mapping[str, _Owner]:
    """Return the owners of what this host may speak of: its guests, their volumes, and its NAT gateways."""
    found: dict[str, _Owner] = {}
    for first in range(0, len(ids), _AT_ONCE):
        some = ids[first : first + _AT_ONCE]
        volumes = select(Volume.id, Volume.account_id).where(Volume.id.in_(some), Volume.attached_host_id == host_id)
        found.update((id_, _Owner(account_id)) for id_, account_id in tx.session.execute(volumes))
        instances = select(Instance.id, Instance.account_id).where(Instance.id.in_(some), Instance.host_id == host_id)
        found.update((id_, _Owner(account_id)) for id_, account_id in tx.session.execute(instances))
        if gateways := [id_ for id_ in some if id_.startswith("nat-")]:
            query = select(NatGateway.id, NatGateway.account_id)
            query = query.where(NatGateway.id.in_(gateways), NatGateway.host_id == host_id)
            found.update((id_, _Owner(account_id)) for id_, account_id in tx.session.execute(query))
        found.update(_members(tx, found, some))
    return found


def _members(tx: Transaction, known: Mapping[str, _Owner], ids: Sequence[str]) -> Iterator[tuple[str, _Owner]]:
    """Yield the instances that are in service in a group; each counts when the group's warm-up is over."""
    columns = ScalingInstance.instance_id, ScalingInstance.in_service, ScalingGroup.name, ScalingGroup.warmup
    query = select(*columns).join(ScalingGroup, ScalingGroup.id == ScalingInstance.group_id)
    in_service = ScalingInstance.lifecycle_state == _IN_SERVICE
    for id_, since, group, warmup in tx.session.execute(query.where(ScalingInstance.instance_id.in_(ids), in_service)):
        if id_ in known and since is not None:
            yield id_, _Owner(known[id_].account_id, group, since + timedelta(seconds=warmup or 0))


def _of_groups(host_id: str, data: Sequence[Datum], owners: Mapping[str, _Owner]) -> Iterator[Datum]:
    """Yield what a host knows of the metrics of groups: a statistic set of its instances that count for each."""
    values: dict[tuple[Identity, int, str], list[float]] = {}
    for datum in data:
        [(dimension, id_)] = datum.identity.dimensions
        owner = owners[id_]
        if dimension == INSTANCE and owner.group is not None and owner.counts(datum.at):
            identity = Identity(owner.account_id, EC2, datum.identity.name, ((GROUP, owner.group),))
            values.setdefault((identity, datum.at, datum.unit), []).append(datum.total)
    for (identity, at, unit), some in values.items():
        yield Datum(identity, at, unit, 60, len(some), sum(some), min(some), max(some), source=host_id)


def _data(measured: pb.Measured, owners: Mapping[str, _Owner], now: int) -> Iterator[Datum]:
    """Yield the data of one id; nothing of what this controller does not know, or of a wrong time."""
    owner = owners.get(measured.id)
    if owner is None or not now - _LATE_MILLISECONDS <= measured.at <= now + _EARLY_MILLISECONDS:
        return
    namespace, dimension, names = _KINDS[measured.id.partition("-")[0]]
    for metric, value in zip(measured.metrics, measured.values, strict=False):
        known = names.get(metric)
        if known is not None and math.isfinite(value) and value >= 0:
            name, unit = known
            yield single(
                Identity(owner.account_id, namespace, name, ((dimension, measured.id),)), measured.at, unit, value
            )
