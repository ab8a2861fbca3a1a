"""What hosts measure becomes data of CloudWatch's metrics, of the account that has what was measured.

Each host tells once a minute. What several have told meanwhile is looked up and written together: with 1,000 hosts a
query and a request to the engine for each of them would cost more than their data.
"""

import asyncio
import logging
import math
import time
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import lru_cache
from typing import Any, Final

from sqlalchemy import BindParameter, bindparam, select

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
from stead_controller.db.prepared import Prepared
from stead_controller.db.session import Database, Transaction
from stead_controller.db.tables import Instance, NatGateway, ScalingGroup, ScalingInstance, Volume
from stead_controller.hosts import traffic
from stead_controller.metrics.datum import Datum, Identity, MetricsUnavailable, Store, single
from stead_proto.v1 import host_pb2 as pb

_log = logging.getLogger(__name__)

_LATE_MILLISECONDS: Final = 2 * 3_600_000
_EARLY_MILLISECONDS: Final = 300_000
_AT_ONCE: Final = 500
_TOGETHER: Final = 200  # of what is measured: more would keep the event loop busy for long
_KNOWN_SECONDS: Final = 60.0
_MOST_ACCOUNTS: Final = 1024
_IN_SERVICE: Final = "InService"
_KINDS: Final[Mapping[str, tuple[str, str, Mapping[int, tuple[str, str]]]]] = {
    "i": (EC2, INSTANCE, OF_INSTANCES),
    "vol": (EBS, VOLUME, OF_VOLUMES),
    "nat": (NAT, NAT_GATEWAY, OF_NAT_GATEWAYS),
}
"""Namespace, dimension and metrics by what an id begins with."""
# Asked for each host each minute, of as many ids as it has: compiled once.
_IDS: Final[BindParameter[Any]] = bindparam("ids", expanding=True)
_VOLUMES: Final = Prepared(select(Volume.id, Volume.attached_host_id, Volume.account_id).where(Volume.id.in_(_IDS)))
_INSTANCES: Final = Prepared(select(Instance.id, Instance.host_id, Instance.account_id).where(Instance.id.in_(_IDS)))
_GATEWAYS: Final = Prepared(
    select(NatGateway.id, NatGateway.host_id, NatGateway.account_id).where(NatGateway.id.in_(_IDS))
)
_MEMBERS: Final = Prepared(
    select(ScalingInstance.instance_id, ScalingInstance.in_service, ScalingGroup.name, ScalingGroup.warmup)
    .join(ScalingGroup, ScalingGroup.id == ScalingInstance.group_id)
    .where(ScalingInstance.instance_id.in_(_IDS), ScalingInstance.lifecycle_state == _IN_SERVICE)
)


@dataclass(frozen=True, slots=True)
class _Owner:
    """The account of what was measured; and the group that an instance counts for, from a time on."""

    account_id: str
    group: str | None = None
    counts_from: datetime | None = None

    def counts(self, at: int) -> bool:
        """Tell whether what was measured at a time, in milliseconds, counts for the group."""
        return self.counts_from is not None and at >= self.counts_from.timestamp() * 1000


@lru_cache(_MOST_ACCOUNTS)
def _owned_by(account_id: str) -> _Owner:
    """Return the same object for all that an account has and that counts for no group, of which there is much."""
    return _Owner(account_id)


@dataclass(frozen=True, slots=True)
class _Told:
    """What a host has told, and who waits for it to be stored."""

    host_id: str
    measured: Sequence[pb.Measured]
    stored: asyncio.Future[bool]

    @property
    def ids(self) -> list[str]:
        """The ids of what was measured."""
        return [each.id for each in self.measured]


