"""Convert the route tables of a VPC's subnets into Linux tables and routing rules: pure.

In the kernel's order of evaluation: packets that another host sends to a router here; routes that override parts of the
VPC's own blocks (middlebox routing); the VPC itself, in the main table; the other routes of a route table; and, only
for packets sent by the namespace itself, the way out. A packet without a route is answered as unreachable. Packets
from a peer's link, from outside or from another host use only the main table: the VPC itself. ICMP errors to peers
are sent back by their links.
https://docs.aws.amazon.com/vpc/latest/userguide/RouteTables.html
"""

from collections.abc import Iterator, Mapping
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, replace
from ipaddress import IPv4Network, IPv6Network, ip_network
from typing import Final

from stead_agent.network.interface import (
    INTERNET_LINK,
    OVERLAY_LINK,
    LocalInterface,
    RouteTable,
    RouteTo,
    TableRoute,
    VpcNetwork,
    endpoint_link_name,
    peer_link_name,
    router_mark,
    subnet_link_name,
)
from stead_agent.network.ipv6 import link_local_of
from stead_agent.network.kernel_objects import KernelObject, Kind, Place, Route, RoutingRule, is_ipv6
from stead_agent.network.numbers import spread
from stead_agent.network.overlay import ipv6_next_hop

# Priorities of our rules; the kernel's own are 0 (local), 32766 (main) and 32767 (fib_default_rules_init).
TO_ROUTERS: Final = 500
TAKEN_OUT: Final = 1000
BEYOND: Final = 33000
OWN_ERRORS: Final = 33400
OWN_QUESTIONS: Final = 33500

# Numbers of our tables: each route table and router has one, above these.
_OWN_TABLE: Final = 0x5300_0000
_ERRORS_TABLE: Final = 0x5300_0001
_BEYOND_TABLES: Final = 0x5400_0000
_TAKEN_OUT_TABLES: Final = 0x5500_0000
_ROUTER_TABLES: Final = 0x5600_0000
_ROOM: Final = 1 << 24

# The ends of links between namespaces, the same in all of them; ARP is never used, since their MACs are known.
HOST_END_ADDRESS: Final = "169.254.0.1"
HOST_END_IPV6_ADDRESS: Final = "fe80::a9fe:1"
PEER_ADDRESS: Final = "169.254.0.2"
PEER_IPV6_ADDRESS: Final = "fe80::a9fe:2"

EVERYWHERE: Final = ("0.0.0.0/0", "::/0")
_ICMP: Final = (1, 58)


@dataclass(frozen=True, slots=True)
class NextHops:
    """The current next hops of routes' targets."""

    local: Mapping[str, LocalInterface]  # routers here, by id, on subnets that are here
    remote: Mapping[str, str]  # routers on other hosts: their next hops on the VXLAN device
    peers: Mapping[str, str]  # peer VPCs whose links exist: the peering's id
    endpoints: AbstractSet[str] = frozenset()  # gateway endpoints whose links exist


def routing_objects(
    vpc: VpcNetwork, hops: NextHops, inner_address: str, *, has_overlay: bool
) -> Iterator[KernelObject]:
    """Return all tables and rules of a VPC, without the main table's routes."""
    families = (False, True) if vpc.ipv6_cidrs else (False,)
    for is_six in families:
        yield RoutingRule(Place.VPC, is_six, OWN_QUESTIONS, _OWN_TABLE, "lo")
        way_out = _way_out(EVERYWHERE[is_six], _OWN_TABLE)
        yield way_out if is_six else replace(way_out, source=inner_address)
        yield from _errors(vpc, hops, is_six=is_six)
        if has_overlay:
            yield from _routers(hops, is_six=is_six)
    yield from _subnets(vpc, hops)


def _errors(vpc: VpcNetwork, hops: NextHops, *, is_six: bool) -> Iterator[KernelObject]:
    """Route the namespace's ICMP errors ("fragmentation needed" etc.) to peers by their links, not by the way out."""
    routes = [
        _route(TableRoute(block, RouteTo.PEER, peer.vpc_id), _ERRORS_TABLE, hops)
        for peer in vpc.peers
        for block in peer.cidrs
        if peer.vpc_id in hops.peers and is_ipv6(block) == is_six
    ]
    if routes:
        yield RoutingRule(Place.VPC, is_six, OWN_ERRORS, _ERRORS_TABLE, "lo", protocol=_ICMP[is_six])
        yield from routes


