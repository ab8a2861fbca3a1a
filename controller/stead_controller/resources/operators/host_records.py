"""Hosts as shown to and changed by operators."""

from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from sqlalchemy import delete, func, select
from sqlalchemy.orm import aliased

from stead_controller.catalog import ids
from stead_controller.db.tables import (
    Host,
    HostCore,
    HostDevice,
    HostError,
    HostResource,
    HostToken,
    Instance,
    NetworkInterface,
    RemovedHost,
    Snapshot,
    StoragePool,
)
from stead_controller.desired import host_errors as errors
from stead_controller.desired import host_networks, outbox, topics
from stead_controller.errors import InUse, MalformedId, NotFound
from stead_controller.request.cloud import Cloud
from stead_controller.request.transaction import Transaction
from stead_controller.resources import quotas
from stead_controller.resources.fleet import dedicated_hosts
from stead_controller.resources.host_capacity import offer, reserved_slots, slot_usage
from stead_controller.resources.host_capacity.offer import Terms
from stead_controller.resources.instances import instance_events, instance_firmware, spot_instances, volume_attachments
from stead_controller.resources.instances.instance_states import HOST_FAILURE, change_state
from stead_controller.resources.network import (
    host_addresses,
    nat_gateways,
    network_interface_attachments,
    vpc_endpoint_interfaces,
)
from stead_controller.resources.operators import (
    drain_moves,
    drain_notes,
    host_drain,
    host_settings,
    host_uses,
    lost_homes,
)
from stead_controller.resources.operators.host_settings import HostChange
from stead_controller.resources.operators.host_uses import HostUse
from stead_controller.resources.storage import snapshot_life
from stead_proto.v1 import desired_pb2 as pb

ERRORS_SHOWN: Final = 20  # of each host
UNCLAIMED_SHOWN: Final = 1000  # of a host that was asked for alone


@dataclass(frozen=True, slots=True)
class StopTime:
    """When the guests of a host are to be stopped, and until when their users may choose another time."""

    at: datetime
    latest: datetime | None = None


@dataclass(frozen=True, slots=True)
class HostRecord:
    """A host, its state and terms, its number of instances that are not terminated, its pools, and its current errors.

    `unclaimed` is what it has and this database does not know. Only the oldest of these and of the errors are listed,
    together with their total number. `uses`, `devices` and `cores` are listed of one host only, and of that
    `joins_until` is when the last token expires with which it may enrol again.
    """

    host: Host
    state: str
    terms: Terms
    instances: int
    errors: Sequence[HostError] = ()
    error_count: int = 0
    unclaimed: Sequence[HostError] = ()
    unclaimed_count: int = 0
    pools: Sequence[StoragePool] = ()
    uses: Sequence[HostUse] = ()
    devices: Sequence[HostDevice] = ()
    cores: Sequence[HostCore] = ()
    joins_until: datetime | None = None


def list_hosts(tx: Transaction, cloud: Cloud) -> list[HostRecord]:
    """All hosts, by name."""
    counts = dict(
        tx.session.execute(
            select(Instance.host_id, func.count()).where(Instance.state != "terminated").group_by(Instance.host_id)
        ).all()
    )
    failed, unclaimed = _errors(tx), _errors(tx, unclaimed=True)
    pools: dict[str, list[StoragePool]] = defaultdict(list)
    for pool in tx.session.scalars(select(StoragePool).order_by(StoragePool.name)):
        pools[pool.host_id].append(pool)
    found = tx.session.scalars(select(Host).order_by(Host.hostname, Host.id))
    return [
        HostRecord(
            host,
            _state(tx, host),
            offer.terms_of(host, cloud),
            counts.get(host.id, 0),
            *failed.of(host.id),
            *unclaimed.of(host.id),
            pools.get(host.id, ()),
        )
        for host in found
    ]


@dataclass(frozen=True, slots=True)
class _Errors:
    """The oldest errors by host, and how many each has."""

    shown: Mapping[str, Sequence[HostError]]
    counts: Mapping[str, int]

    def of(self, host_id: str) -> tuple[Sequence[HostError], int]:
        return self.shown.get(host_id, ()), self.counts.get(host_id, 0)


