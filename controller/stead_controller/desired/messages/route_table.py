"""Builds a `RouteTable` from its rows: each route with its target as a host needs it."""

from collections.abc import Iterable, Mapping

from sqlalchemy import select

from stead_controller.db.session import Transaction
from stead_controller.db.tables import NatGateway, PrefixListEntry, Route, RouteTable, RouteTableAssociation
from stead_controller.desired import peered_vpcs, route_targets
from stead_controller.desired.messages import noted_rows
from stead_controller.request.route_destinations import PREFIX_LIST
from stead_proto.v1 import desired_pb2 as pb


def draw(tx: Transaction, table_id: str) -> pb.RouteTable | None:
    """A route table as hosts see it, prefix lists expanded; None when it is gone."""
    table = tx.session.get(RouteTable, table_id)
    if table is None:
        return None
    query = (
        select(Route, route_targets.is_live(), NatGateway.interface_id)
        .outerjoin(NatGateway, NatGateway.id == Route.target_id)
        .where(Route.route_table_id == table.id)
        .order_by(Route.destination)
    )
    peers = peered_vpcs.active_of(tx, table.vpc_id)
    routes: dict[str, pb.Route] = {}
    for route, live, interface_id in tx.session.execute(query):
        for destination in _destinations(tx, route):
            message = _route(route, destination, live=live, nat_interface_id=interface_id, peers=peers)
            # A route for the block itself takes precedence over a prefix list's, and the first list over further ones.
            if route.family != PREFIX_LIST:
                routes[destination] = message
            else:
                routes.setdefault(destination, message)
    return pb.RouteTable(
        vpc_id=table.vpc_id,
        routes=[routes[destination] for destination in sorted(routes)],
        rows=_rows(tx, table),
    )


def _rows(tx: Transaction, table: RouteTable) -> bytes:
    main = RouteTableAssociation.subnet_id.is_(None)  # the others are in their subnets
    lists = select(Route.destination).where(Route.route_table_id == table.id, Route.family == PREFIX_LIST)
    return noted_rows.of(
        tx,
        (RouteTable, RouteTable.id == table.id),
        (RouteTableAssociation, main & (RouteTableAssociation.route_table_id == table.id)),
        (Route, Route.route_table_id == table.id),
        *noted_rows.prefix_lists(table.account_id, lists),
    )


def ids(tx: Transaction, vpc_id: str) -> Iterable[str]:
    """All route tables of a VPC."""
    return tx.session.scalars(select(RouteTable.id).where(RouteTable.vpc_id == vpc_id)).all()


def _destinations(tx: Transaction, route: Route) -> list[str]:
    if route.family != PREFIX_LIST:
        return [route.destination]
    entries = select(PrefixListEntry.cidr).where(
        PrefixListEntry.prefix_list_id == route.destination, PrefixListEntry.last_version.is_(None)
    )
    return list(tx.session.scalars(entries.order_by(PrefixListEntry.cidr)))


def _route(
    route: Route, destination: str, *, live: bool, nat_interface_id: str | None, peers: Mapping[str, str]
) -> pb.Route:
    match route.target_type:
        case route_targets.INTERNET_GATEWAY if live:
            return pb.Route(destination=destination, internet_gateway=True)
        case route_targets.EGRESS_ONLY_GATEWAY if live:
            return pb.Route(destination=destination, egress_only_gateway=True)
        case route_targets.INTERFACE if live:
            return pb.Route(destination=destination, interface_id=route.target_id)
        case route_targets.NAT_GATEWAY if live and nat_interface_id:
            return pb.Route(destination=destination, interface_id=nat_interface_id)
        case route_targets.PEERING if route.target_id in peers:
            return pb.Route(destination=destination, peer_vpc_id=peers[route.target_id])
        case route_targets.VPC_ENDPOINT if live:
            return pb.Route(destination=destination, vpc_endpoint_id=route.target_id)
    return pb.Route(destination=destination, blackhole=True)