def _routers(hops: NextHops, *, is_six: bool) -> Iterator[KernelObject]:
    """Route packets that other hosts marked for a router to it, whatever their destination is."""
    for name, number in spread(hops.local, _ROOM).items():
        router, table = hops.local[name], _ROUTER_TABLES + number
        yield RoutingRule(Place.VPC, is_six, TO_ROUTERS, table, OVERLAY_LINK, router_mark(name))
        yield _to_local(EVERYWHERE[is_six], table, router)


def _subnets(vpc: VpcNetwork, hops: NextHops) -> Iterator[KernelObject]:
    tables = {table.id: table for table in vpc.route_tables}
    used = {subnet.id: subnet.route_table_id for subnet in vpc.subnets if subnet.route_table_id in tables}
    numbers = spread(tables, _ROOM)  # of all tables, so that an additional subnet changes no numbers
    routes = {name: list(_table(vpc, tables[name], numbers[name], hops)) for name in sorted(set(used.values()))}
    for written in routes.values():
        yield from written
    for subnet_id, name in used.items():
        link = subnet_link_name(subnet_id)
        for is_six, table in sorted({(is_ipv6(route.destination), route.table) for route in routes[name]}):
            priority = TAKEN_OUT if table >= _TAKEN_OUT_TABLES else BEYOND
            yield RoutingRule(Place.VPC, is_six, priority, table, link)


def _table(vpc: VpcNetwork, table: RouteTable, number: int, hops: NextHops) -> Iterator[Route]:
    own = [ip_network(block) for block in (*vpc.cidrs, *vpc.ipv6_cidrs)]
    for route in {route.destination: route for route in table.routes}.values():
        block = ip_network(route.destination, strict=False)
        if block.version == 6 and not vpc.ipv6_cidrs:
            continue
        first = _TAKEN_OUT_TABLES if any(_is_within(block, ours) for ours in own) else _BEYOND_TABLES
        yield _route(replace(route, destination=str(block)), first + number, hops)


def _is_within(block: IPv4Network | IPv6Network, other: IPv4Network | IPv6Network) -> bool:
    if isinstance(block, IPv4Network) and isinstance(other, IPv4Network):
        return block.subnet_of(other)
    return isinstance(block, IPv6Network) and isinstance(other, IPv6Network) and block.subnet_of(other)


def _route(route: TableRoute, table: int, hops: NextHops) -> Route:
    """Return one route; if its target does not exist, packets are dropped as with EC2's route state `blackhole`."""
    six = is_ipv6(route.destination)
    match route.to:
        case RouteTo.INTERNET:
            return _way_out(route.destination, table)
        case RouteTo.EGRESS_ONLY if six:
            return _way_out(route.destination, table)
        case RouteTo.INTERFACE if route.target in hops.local:
            return _to_local(route.destination, table, hops.local[route.target])
        case RouteTo.INTERFACE if route.target in hops.remote:
            hop = hops.remote[route.target]
            return _onward(route.destination, table, OVERLAY_LINK, ipv6_next_hop(hop) if six else hop)
        case RouteTo.PEER if route.target in hops.peers:
            link = peer_link_name(hops.peers[route.target])
            return _onward(route.destination, table, link, PEER_IPV6_ADDRESS if six else PEER_ADDRESS)
        case RouteTo.ENDPOINT if route.target in hops.endpoints and not six:
            return _onward(route.destination, table, endpoint_link_name(route.target), PEER_ADDRESS)
        case _:
            return Route(Place.VPC, route.destination, table=table, kind=Kind.BLACKHOLE)


def _way_out(destination: str, table: int) -> Route:
    gateway = HOST_END_IPV6_ADDRESS if is_ipv6(destination) else HOST_END_ADDRESS
    return _onward(destination, table, INTERNET_LINK, gateway)


def _to_local(destination: str, table: int, router: LocalInterface) -> Route:
    """Return a route to an interface here: its neighbour entries exist, for its link-local address too.

    One without IPv4 addresses cannot route IPv4.
    """
    if is_ipv6(destination):
        gateway = link_local_of(router.mac)
    elif router.addresses:
        gateway = router.addresses[0]
    else:
        return Route(Place.VPC, destination, table=table, kind=Kind.BLACKHOLE)
    return _onward(destination, table, subnet_link_name(router.subnet_id), gateway)


def _onward(destination: str, table: int, link: str, gateway: str) -> Route:
    return Route(Place.VPC, destination, link, gateway, table=table)
