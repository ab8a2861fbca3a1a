"""The targets of routes: found when the route is made, and checked later for whether they still exist."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

from sqlalchemy import ColumnElement, and_, or_, select

from stead_controller.catalog import ids
from stead_controller.db.tables import (
    EgressOnlyInternetGateway,
    Instance,
    InternetGateway,
    NatGateway,
    NetworkInterface,
    Route,
    RouteTable,
    VpcEndpoint,
    VpcPeeringConnection,
)
from stead_controller.desired import peered_vpcs
from stead_controller.errors import (
    BadRequest,
    InvalidCombination,
    InvalidParameter,
    MalformedId,
    NotFound,
    Unsupported,
)
from stead_controller.request import lookup
from stead_controller.request.caller import Caller
from stead_controller.request.route_target import TargetRequest
from stead_controller.request.transaction import Transaction

INTERNET_GATEWAY: Final = "internet-gateway"
EGRESS_ONLY_GATEWAY: Final = "egress-only-internet-gateway"
NAT_GATEWAY: Final = "natgateway"
INTERFACE: Final = "network-interface"
PEERING: Final = "vpc-peering-connection"
VPC_ENDPOINT: Final = "vpc-endpoint"

TYPES: Final = (INTERNET_GATEWAY, EGRESS_ONLY_GATEWAY, NAT_GATEWAY, INTERFACE, PEERING, VPC_ENDPOINT)
"""The types of targets that a route's row may have, as in `catalog/nouns.py`."""


@dataclass(frozen=True, slots=True)
class Target:
    """A target that exists; `type` is one of `TYPES`."""

    type: str
    id: str


def find(tx: Transaction, caller: Caller, table: RouteTable, asked: TargetRequest) -> Target:
    """Find the target that a request names for a route of a table.

    Raises InvalidCombination unless exactly one is named, MalformedId, NotFound, InvalidParameter for one of another
    VPC, Unsupported, BadRequest (InvalidInstanceID) for an instance with several interfaces.
    """
    finders: tuple[tuple[str | None, Callable[[Transaction, Caller, RouteTable, str], Target]], ...] = (
        (asked.gateway_id, _gateway),
        (asked.nat_gateway_id, _nat_gateway),
        (asked.interface_id, _interface),
        (asked.instance_id, _instance),
        (asked.egress_only_gateway_id, _egress_only_gateway),
        (asked.peering_id, _peering),
    )
    named = [(target_id, finder) for target_id, finder in finders if target_id is not None]
    if len(named) != 1 or asked.local:
        raise InvalidCombination(
            "The request must contain exactly one of gatewayId, natGatewayId, networkInterfaceId, "
            "vpcPeeringConnectionId, egressOnlyInternetGatewayId or instanceId"
        )
    [(target_id, finder)] = named
    return finder(tx, caller, table, target_id)


def is_live() -> ColumnElement[bool]:
    """Whether the target of a `Route` row still exists and is attached: else the route is a blackhole."""
    return or_(*(and_(Route.target_type == kind, _exists(*clauses)) for kind, clauses in _LIVE.items()))


_LIVE: Final[dict[str, tuple[ColumnElement[bool], ...]]] = {
    INTERNET_GATEWAY: (InternetGateway.id == Route.target_id, InternetGateway.vpc_id == Route.vpc_id),
    EGRESS_ONLY_GATEWAY: (EgressOnlyInternetGateway.id == Route.target_id,),
    NAT_GATEWAY: (NatGateway.id == Route.target_id, NatGateway.state.in_(("pending", "available"))),
    INTERFACE: (NetworkInterface.id == Route.target_id, NetworkInterface.attachment_id.is_not(None)),
    PEERING: (VpcPeeringConnection.id == Route.target_id, VpcPeeringConnection.status == peered_vpcs.ACTIVE),
    VPC_ENDPOINT: (VpcEndpoint.id == Route.target_id,),
}


def _exists(first: ColumnElement[bool], *more: ColumnElement[bool]) -> ColumnElement[bool]:
    """Whether a row meets all clauses, the first of which compares the id of its table with the route's target."""
    column: Any = first
    return select(column.left).where(first, *more).correlate(Route).exists()


