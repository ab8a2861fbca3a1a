"""Add routes to route tables, replace and delete them.

See https://docs.aws.amazon.com/vpc/latest/userguide/VPC_Route_Tables.html. Local routes have no rows: there is one for
each block of the VPC. A row whose destination is such a block is a local route with a replaced target.
"""

from collections.abc import Sequence
from datetime import datetime
from ipaddress import ip_network
from typing import Final

from sqlalchemy import select

from stead_controller.db.tables import Route, RouteTable, Subnet, Vpc
from stead_controller.desired import route_targets
from stead_controller.desired.route_targets import Target
from stead_controller.errors import AlreadyExists, InvalidCombination, InvalidParameter, NotFound, Unsupported
from stead_controller.request import cidr_blocks, lookup, route_destinations
from stead_controller.request.caller import Caller
from stead_controller.request.cidr_blocks import Network
from stead_controller.request.route_destinations import Destination
from stead_controller.request.route_target import TargetRequest
from stead_controller.request.transaction import Transaction
from stead_controller.resources import quotas
from stead_controller.resources.network import notify_topology, vpc_endpoint_services, vpcs

_INSIDE: Final = (route_targets.INTERFACE, route_targets.NAT_GATEWAY)


def create(
    tx: Transaction, caller: Caller, table_id: str, destination: Destination, asked: TargetRequest, *, now: datetime
) -> None:
    """Add a route.

    Raises MalformedId, NotFound, InvalidParameter, InvalidCombination, AlreadyExists, LimitExceeded.
    """
    table = _table(tx, caller, table_id)
    route_destinations.refuse_reserved(destination)
    target = route_targets.find(tx, caller, table, asked)
    _check_family(destination, target)
    _check_prefix_list(tx, caller, destination)
    blocks = _blocks(tx, table)
    if destination.text in blocks or tx.session.get(Route, (table.id, destination.text)) is not None:
        raise AlreadyExists("route", f"The route identified by {destination.text} already exists.")
    _check_inside(tx, table, destination, target, blocks)
    quotas.check(
        tx,
        table.account_id,
        quotas.ROUTES_PER_TABLE,
        Route.destination,
        Route.route_table_id == table.id,
    )
    _add(tx, table, destination, target, now)
    notify_topology.route_table(tx, table.id, table.vpc_id)


def replace(
    tx: Transaction, caller: Caller, table_id: str, destination: Destination, asked: TargetRequest, *, now: datetime
) -> None:
    """Replace a route's target; for a local route by an interface, and with `asked.local` by `local` again.

    Raises MalformedId, NotFound, InvalidParameter, InvalidCombination.
    """
    table = _table(tx, caller, table_id)
    _check_prefix_list(tx, caller, destination)
    blocks = _blocks(tx, table)
    row = tx.session.get(Route, (table.id, destination.text))
    if asked.local and asked == TargetRequest(local=True):
        if destination.text not in blocks:
            raise InvalidParameter(f"The route identified by {destination.text} is not a local route.")
        if row is not None:
            tx.session.delete(row)
        notify_topology.route_table(tx, table.id, table.vpc_id)
        return
    target = route_targets.find(tx, caller, table, asked)
    _check_family(destination, target)
    if row is None and destination.text not in blocks:
        raise InvalidParameter(
            f"There is no route defined for '{destination.text}' in the route table. Use CreateRoute instead."
        )
    _check_inside(tx, table, destination, target, blocks)
    if row is None:
        _add(tx, table, destination, target, now)
    else:
        _refuse_endpoint(row, "replace")
        row.target_type, row.target_id = target.type, target.id
    notify_topology.route_table(tx, table.id, table.vpc_id)


