"""What is on a host: while there is anything, it cannot be removed or change its zone, and is not drained."""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from typing import Final

from sqlalchemy import Select, select

from stead_controller.db.tables import Instance, NatGateway, Volume, VpcEndpointInterface
from stead_controller.request.transaction import Transaction

MOST: Final = 1000
_GONE: Final = ("failed", "deleted")


@dataclass(frozen=True, slots=True)
class HostUse:
    """Something on a host: its kind as in EC2's resource types, its id and its state."""

    kind: str
    resource_id: str
    state: str


def uses_of(tx: Transaction, host_id: str, most: int = MOST) -> list[HostUse]:
    """List what is on a host, by kind and id, up to a number."""
    return list(islice(_uses(tx, host_id, most), most))


def what_ends_with(tx: Transaction, host_id: str) -> HostUse | None:
    """Return an instance or volume that would end with its host, None when there is none.

    Not what can be moved to another host at once, and not a volume that is being deleted.
    """
    queries = _queries(host_id)
    lasting = {"instance": queries["instance"], "volume": queries["volume"].where(Volume.state != "deleting")}
    for kind, query in lasting.items():
        for resource_id, state in tx.session.execute(query.limit(1)):
            return HostUse(kind, resource_id, state)
    return None


def is_used(tx: Transaction, host_id: str) -> bool:
    """Tell whether anything is on a host."""
    return bool(uses_of(tx, host_id, 1))


def _uses(tx: Transaction, host_id: str, most: int) -> Iterator[HostUse]:
    for kind, query in _queries(host_id).items():
        for resource_id, state in tx.session.execute(query.limit(most)):
            yield HostUse(kind, resource_id, state)


def _queries(host_id: str) -> dict[str, Select[str, str]]:
    """Return what finds each kind of resource by its home host; interfaces are where their instances are."""
    return {
        "instance": select(Instance.id, Instance.state)
        .where(Instance.host_id == host_id, Instance.state != "terminated")
        .order_by(Instance.id),
        "nat-gateway": select(NatGateway.id, NatGateway.state)
        .where(NatGateway.host_id == host_id, NatGateway.state.not_in(_GONE))
        .order_by(NatGateway.id),
        "volume": select(Volume.id, Volume.state).where(Volume.host_id == host_id).order_by(Volume.id),
        "vpc-endpoint-interface": select(VpcEndpointInterface.interface_id, VpcEndpointInterface.state)
        .where(VpcEndpointInterface.host_id == host_id)
        .order_by(VpcEndpointInterface.interface_id),
    }