def _gateway(tx: Transaction, caller: Caller, table: RouteTable, gateway_id: str) -> Target:
    if gateway_id.startswith(("vgw-", "lgw-", "cagw-")):
        raise Unsupported(f"Routes to gateways such as {gateway_id} are not supported by this cloud.")
    if ids.is_id(VPC_ENDPOINT, gateway_id):
        raise InvalidParameter(
            f"A route to the gateway endpoint {gateway_id} is made by adding the route table to the endpoint."
        )
    if not ids.is_id(INTERNET_GATEWAY, gateway_id):
        raise MalformedId(INTERNET_GATEWAY, gateway_id)
    query = select(InternetGateway).where(
        InternetGateway.id == gateway_id, InternetGateway.account_id == caller.account_id
    )
    gateway = tx.session.scalar(query)
    if gateway is None:
        raise NotFound(INTERNET_GATEWAY, gateway_id, code="InvalidGatewayID.NotFound")
    _check_vpc(table, gateway.vpc_id, f"network gateway {gateway_id}")
    return Target(INTERNET_GATEWAY, gateway.id)


def _nat_gateway(tx: Transaction, caller: Caller, table: RouteTable, gateway_id: str) -> Target:
    gateway = lookup.find(tx, caller, NAT_GATEWAY, NatGateway, gateway_id)
    if gateway.state not in ("pending", "available"):
        raise NotFound(NAT_GATEWAY, gateway_id, code="InvalidNatGatewayID.NotFound")
    _check_vpc(table, gateway.vpc_id, f"NAT gateway {gateway_id}")
    return Target(NAT_GATEWAY, gateway.id)


def _interface(tx: Transaction, caller: Caller, table: RouteTable, interface_id: str) -> Target:
    interface = lookup.find(tx, caller, INTERFACE, NetworkInterface, interface_id)
    _check_vpc(table, interface.vpc_id, f"interface {interface_id}")
    return Target(INTERFACE, interface.id)


def _instance(tx: Transaction, caller: Caller, table: RouteTable, instance_id: str) -> Target:
    lookup.find(tx, caller, "instance", Instance, instance_id)
    query = select(NetworkInterface).where(NetworkInterface.instance_id == instance_id)
    interfaces = tx.session.scalars(query.order_by(NetworkInterface.device_index)).all()
    if not interfaces:
        raise NotFound("instance", instance_id)
    if len(interfaces) > 1:
        raise BadRequest(
            f"There are multiple interfaces attached to instance '{instance_id}'. Please specify an interface ID for "
            "the operation instead.",
            code="InvalidInstanceID",
        )
    _check_vpc(table, interfaces[0].vpc_id, f"instance {instance_id}")
    return Target(INTERFACE, interfaces[0].id)


def _egress_only_gateway(tx: Transaction, caller: Caller, table: RouteTable, gateway_id: str) -> Target:
    gateway = lookup.find(tx, caller, EGRESS_ONLY_GATEWAY, EgressOnlyInternetGateway, gateway_id)
    _check_vpc(table, gateway.vpc_id, f"egress only internet gateway {gateway_id}")
    return Target(EGRESS_ONLY_GATEWAY, gateway.id)


def _peering(tx: Transaction, caller: Caller, table: RouteTable, peering_id: str) -> Target:
    peering = lookup.find_seen(tx, PEERING, VpcPeeringConnection, peering_id, peered_vpcs.sides(caller))
    if peering.status != peered_vpcs.ACTIVE:
        raise NotFound(PEERING, peering_id)
    if table.vpc_id not in (peering.requester_vpc_id, peering.accepter_vpc_id):
        raise InvalidParameter(
            f"route table {table.id} and peering connection {peering_id} belong to different networks"
        )
    return Target(PEERING, peering.id)


def _check_vpc(table: RouteTable, vpc_id: str | None, what: str) -> None:
    if vpc_id != table.vpc_id:
        raise InvalidParameter(f"route table {table.id} and {what} belong to different networks")