class MeasurementIntake:
    """Stores the measurements of all hosts; to be used on one event loop."""

    def __init__(self, database: Database, store: Store, clock: Clock) -> None:
        """Take where the owners are known, and where data go."""
        self._database = database
        self._store = store
        self._clock = clock
        self._fails = False
        self._waiting: deque[_Told] = deque()
        self._worker: asyncio.Task[None] | None = None
        self._owners: dict[str, tuple[float, Mapping[str, _Owner]]] = {}  # by host: until when it counts, and what

    async def take(self, host_id: str, measurements: pb.Measurements) -> bool:
        """Store what a host measured, and bill what passed; False if it must send it again later."""
        if measurements.passed:
            await self._database.run(lambda tx: traffic.bill(tx, host_id, measurements, self._clock()))
        stored: asyncio.Future[bool] = asyncio.get_running_loop().create_future()
        self._waiting.append(_Told(host_id, measurements.measured, stored))
        if self._worker is None or self._worker.done():
            self._worker = asyncio.create_task(self._work())
        return await stored

    async def _work(self) -> None:
        while self._waiting:
            some = [self._waiting.popleft()]
            count = len(some[0].measured)
            while self._waiting and count + len(self._waiting[0].measured) <= _TOGETHER:
                some.append(self._waiting.popleft())
                count += len(some[-1].measured)
            try:
                await self._settle(some)
            except Exception as error:  # each host's own is tried alone, so that no other one has to tell again
                for each in some:
                    await self._alone(each, error if len(some) == 1 else None)

    async def _alone(self, told: _Told, error: Exception | None) -> None:
        """Settle one; `error` is what it has failed with already."""
        try:
            if error is None:
                await self._settle([told])
        except Exception as raised:  # it is raised to the caller that waits
            error = raised
        if error is not None and not told.stored.done():
            told.stored.set_exception(error)

    async def _settle(self, some: Sequence[_Told]) -> None:
        """Store what some hosts told, and say so to those who wait."""
        is_stored = await self._written(some)
        for each in some:
            if not each.stored.done():
                each.stored.set_result(is_stored)

    async def _written(self, some: Sequence[_Told]) -> bool:
        """Write what some hosts told; False if the engine is away."""
        await self._look_up(some)
        now = int(self._clock().timestamp() * 1000)
        data: list[Datum] = []
        for told in some:
            _, owners = self._owners[told.host_id]
            own = [datum for measured in told.measured for datum in _data(measured, owners, now)]
            data += own
            data += _of_groups(told.host_id, own, owners)
        try:
            await self._store.write(data)
        except MetricsUnavailable as error:
            if not self._fails:
                _log.error("measurements_not_stored", extra={"host": some[0].host_id, "detail": error.detail})
            self._fails = True
            return False
        if self._fails:
            _log.info("measurements_stored_again")
        self._fails = False
        return True

    async def _look_up(self, some: Sequence[_Told]) -> None:
        """Ask for the owners of what hosts may speak of, where that is a while ago or a host has others."""
        now = time.monotonic()
        asked: dict[str, list[str]] = {}
        for told in some:
            until, known = self._owners.get(told.host_id, (0.0, {}))
            if now >= until or not all(each in known for each in told.ids):
                asked.setdefault(told.host_id, []).extend(told.ids)
        if asked:
            found = await self._database.run(lambda tx: _owners(tx, asked), writes=False)
            self._owners |= {host_id: (now + _KNOWN_SECONDS, owners) for host_id, owners in found.items()}


def _owners(tx: Transaction, asked: Mapping[str, Sequence[str]]) -> Mapping[str, Mapping[str, _Owner]]:
    """Return the owners of what each host may speak of: its guests, their volumes, and its NAT gateways."""
    found: dict[str, dict[str, _Owner]] = {host_id: {} for host_id in asked}
    ids = sorted({id_ for some in asked.values() for id_ in some})
    for first in range(0, len(ids), _AT_ONCE):
        some = ids[first : first + _AT_ONCE]
        placed = {id_: (host_id, account_id) for id_, host_id, account_id in _placed(tx, some)}
        members = {id_: (group, since) for id_, group, since in _members(tx, some)}
        for id_, (host_id, account_id) in placed.items():
            if host_id in found:
                found[host_id][id_] = _Owner(account_id, *members[id_]) if id_ in members else _owned_by(account_id)
    return found


def _placed(tx: Transaction, ids: Sequence[str]) -> Iterator[tuple[str, str | None, str]]:
    """Yield id, host and account of each that there is."""
    has_gateways = any(id_.startswith("nat-") for id_ in ids)
    for query in (_VOLUMES, _INSTANCES, *((_GATEWAYS,) if has_gateways else ())):
        yield from query.all(tx.connection, {"ids": ids})


def _members(tx: Transaction, ids: Sequence[str]) -> Iterator[tuple[str, str, datetime]]:
    """Yield the instances that are in service in a group, its name, and since when they count: after its warm-up."""
    for id_, since, group, warmup in _MEMBERS.all(tx.connection, {"ids": ids}):
        if since is not None:
            yield id_, group, since + timedelta(seconds=warmup or 0)


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