def _errors(tx: Transaction, host_id: str = "", *, unclaimed: bool = False, most: int = ERRORS_SHOWN) -> _Errors:
    """List the oldest errors of each host, or of one, and count all of them; or what is unclaimed there."""
    about = [HostError.error == errors.UNCLAIMED if unclaimed else HostError.error != errors.UNCLAIMED]
    about += [HostError.host_id == host_id] if host_id else []
    counts = dict(
        tx.session.execute(select(HostError.host_id, func.count()).where(*about).group_by(HostError.host_id)).all()
    )
    if not counts:
        return _Errors({}, {})
    order = (HostError.since, HostError.kind, HostError.resource_id)
    place = func.row_number().over(partition_by=HostError.host_id, order_by=order).label("place")
    ranked = select(HostError, place).where(*about).subquery()
    oldest = select(aliased(HostError, ranked)).where(ranked.c.place <= most).order_by(ranked.c.place)
    found: dict[str, list[HostError]] = defaultdict(list)
    for error in tx.session.scalars(oldest):
        found[error.host_id].append(error)
    return _Errors(found, counts)


def _state(tx: Transaction, host: Host) -> str:
    """Name the state of a host: whether it is there, and if so, whether something may be placed on it."""
    if host.state != "up" or host.schedulable:
        return host.state
    if not host.draining:
        return "cordoned"
    return "draining" if host_uses.is_used(tx, host.id) else "drained"


def show_host(tx: Transaction, cloud: Cloud, host_id: str) -> HostRecord:
    """One host with what is on it; raises MalformedId, NotFound."""
    host = _find(tx, host_id)
    failed = _errors(tx, host_id)
    unclaimed = _errors(tx, host_id, unclaimed=True, most=UNCLAIMED_SHOWN)
    pools = select(StoragePool).where(StoragePool.host_id == host_id).order_by(StoragePool.name)
    devices = select(HostDevice).where(HostDevice.host_id == host_id).order_by(HostDevice.address)
    cores = select(HostCore).where(HostCore.host_id == host_id).order_by(HostCore.number)
    uses = host_uses.uses_of(tx, host_id)
    return HostRecord(
        host,
        _state(tx, host),
        offer.terms_of(host, cloud),
        _count(tx, host_id),
        *failed.of(host_id),
        *unclaimed.of(host_id),
        tx.session.scalars(pools).all(),
        drain_notes.annotated(tx, host_id, uses) if host.draining else uses,
        tx.session.scalars(devices).all(),
        tx.session.scalars(cores).all(),
        tx.session.scalar(select(func.max(HostToken.expires)).where(HostToken.host_id == host_id)),
    )


def set_schedulable(tx: Transaction, cloud: Cloud, host_id: str, now: datetime, *, schedulable: bool) -> HostRecord:
    """Cordon a host, so that nothing new is placed on it, or end that; both end its draining, and what is scheduled."""
    host = _find(tx, host_id)
    instance_events.cancel(tx, host_id, now)
    host.schedulable = schedulable
    tx.makes_room = True
    host.draining = False
    tx.session.flush()
    return show_host(tx, cloud, host_id)


def set_host(tx: Transaction, cloud: Cloud, host_id: str, asked: HostChange) -> HostRecord:
    """Change a host's settings; raises as `host_settings.change`."""
    host_settings.change(tx, cloud, _find(tx, host_id), asked)
    tx.session.flush()
    return show_host(tx, cloud, host_id)


def drain_host(
    tx: Transaction, cloud: Cloud, host_id: str, now: datetime, *, stop: bool = False, when: StopTime | None = None
) -> HostRecord:
    """Cordon a host that is to become empty, and list what is on it: what nobody uses leaves it (`drain_moves.py`).

    With `stop` its guests are stopped, now or at a time, and leave it too; InvalidParameter is raised as by
    `instance_events.schedule_stops`. What could not leave it before is tried again.
    """
    host = _find(tx, host_id)
    host.schedulable = False
    host.draining = True
    drain_moves.retry(tx, host_id)
    tx.session.flush()
    reserved_slots.move_away(tx, cloud, host_id)
    if stop and when is not None:
        instance_events.schedule_stops(tx, host_id, when.at, when.latest, now)
    elif stop:
        host_drain.stop_guests(tx, host_id, now)
        instance_events.complete(tx, host_id, now)
    return show_host(tx, cloud, host_id)


