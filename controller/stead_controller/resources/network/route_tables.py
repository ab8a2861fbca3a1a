"""Route tables: made, shown with their routes as EC2 shows them, deleted."""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any, Final

from sqlalchemy import select

from stead_controller.catalog import ids
from stead_controller.db.tables import (
    NetworkInterface,
    Route,
    RouteTable,
    RouteTableAssociation,
    VpcCidrBlock,
)
from stead_controller.desired import route_targets
from stead_controller.errors import InUse
from stead_controller.request import lookup
from stead_controller.request.caller import Caller
from stead_controller.request.conditions import NEVER, Condition, Selection, constant, exists_where, text
from stead_controller.request.filters import Filter
from stead_controller.request.route_destinations import IPV4, IPV6, PREFIX_LIST, Destination
from stead_controller.request.transaction import Transaction
from stead_controller.resources import quotas, tags
from stead_controller.resources.network import notify_topology, vpcs

_ASSOCIATIONS: Final = (
    select(RouteTableAssociation.id).where(RouteTableAssociation.route_table_id == RouteTable.id).correlate(RouteTable)
)
_ROUTES: Final = select(Route.destination).where(Route.route_table_id == RouteTable.id).correlate(RouteTable)
_BLOCKS: Final = select(VpcCidrBlock.id).where(VpcCidrBlock.vpc_id == RouteTable.vpc_id).correlate(RouteTable)
# The member of a route in answers for each type of target.
_MEMBERS: Final = {
    route_targets.INTERNET_GATEWAY: "GatewayId",
    route_targets.EGRESS_ONLY_GATEWAY: "EgressOnlyInternetGatewayId",
    route_targets.NAT_GATEWAY: "NatGatewayId",
    route_targets.INTERFACE: "NetworkInterfaceId",
    route_targets.PEERING: "VpcPeeringConnectionId",
    route_targets.VPC_ENDPOINT: "GatewayId",
}


def _any_of(*conditions: Condition) -> Condition:
    """Require that one of the conditions holds."""

    def condition(asked: Filter) -> Any:
        first, *more = (one(asked) for one in conditions)
        for other in more:
            first = first | other
        return first

    return condition


def _to(family: str) -> Condition:
    return exists_where(_ROUTES.where(Route.family == family), text(Route.destination))


def _local(*, ipv6: bool) -> Condition:
    return exists_where(_BLOCKS.where(VpcCidrBlock.ipv6.is_(ipv6)), text(VpcCidrBlock.cidr_block))


def _through(target_type: str) -> Condition:
    return exists_where(_ROUTES.where(Route.target_type == target_type), text(Route.target_id))


_BY_INTERFACE: Final = _ROUTES.join(NetworkInterface, NetworkInterface.id == Route.target_id)

FILTERS: Final[dict[str, Condition]] = {
    "association.gateway-id": NEVER,
    "association.main": _any_of(
        exists_where(_ASSOCIATIONS.where(RouteTableAssociation.subnet_id.is_(None)), constant("true")),
        exists_where(_ASSOCIATIONS.where(RouteTableAssociation.subnet_id.is_not(None)), constant("false")),
    ),
    "association.route-table-association-id": exists_where(_ASSOCIATIONS, text(RouteTableAssociation.id)),
    "association.route-table-id": exists_where(_ASSOCIATIONS, text(RouteTableAssociation.route_table_id)),
    "association.subnet-id": exists_where(_ASSOCIATIONS, text(RouteTableAssociation.subnet_id)),
    "owner-id": text(RouteTable.account_id),
    "route-table-id": text(RouteTable.id),
    "route.destination-cidr-block": _any_of(_local(ipv6=False), _to(IPV4)),
    "route.destination-ipv6-cidr-block": _any_of(_local(ipv6=True), _to(IPV6)),
    "route.destination-prefix-list-id": _to(PREFIX_LIST),
    "route.egress-only-internet-gateway-id": _through(route_targets.EGRESS_ONLY_GATEWAY),
    "route.gateway-id": _any_of(
        constant("local"), _through(route_targets.INTERNET_GATEWAY), _through(route_targets.VPC_ENDPOINT)
    ),
    "route.instance-id": exists_where(_BY_INTERFACE, text(NetworkInterface.instance_id)),
    "route.nat-gateway-id": _through(route_targets.NAT_GATEWAY),
    "route.origin": _any_of(constant("CreateRouteTable"), exists_where(_ROUTES, constant("CreateRoute"))),
    "route.state": _any_of(
        constant("active"), exists_where(_ROUTES.where(~route_targets.is_live()), constant("blackhole"))
    ),
    "route.transit-gateway-id": NEVER,
    "route.vpc-peering-connection-id": _through(route_targets.PEERING),
    "vpc-id": text(RouteTable.vpc_id),
}