def remove(tx: Transaction, caller: Caller, table_id: str, destination: Destination) -> None:
    """Delete a route; raises MalformedId, NotFound (also InvalidRoute.NotFound), InvalidParameter for a local one."""
    table = _table(tx, caller, table_id)
    if destination.text in _blocks(tx, table):
        raise InvalidParameter(f"cannot remove local route {destination.text} in route table {table.id}")
    row = tx.session.get(Route, (table.id, destination.text))
    if row is None:
        error = NotFound("route", destination.text)
        error.message = f"no route with destination-cidr-block {destination.text} in route table {table.id}"
        raise error
    _refuse_endpoint(row, "remove")
    tx.session.delete(row)
    notify_topology.route_table(tx, table.id, table.vpc_id)


def _refuse_endpoint(route: Route, verb: str) -> None:
    """Refuse a change that would separate a gateway endpoint from its route table; raises InvalidParameter."""
    if route.target_type == route_targets.VPC_ENDPOINT:
        raise InvalidParameter(
            f"cannot {verb} VPC endpoint route {route.destination} in route table {route.route_table_id}"
        )


def refuse_covered(tx: Transaction, vpc: Vpc, block: Network) -> None:
    """Refuse a new block of a VPC that would cover the destination of a route; raises InvalidParameter."""
    query = select(Route.destination).where(Route.vpc_id == vpc.id, Route.family != route_destinations.PREFIX_LIST)
    for destination in tx.session.scalars(query):
        if cidr_blocks.is_within(ip_network(destination), [str(block)]):
            raise InvalidParameter(
                f"The CIDR '{block}' covers the destination {destination} of a route of the VPC.",
                code="InvalidVpc.Range",
            )


def _table(tx: Transaction, caller: Caller, table_id: str) -> RouteTable:
    return lookup.find(tx, caller, "route-table", RouteTable, table_id)


def _blocks(tx: Transaction, table: RouteTable) -> list[str]:
    return [block.cidr_block for block in vpcs.blocks_of(tx, [table.vpc_id])[table.vpc_id]]


def _add(tx: Transaction, table: RouteTable, destination: Destination, target: Target, now: datetime) -> None:
    tx.session.add(
        Route(
            route_table_id=table.id,
            destination=destination.text,
            vpc_id=table.vpc_id,
            family=destination.family,
            target_type=target.type,
            target_id=target.id,
            created=now,
        )
    )
    tx.session.flush()


def _check_prefix_list(tx: Transaction, caller: Caller, destination: Destination) -> None:
    if destination.family == route_destinations.PREFIX_LIST:
        vpc_endpoint_services.find_list(tx, caller, destination.text)


def _check_family(destination: Destination, target: Target) -> None:
    """Refuse an IPv4-only target for IPv6 packets, and vice versa; prefix lists may hold either."""
    if target.type == route_targets.EGRESS_ONLY_GATEWAY and destination.family == route_destinations.IPV4:
        raise InvalidCombination("An egress-only internet gateway can be the target of IPv6 routes only.")
    if target.type == route_targets.NAT_GATEWAY and destination.family == route_destinations.IPV6:
        raise Unsupported("IPv6 routes to a NAT gateway (NAT64) are not supported by this cloud.")


def _check_inside(
    tx: Transaction, table: RouteTable, destination: Destination, target: Target, blocks: Sequence[str]
) -> None:
    """Allow a route inside the VPC's blocks only for a whole subnet, and only to an interface."""
    block = destination.block
    if block is None or not cidr_blocks.is_within(block, blocks):
        return
    if target.type not in _INSIDE:
        raise InvalidParameter(
            f"The destination CIDR block {destination.text} is equal to or more specific than one of this VPC's CIDR "
            "blocks. This route can target only an interface or an instance."
        )
    column = Subnet.cidr_block if destination.family == route_destinations.IPV4 else Subnet.ipv6_cidr_block
    query = select(Subnet.id).where(Subnet.vpc_id == table.vpc_id, column == destination.text)
    if destination.text not in blocks and tx.session.scalar(query) is None:
        raise InvalidParameter(
            f"The destination CIDR block {destination.text} is more specific than one of this VPC's CIDR blocks and "
            "must be the CIDR block of a subnet."
        )
