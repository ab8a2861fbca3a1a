"""What hosts tell of traffic is billed: bytes to the internet, between zones, and through NAT gateways.

https://docs.aws.amazon.com/cur/latest/userguide/cur-data-transfers-charges.html
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from itertools import batched
from typing import Any, Final, NamedTuple

from sqlalchemy import or_, select

from stead_controller.db.tables import Host, Instance, NatGateway, Subnet, UsageCounter
from stead_controller.metering import amounts, uses
from stead_controller.metering.amounts import Count
from stead_controller.metering.ledger import Resource, Use
from stead_controller.request.transaction import Transaction
from stead_proto.v1 import host_pb2 as pb

_AT_ONCE: Final = 200
_GATEWAY: Final = "nat-"
_NAMES: Final[Mapping[int, str]] = {
    pb.WAY_TO_INTERNET: "to-internet",
    pb.WAY_FROM_INTERNET: "from-internet",
    pb.WAY_TO_HOST: "to-host",
    pb.WAY_TO_PEER_HOST: "to-peer-host",
}
_BETWEEN_ZONES: Final[Mapping[int, str]] = {pb.WAY_TO_HOST: "InterZone", pb.WAY_TO_PEER_HOST: "VPCPeering"}


class _Told(NamedTuple):
    """What passed, and how much of it is new."""

    passed: pb.Passed
    more: int


def bill(tx: Transaction, host_id: str, measurements: pb.Measurements, now: datetime) -> None:
    """Bill what a host has counted since it told last; told again, late or in another order, each byte counts once.

    A host may speak of what it has, or has had and spoken of then. What is between zones is billed to the sender for
    both directions: sender and receiver are of one VPC, or of two that are joined by a peering.
    """
    owners = _owners(tx, host_id, {each.id for each in measurements.passed})
    zones = _zones(tx, {each.host_address for each in measurements.passed if each.host_address})
    rows = [each for each in measurements.passed if each.id in owners and each.way in _NAMES]
    epoch = f"{host_id}/{measurements.epoch}"
    counts = [Count(each.id, f"{_NAMES[each.way]}/{each.host_address}"[:64], epoch, each.bytes) for each in rows]
    told = [_Told(*pair) for pair in zip(rows, amounts.grown(tx, counts), strict=True)]
    amounts.add(tx, [(owners[one.passed.id], use) for one in told for use in _uses(one, owners, zones)], now)


def _uses(one: _Told, owners: Mapping[str, Resource], zones: Mapping[str, str]) -> Iterator[Use]:
    """Yield what the new bytes of a sender use."""
    of_gateway = one.passed.id.startswith(_GATEWAY)
    if one.passed.way == pb.WAY_TO_INTERNET:
        yield uses.of_bytes(uses.OUT, "NatGateway" if of_gateway else "RunInstances", one.more)
    if of_gateway and one.passed.way in (pb.WAY_TO_INTERNET, pb.WAY_FROM_INTERNET):
        yield uses.of_bytes(uses.NAT_BYTES, "NatGateway", one.more)
    between = _BETWEEN_ZONES.get(one.passed.way)
    zone = zones.get(one.passed.host_address)
    if between is not None and zone is not None and zone != owners[one.passed.id].zone:
        for direction in ("Out", "In"):
            yield uses.of_bytes(uses.REGIONAL, f"{between}-{direction}", one.more)


def _zones(tx: Transaction, addresses: Iterable[str]) -> dict[str, str]:
    """Return the zone of each host of these underlay addresses."""
    found: dict[str, str] = {}
    for some in batched(sorted(addresses), _AT_ONCE):
        query = select(Host.underlay_address, Host.zone).where(Host.underlay_address.in_(some))
        found |= {row[0]: row[1] for row in tx.connection.execute(query)}
    return found


def _owners(tx: Transaction, host_id: str, ids: Iterable[str]) -> dict[str, Resource]:
    """Return the instances and NAT gateways of these of which this host may speak, with their zones."""
    found: dict[str, Resource] = {}
    for some in batched(sorted(ids), _AT_ONCE):
        for query in _queries(host_id, some):
            found |= {row[0]: Resource(*row) for row in tx.connection.execute(query)}
    return found


def _queries(host_id: str, ids: Sequence[str]) -> Iterator[Any]:
    spoken = UsageCounter.epoch.startswith(f"{host_id}/", autoescape=True)
    known = select(UsageCounter.resource_id).where(UsageCounter.resource_id.in_(ids), spoken)
    instances = select(Instance.id, Instance.account_id, Instance.zone).where(Instance.id.in_(ids))
    yield instances.where(or_(Instance.host_id == host_id, Instance.id.in_(known)))
    gateways = select(NatGateway.id, NatGateway.account_id, Subnet.zone).join(Subnet, Subnet.id == NatGateway.subnet_id)
    if any(each.startswith(_GATEWAY) for each in ids):
        mine = or_(NatGateway.host_id == host_id, NatGateway.id.in_(known))
        yield gateways.where(NatGateway.id.in_(ids), mine)
