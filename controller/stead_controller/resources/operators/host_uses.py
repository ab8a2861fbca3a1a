"""What is on a host: while there is anything, it cannot be removed or change its zone, and is not drained."""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from typing import Final

from sqlalchemy import Select, exists, select

from stead_controller.db.tables import (
    CapacityReservation,
    CapacityReservationSlots,
    DedicatedHost,
    Host,
    HostResource,
    Instance,
    NatGateway,
    Volume,
    VpcEndpointInterface,
)
from stead_controller.request.transaction import Transaction
from stead_proto.v1 import desired_pb2 as desired

MOST: Final = 1000
REMOVING: Final = "removing"
"""The state of what a host has still to remove: it belongs to another host now, or to nobody."""

_GONE: Final = ("failed", "deleted")
_REMOVED_KINDS: Final = {
    int(desired.KIND_MACHINE): "instance",
    int(desired.KIND_VOLUME): "volume",
    int(desired.KIND_NAT_GATEWAY): "nat-gateway",
    int(desired.KIND_ENDPOINT_INTERFACE): "vpc-endpoint-interface",
}


@dataclass(frozen=True, slots=True)
class HostUse:
    """Something on a host: its kind as in EC2's resource types, its id and its state.

    Of a host that is drained, `percent` is how far it is on its way to another one, None if it stays, and `note` says
    more (`drain_notes.py`).
    """

    kind: str
    resource_id: str
    state: str
    note: str = ""
    percent: int | None = None


def uses_of(tx: Transaction, host_id: str, most: int = MOST) -> list[HostUse]:
    """List what is on a host, by kind and id, up to a number."""
    return list(islice(_uses(tx, host_id, most), most))


def what_ends_with(tx: Transaction, host_id: str) -> HostUse | None:
    """Return an instance, a volume, reserved capacity or a Dedicated Host that would end with its host, if any.

    Not what can be moved to another host at once, and not a volume that is being deleted.
    """
    queries = _queries(host_id)
    lasting = {
        "instance": queries["instance"],
        "volume": queries["volume"].where(Volume.state != "deleting"),
        "capacity-reservation": queries["capacity-reservation"],
        "dedicated-host": queries["dedicated-host"],
    }
    for kind, query in lasting.items():
        for resource_id, state in tx.session.execute(query.limit(1)):
            return HostUse(kind, resource_id, state)
    return None


def what_is_left(tx: Transaction, host_id: str) -> HostUse | None:
    """Return what is not a host's any more and it has still to remove, None if there is nothing."""
    return next(_removals(tx, host_id, 1), None)


def is_used(tx: Transaction, host_id: str) -> bool:
    """Tell whether anything is on a host."""
    return bool(uses_of(tx, host_id, 1))


def _uses(tx: Transaction, host_id: str, most: int) -> Iterator[HostUse]:
    for kind, query in _queries(host_id).items():
        for resource_id, state in tx.session.execute(query.limit(most)):
            yield HostUse(kind, resource_id, state)
    yield from _removals(tx, host_id, most)


def _removals(tx: Transaction, host_id: str, most: int) -> Iterator[HostUse]:
    """List what a host has still to remove; what is its own until then is among its uses anyhow."""
    query = (
        select(HostResource.kind, HostResource.resource_id)
        .where(
            HostResource.host_id == host_id,
            HostResource.kind.in_(_REMOVED_KINDS),
            HostResource.body.is_(None),
            HostResource.revision > select(Host.revision_reached).where(Host.id == host_id).scalar_subquery(),
            ~exists().where(Volume.id == HostResource.resource_id, Volume.host_id == host_id),
            ~exists().where(Instance.id == HostResource.resource_id, Instance.host_id == host_id),
            ~exists().where(NatGateway.id == HostResource.resource_id, NatGateway.host_id == host_id),
            ~exists().where(
                VpcEndpointInterface.interface_id == HostResource.resource_id, VpcEndpointInterface.host_id == host_id
            ),
        )
        .order_by(HostResource.kind, HostResource.resource_id)
    )
    for kind, resource_id in tx.session.execute(query.limit(most)):
        yield HostUse(_REMOVED_KINDS[kind], resource_id, REMOVING)


def _queries(host_id: str) -> dict[str, Select[str, str]]:
    """Return what finds each kind of resource by its home host; interfaces are where their instances are."""
    return {
        "instance": select(Instance.id, Instance.state)
        .where(Instance.host_id == host_id, Instance.state != "terminated")
        .order_by(Instance.id),
        "capacity-reservation": select(CapacityReservation.id, CapacityReservation.state)
        .join(CapacityReservationSlots, CapacityReservationSlots.reservation_id == CapacityReservation.id)
        .where(CapacityReservationSlots.host_id == host_id)
        .order_by(CapacityReservation.id),
        "dedicated-host": select(DedicatedHost.id, DedicatedHost.state)
        .where(DedicatedHost.host_id == host_id, DedicatedHost.state == "allocated")
        .order_by(DedicatedHost.id),
        "nat-gateway": select(NatGateway.id, NatGateway.state)
        .where(NatGateway.host_id == host_id, NatGateway.state.not_in(_GONE))
        .order_by(NatGateway.id),
        "volume": select(Volume.id, Volume.state).where(Volume.host_id == host_id).order_by(Volume.id),
        "vpc-endpoint-interface": select(VpcEndpointInterface.interface_id, VpcEndpointInterface.state)
        .where(VpcEndpointInterface.host_id == host_id)
        .order_by(VpcEndpointInterface.interface_id),
    }
