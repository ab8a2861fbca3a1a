"""Create, find (with their routes and associations) and delete route tables."""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
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

_WITH_THE_TABLE: Final = "CreateRouteTable"

LOCAL: Final = "local"
"""The target type and id of a local route."""


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
    "route.origin": _any_of(constant(_WITH_THE_TABLE), exists_where(_ROUTES, constant("CreateRoute"))),
    "route.state": _any_of(
        constant("active"), exists_where(_ROUTES.where(~route_targets.is_live()), constant("blackhole"))
    ),
    "route.transit-gateway-id": NEVER,
    "route.vpc-peering-connection-id": _through(route_targets.PEERING),
    "vpc-id": text(RouteTable.vpc_id),
}


@dataclass(frozen=True, slots=True)
class DescribedRoute:
    """A route; `target_type` is a type of resource as in `catalog/nouns.py` or LOCAL, `origin` is EC2's word.

    A route to an interface has the instance, and its account, that the interface is attached to.
    """

    destination: Destination
    target_type: str
    target_id: str
    origin: str
    live: bool = True
    instance_id: str | None = None
    instance_owner_id: str | None = None


@dataclass(frozen=True, slots=True)
class DescribedRouteTable:
    """A route table with its associations, its routes, the local ones first, and its tags."""

    table: RouteTable
    associations: Sequence[RouteTableAssociation]
    routes: Sequence[DescribedRoute]
    tags: Sequence[tuple[str, str]]


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
    """Delete a route table without associations, with its routes; raises MalformedId, NotFound, InUse."""
    table = lookup.find(tx, caller, "route-table", RouteTable, table_id)
    used = select(RouteTableAssociation.id).where(RouteTableAssociation.route_table_id == table.id).limit(1)
    if tx.session.scalar(used) is not None:
        raise InUse(f"The routeTable '{table.id}' has dependencies and cannot be deleted.")
    tx.session.delete(table)  # and its routes: the foreign key cascades
    tags.remove_all(tx, [table.id])
    notify_topology.route_table(tx, table.id, table.vpc_id)


def describe(tx: Transaction, caller: Caller, asked: Selection) -> list[DescribedRouteTable]:
    """Find the caller's route tables, sorted by id; raises MalformedId, NotFound."""
    tables = lookup.select_page(tx, caller, "route-table", RouteTable, asked, conditions=FILTERS)
    table_ids = [table.id for table in tables]
    tagged = tags.pairs_of(tx, caller.account_id, table_ids)
    blocks = vpcs.blocks_of(tx, {table.vpc_id for table in tables})
    associations = _associations(tx, table_ids)
    routes = _routes(tx, table_ids)
    return [
        DescribedRouteTable(
            table,
            associations[table.id],
            _with_local(blocks[table.vpc_id], routes[table.id]),
            tagged.get(table.id, ()),
        )
        for table in tables
    ]


def _associations(tx: Transaction, table_ids: Iterable[str]) -> dict[str, list[RouteTableAssociation]]:
    found: dict[str, list[RouteTableAssociation]] = defaultdict(list)
    for batch in lookup.batches(table_ids):
        query = select(RouteTableAssociation).where(RouteTableAssociation.route_table_id.in_(batch))
        for row in tx.session.scalars(query.order_by(RouteTableAssociation.id)):
            found[row.route_table_id].append(row)
    return found


def _routes(tx: Transaction, table_ids: Iterable[str]) -> dict[str, dict[str, DescribedRoute]]:
    """Return the described routes, by the table's id and the destination."""
    found: dict[str, dict[str, DescribedRoute]] = defaultdict(dict)
    for batch in lookup.batches(table_ids):
        query = (
            select(Route, route_targets.is_live(), NetworkInterface.instance_id, NetworkInterface.account_id)
            .outerjoin(NetworkInterface, NetworkInterface.id == Route.target_id)
            .where(Route.route_table_id.in_(batch))
            .order_by(Route.route_table_id, Route.created, Route.destination)
        )
        for route, live, instance_id, owner_id in tx.session.execute(query):
            found[route.route_table_id][route.destination] = DescribedRoute(
                Destination(route.family, route.destination),
                route.target_type,
                route.target_id,
                "CreateRoute",
                live=live,
                instance_id=instance_id,
                instance_owner_id=owner_id if instance_id else None,
            )
    return found


def _with_local(blocks: Iterable[VpcCidrBlock], routes: Mapping[str, DescribedRoute]) -> list[DescribedRoute]:
    """Put the local routes of the VPC's blocks first, replaced ones with their other target."""
    local: list[DescribedRoute] = []
    own = {block.cidr_block for block in blocks}
    for block in blocks:
        elsewhere = routes.get(block.cidr_block)
        if elsewhere is not None:
            local.append(replace(elsewhere, origin=_WITH_THE_TABLE))
        else:
            destination = Destination(IPV6 if block.ipv6 else IPV4, block.cidr_block)
            local.append(DescribedRoute(destination, LOCAL, LOCAL, _WITH_THE_TABLE))
    return local + [route for destination, route in routes.items() if destination not in own]
