"""Stores hosts' reports of resources that this database, restored from an older copy, does not know, as in use.

Their addresses are not assigned again (`resources/network/unclaimed_addresses.py`); their capacity is counted as
reserved. A public address that this database has given to another interface stays where it is until somebody decides.
"""

from collections.abc import Collection, Iterable, Sequence
from typing import Final

from sqlalchemy import select, tuple_

from stead_controller.db.session import Transaction
from stead_controller.db.tables import Host, NetworkInterface, PublicAddress, UnclaimedAddress, UnclaimedResource
from stead_controller.desired import desired_state, outbox, topics
from stead_controller.placement.guest_memory import memory_of
from stead_controller.resources.host_capacity import unclaimed_room
from stead_controller.resources.network import interface_changes, unclaimed_addresses
from stead_controller.resources.network.unclaimed_addresses import EVERYWHERE
from stead_proto.v1 import host_pb2 as pb

_POOL_LENGTH: Final = 64


def without_adopted(tx: Transaction, host_id: str, statuses: Sequence[pb.ResourceStatus]) -> list[pb.ResourceStatus]:
    """Leave out what a host says to be unclaimed since it does not know yet that this database has adopted it."""
    return [
        each
        for each in statuses
        if each.condition != pb.CONDITION_UNCLAIMED
        or not (
            outbox.is_desired(tx, host_id, each.kind, each.id) or topics.is_desired(tx, host_id, each.kind, each.id)
        )
    ]


def note(tx: Transaction, host_id: str, statuses: Iterable[pb.ResourceStatus]) -> None:
    """Store what a host's unclaimed resources use, and free what belonged to those that are no longer unclaimed."""
    latest = {(each.kind, each.id): each for each in statuses if each.condition != pb.CONDITION_PENDING}
    if not latest or tx.session.get(Host, host_id) is None:
        return
    rows = _rows(tx, host_id, latest)
    named = {key: status.unclaimed for key, status in latest.items() if status.HasField("unclaimed")}
    if not rows and not named:
        return
    before = _addresses(tx, host_id, latest)
    for row in rows:
        unclaimed_room.release(tx, row)
        tx.session.delete(row)
    tx.session.flush()
    for (kind, resource_id), unclaimed in named.items():
        _add(tx, host_id, kind, resource_id, unclaimed)
    if changed := before ^ _addresses(tx, host_id, latest):
        _publish(tx, changed)


def _addresses(tx: Transaction, host_id: str, keys: Collection[tuple[int, str]]) -> frozenset[str]:
    """All addresses that some of a host's unclaimed resources have."""
    tx.session.flush()
    query = select(UnclaimedAddress.address).where(
        UnclaimedAddress.host_id == host_id,
        tuple_(UnclaimedAddress.kind, UnclaimedAddress.resource_id).in_(list(keys)),
    )
    return frozenset(tx.session.scalars(query))


def _publish(tx: Transaction, addresses: Collection[str]) -> None:
    """Tell the hosts of interfaces to which this database has given a public one of them whether they may use it."""
    query = select(NetworkInterface).join(PublicAddress, PublicAddress.interface_id == NetworkInterface.id)
    for interface in tx.session.scalars(query.where(PublicAddress.address.in_(addresses)).distinct()).all():
        if interface.nat_gateway_id is not None:
            desired_state.refresh_nat_gateway(tx, interface.nat_gateway_id)
        else:
            interface_changes.changed(tx, interface)


def _rows(tx: Transaction, host_id: str, keys: Collection[tuple[int, str]]) -> list[UnclaimedResource]:
    query = select(UnclaimedResource).where(
        UnclaimedResource.host_id == host_id,
        tuple_(UnclaimedResource.kind, UnclaimedResource.resource_id).in_(list(keys)),
    )
    return list(tx.session.scalars(query))


def _add(tx: Transaction, host_id: str, kind: int, resource_id: str, reported: pb.Unclaimed) -> None:
    row = UnclaimedResource(
        host_id=host_id,
        kind=kind,
        resource_id=resource_id,
        vcpus=reported.vcpus,
        memory=memory_of(reported.memory, reported.vcpus) if reported.vcpus else reported.memory,
        disk=reported.disk,
        pool=reported.pool[:_POOL_LENGTH],
        said=reported.SerializeToString() if reported.HasField("resource") else None,
    )
    tx.session.add(row)
    tx.session.flush()
    unclaimed_room.take(tx, row)
    places = {(reported.subnet_id, address) for address in reported.private_addresses}
    places |= {(EVERYWHERE, address) for address in (*reported.public_addresses, reported.mac_address) if address}
    mine = {"host_id": host_id, "kind": kind, "resource_id": resource_id}
    tx.session.add_all(UnclaimedAddress(**mine, place=place, address=address) for place, address in sorted(places))
    unclaimed_addresses.added(tx)