def create(tx: Transaction, caller: Caller, vpc_id: str, table_tags: Mapping[str, str], now: datetime) -> RouteTable:
    """Make a route table of a VPC; raises MalformedId, NotFound, LimitExceeded."""
    vpc = vpcs.find(tx, caller, vpc_id)
    mine = RouteTable.vpc_id == vpc.id
    quotas.check(tx, vpc.account_id, quotas.ROUTE_TABLES_PER_VPC, RouteTable.id, mine)
    table = RouteTable(id=ids.new_id("route-table"), account_id=vpc.account_id, vpc_id=vpc.id, created=now)
    tx.session.add(table)
    tx.session.flush()
    tags.create_on_launch(tx, caller, [("route-table", table.id)], {"route-table": table_tags})
    notify_topology.route_table(tx, table.id, vpc.id)
    return table


def remove(tx: Transaction, caller: Caller, table_id: str) -> None:
    """Delete a route table that applies to nothing, with its routes; raises MalformedId, NotFound, InUse."""
    table = lookup.find(tx, caller, "route-table", RouteTable, table_id)
    used = select(RouteTableAssociation.id).where(RouteTableAssociation.route_table_id == table.id).limit(1)
    if tx.session.scalar(used) is not None:
        raise InUse(f"The routeTable '{table.id}' has dependencies and cannot be deleted.")
    tx.session.delete(table)  # and its routes: the foreign key cascades
    tags.remove_all(tx, [table.id])
    notify_topology.route_table(tx, table.id, table.vpc_id)


def describe(tx: Transaction, caller: Caller, asked: Selection) -> list[dict[str, Any]]:
    """List the caller's route tables in EC2's shape, sorted by id; raises MalformedId, NotFound."""
    found = lookup.select_page(tx, caller, "route-table", RouteTable, asked, conditions=FILTERS)
    return shown(tx, caller, found)


def shown(tx: Transaction, caller: Caller, tables: Sequence[RouteTable]) -> list[dict[str, Any]]:
    """Show route tables in EC2's shape, the local routes first."""
    table_ids = [table.id for table in tables]
    tagged = tags.of(tx, caller.account_id, table_ids)
    blocks = vpcs.blocks_of(tx, {table.vpc_id for table in tables})
    associations = _associations(tx, table_ids)
    routes = _routes(tx, table_ids)
    return [
        {
            "RouteTableId": table.id,
            "VpcId": table.vpc_id,
            "OwnerId": table.account_id,
            "Associations": associations[table.id],
            "PropagatingVgws": [],
            "Routes": _with_local(blocks[table.vpc_id], routes[table.id]),
            "Tags": tagged.get(table.id, []),
        }
        for table in tables
    ]


def _associations(tx: Transaction, table_ids: Iterable[str]) -> dict[str, list[dict[str, Any]]]:
    found: dict[str, list[dict[str, Any]]] = defaultdict(list)
    for batch in lookup.batches(table_ids):
        query = select(RouteTableAssociation).where(RouteTableAssociation.route_table_id.in_(batch))
        for row in tx.session.scalars(query.order_by(RouteTableAssociation.id)):
            found[row.route_table_id].append(
                {
                    "RouteTableAssociationId": row.id,
                    "RouteTableId": row.route_table_id,
                    "Main": row.subnet_id is None,
                    "SubnetId": row.subnet_id,
                    "AssociationState": {"State": "associated"},
                }
            )
    return found


def _routes(tx: Transaction, table_ids: Iterable[str]) -> dict[str, dict[str, dict[str, Any]]]:
    """Show the rows of routes, by the table's id and the destination."""
    found: dict[str, dict[str, dict[str, Any]]] = defaultdict(dict)
    for batch in lookup.batches(table_ids):
        query = (
            select(Route, route_targets.is_live(), NetworkInterface.instance_id, NetworkInterface.account_id)
            .outerjoin(NetworkInterface, NetworkInterface.id == Route.target_id)
            .where(Route.route_table_id.in_(batch))
            .order_by(Route.route_table_id, Route.created, Route.destination)
        )
        for route, live, instance_id, owner_id in tx.session.execute(query):
            found[route.route_table_id][route.destination] = {
                Destination(route.family, route.destination).member: route.destination,
                _MEMBERS[route.target_type]: route.target_id,
                "InstanceId": instance_id,
                "InstanceOwnerId": owner_id if instance_id else None,
                "Origin": "CreateRoute",
                "State": "active" if live else "blackhole",
            }
    return found


def _with_local(blocks: Iterable[VpcCidrBlock], routes: Mapping[str, dict[str, Any]]) -> list[dict[str, Any]]:
    """Put the routes of the VPC's own blocks first, those that were given another target with that target."""
    local: list[dict[str, Any]] = []
    own = {block.cidr_block for block in blocks}
    for block in blocks:
        destination = Destination(IPV6 if block.ipv6 else IPV4, block.cidr_block)
        own_route = {destination.member: destination.text, "GatewayId": "local", "State": "active"}
        local.append(routes.get(block.cidr_block, own_route) | {"Origin": "CreateRouteTable"})
    return local + [route for destination, route in routes.items() if destination not in own]
