"""Hosts as shown to and changed by operators."""

from collections import defaultdict
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from sqlalchemy import delete, func, select
from sqlalchemy.orm import aliased

from stead_controller.catalog import ids
from stead_controller.db.tables import (
    Host,
    HostError,
    HostResource,
    Instance,
    NetworkInterface,
    RemovedHost,
    Snapshot,
    StoragePool,
    Volume,
)
from stead_controller.desired import host_errors as errors
from stead_controller.desired import host_networks, outbox, topics
from stead_controller.errors import InUse, MalformedId, NotFound
from stead_controller.request.cloud import Cloud
from stead_controller.request.transaction import Transaction
from stead_controller.resources import quotas
from stead_controller.resources.instances import volume_attachments
from stead_controller.resources.instances.instance_states import HOST_FAILURE, change_state
from stead_controller.resources.network import (
    host_addresses,
    nat_gateways,
    network_interface_attachments,
    vpc_endpoint_interfaces,
)
from stead_controller.resources.operators import lost_homes
from stead_controller.resources.storage import snapshot_life
from stead_proto.v1 import desired_pb2 as pb

ERRORS_SHOWN: Final = 20  # of each host


@dataclass(frozen=True, slots=True)
class HostRecord:
    """A host, its number of instances that are not terminated, its pools, and its current errors.

    Only the oldest errors are listed, together with their total number.
    """

    host: Host
    instances: int
    errors: Sequence[HostError] = ()
    error_count: int = 0
    pools: Sequence[StoragePool] = ()


def list_hosts(tx: Transaction) -> list[HostRecord]:
    """All hosts, by name."""
    counts = dict(
        tx.session.execute(
            select(Instance.host_id, func.count()).where(Instance.state != "terminated").group_by(Instance.host_id)
        ).all()
    )
    errors, error_counts = _errors(tx)
    pools: dict[str, list[StoragePool]] = defaultdict(list)
    for pool in tx.session.scalars(select(StoragePool).order_by(StoragePool.name)):
        pools[pool.host_id].append(pool)
    found = tx.session.scalars(select(Host).order_by(Host.hostname, Host.id))
    return [
        HostRecord(
            host,
            counts.get(host.id, 0),
            errors.get(host.id, ()),
            error_counts.get(host.id, 0),
            pools.get(host.id, ()),
        )
        for host in found
    ]


def _errors(tx: Transaction) -> tuple[dict[str, list[HostError]], dict[str, int]]:
    """List each host's oldest errors, and count all of them."""
    counts = dict(tx.session.execute(select(HostError.host_id, func.count()).group_by(HostError.host_id)).all())
    if not counts:
        return {}, {}
    order = (HostError.since, HostError.kind, HostError.resource_id)
    place = func.row_number().over(partition_by=HostError.host_id, order_by=order).label("place")
    ranked = select(HostError, place).subquery()
    oldest = select(aliased(HostError, ranked)).where(ranked.c.place <= ERRORS_SHOWN).order_by(ranked.c.place)
    found: dict[str, list[HostError]] = defaultdict(list)
    for error in tx.session.scalars(oldest):
        found[error.host_id].append(error)
    return found, counts


def set_schedulable(tx: Transaction, host_id: str, *, schedulable: bool) -> HostRecord:
    """Stop or allow new instances on a host."""
    host = _find(tx, host_id)
    host.schedulable = schedulable
    return HostRecord(host, _count(tx, host_id))


def remove_host(tx: Transaction, cloud: Cloud, host_id: str, now: datetime, *, force: bool) -> None:
    """Remove a host and notify the others; raises InUse with instances or volumes, unless forced: then these end.

    Volumes in pools that other hosts share get another home instead; raises InUse as in `lost_homes`.
    """
    host = _find(tx, host_id)
    if _count(tx, host_id) and not force:
        raise InUse(f"{host_id} has instances: terminate them first, or force their end with the host's.")
    volumes = select(Volume.id).where(Volume.host_id == host_id, Volume.state != "deleting")
    if not force and tx.session.scalar(volumes.limit(1)) is not None:
        raise InUse(f"{host_id} has volumes: delete them first, or force their end with the host's.")
    gone: dict[str, str] = {}
    for instance in tx.session.scalars(select(Instance).where(Instance.host_id == host_id)).all():
        gone |= _end(tx, instance, now)
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


def _end(tx: Transaction, instance: Instance, now: datetime) -> dict[str, str]:
    """End an instance of a removed host, which will not report its end; return the VPCs of its interfaces."""
    if instance.state != "terminated":
        change_state(tx, instance, "terminated", now, HOST_FAILURE)
    volume_attachments.end_with_instance(tx, instance, now, host_lost=True)
    instance.host_id = None
    if instance.capacity_held:
        instance.capacity_held = False
        quotas.use_vcpus(tx, instance.account_id, -instance.vcpus)
    instance.public_address = None
    interfaces = select(NetworkInterface).where(NetworkInterface.instance_id == instance.id)
    gone: dict[str, str] = {}
    for interface in tx.session.scalars(interfaces).all():
        gone[interface.id] = interface.vpc_id
        network_interface_attachments.end_with_instance(tx, interface, now)
    return gone


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