def remove_host(tx: Transaction, cloud: Cloud, host_id: str, now: datetime, *, lost: bool) -> None:
    """Remove a host and notify the others; one with instances or volumes only if it is down and `lost`: they end.

    Volumes in pools that other hosts share get another home instead; raises InUse as in `lost_homes`.
    """
    host = _find(tx, host_id)
    if lost and host.state == "up":
        raise InUse(f"{host_id} is up: it is lost only when it is off for good.")
    reserved_slots.move_away(tx, cloud, host_id)
    use = None if lost else host_uses.what_ends_with(tx, host_id)
    if use is not None:
        raise InUse(f"{host_id} has the {use.kind} {use.resource_id}, which would end with it.")
    left = host_uses.what_is_left(tx, host_id) if host.state == "up" else None
    if left is not None:
        raise InUse(f"{host_id} has still to remove the {left.kind} {left.resource_id}: ask again in a moment.")
    gone: dict[str, str] = {}
    for instance in tx.session.scalars(select(Instance).where(Instance.host_id == host_id)).all():
        gone |= _end(tx, instance, now, host.last_seen or now)
    _lose_slots(tx, host_id, now)
    dedicated_hosts.fail(tx, host_id, now)
    nat_gateways.leave_host(tx, host_id, now)
    vpc_endpoint_interfaces.leave_host(tx, host_id, now)
    for interface_id, vpc_id in gone.items():
        topics.refresh_part(tx, pb.KIND_MAPPING, interface_id, vpc_id)
    for snapshot in tx.session.scalars(select(Snapshot).where(Snapshot.host_id == host_id)).all():
        snapshot_life.fail(tx, snapshot, snapshot_life.GONE)
    lost_homes.give_up(tx, host, now)
    tx.session.execute(delete(HostResource).where(HostResource.host_id == host_id))
    host_addresses.release(tx, host, now)
    tx.session.delete(host)
    tx.session.add(RemovedHost(id=host_id, removed=now))
    tx.removed_hosts.add(host_id)
    host_networks.refresh_all(tx, cloud)


def discard_unclaimed(tx: Transaction, host_id: str, resource_ids: Collection[str]) -> None:
    """Have a host remove a resource that this (older) database does not know; raises NotFound for all others."""
    host = _find(tx, host_id)
    query = select(HostError).where(
        HostError.host_id == host.id, HostError.resource_id.in_(resource_ids), HostError.error == errors.UNCLAIMED
    )
    found = {error.resource_id: (error.kind, error.resource_id) for error in tx.session.scalars(query)}
    missing = sorted(set(resource_ids) - found.keys())
    if missing:
        raise NotFound("unclaimed resource", missing, message=f"{host_id} has no unclaimed {', '.join(missing)}.")
    for key in found.values():
        outbox.remove_each(tx, key, [host.id])


def _end(tx: Transaction, instance: Instance, now: datetime, ended: datetime) -> dict[str, str]:
    """End an instance of a removed host, last heard of at `ended`; return the VPCs of its interfaces."""
    if instance.state != "terminated":
        change_state(tx, instance, "terminated", now, HOST_FAILURE, ended=ended)
    volume_attachments.end_with_instance(tx, instance, now, host_lost=True)
    instance_firmware.forget(tx, instance)
    instance.host_id = None
    if instance.capacity_held:
        instance.capacity_held = False
        if instance.capacity_reservation_id is None:
            quotas.use_vcpus(tx, instance.account_id, -instance.vcpus)
        instance.capacity_reservation_id = None
    instance.public_address = None
    spot_instances.reopen_request(tx, instance, now)
    interfaces = select(NetworkInterface).where(NetworkInterface.instance_id == instance.id)
    gone: dict[str, str] = {}
    for interface in tx.session.scalars(interfaces).all():
        gone[interface.id] = interface.vpc_id
        network_interface_attachments.end_with_instance(tx, interface, now)
    return gone


def _lose_slots(tx: Transaction, host_id: str, now: datetime) -> None:
    """Take the slots of a removed host out of their capacity reservations; one that has none left has failed."""
    for reservation, lost in reserved_slots.lose(tx, host_id):
        quotas.use_vcpus(tx, reservation.account_id, -reservation.vcpus * lost)
        reservation.instance_count -= lost
        slot_usage.measure(tx, reservation.id, now)
        if not reservation.instance_count:
            reservation.state, reservation.ended = "failed", now


def _find(tx: Transaction, host_id: str) -> Host:
    if not ids.is_id("host", host_id):
        raise MalformedId("host", host_id)
    host = tx.session.get(Host, host_id)
    if host is None:
        raise NotFound("host", host_id)
    return host


def _count(tx: Transaction, host_id: str) -> int:
    query = select(func.count()).where(Instance.host_id == host_id, Instance.state != "terminated")
    return tx.session.scalar(query) or 0
