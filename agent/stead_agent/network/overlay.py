"""Convert a VPC's interfaces on other hosts into its VXLAN device, next hops and routes: pure.

There is no learning and no flooding. A packet to another host goes to a next hop on the device whose MAC is
known, and the forwarding database maps the MAC to its host. The next hop of a host is its underlay address; that of a
router (an interface without source/destination check) is an address of its own with the interface's own MAC, by which
the receiving host recognises that the packet must be forwarded by the router and not delivered to its IP destination.
"""

from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from ipaddress import IPv4Address, IPv6Address
from typing import Final

from stead_agent.network.interface import OVERLAY_LINK, HostPaths, RemoteInterface, VpcNetwork
from stead_agent.network.kernel_objects import KernelObject, Neighbour, Place, Route, Tunnel, Up, Vxlan, is_ipv6
from stead_agent.network.numbers import spread

# The size of the headers around the inner IP packet in VXLAN: Ethernet, VXLAN, UDP and IPv4 (RFC 7348).
OVERHEAD: Final = 50

# Next hops of routers: reserved addresses (RFC 1112, section 4), so that they cannot be a host's.
_ROUTERS: Final = int(IPv4Address("240.0.0.0"))
_ROOM: Final = (1 << 28) - 1  # without 255.255.255.255
_LINK_LOCAL: Final = int(IPv6Address("fe80::5354:0:0"))


def overlay_mac(underlay_address: str) -> str:
    """Return the MAC of all VXLAN devices of a host."""
    return "02:58:" + ":".join(f"{byte:02x}" for byte in IPv4Address(underlay_address).packed)


def ipv6_next_hop(next_hop: str) -> str:
    """Return the link-local address that represents a next hop in IPv6."""
    return str(IPv6Address(_LINK_LOCAL | int(IPv4Address(next_hop))))


def has_overlay(paths: HostPaths) -> bool:
    """Tell whether VPCs of this host have VXLAN devices: always when the host has an underlay, since it is cheap."""
    return bool(paths.underlay_address)


def router_next_hops(remotes: Iterable[RemoteInterface]) -> dict[str, str]:
    """Choose a next hop for each router on another host, by its id."""
    remotes = tuple(remotes)
    taken = frozenset(int(IPv4Address(host)) - _ROUTERS for host in {remote.host for remote in remotes})
    numbers = spread((remote.id for remote in remotes if remote.is_router), _ROOM, taken)
    return {name: str(IPv4Address(_ROUTERS + number)) for name, number in numbers.items()}


def overlay_objects(vpc: VpcNetwork, paths: HostPaths) -> list[KernelObject]:
    """Return the device, and the next hops of other hosts and of their routers; for routes see `remote_routes`."""
    if not has_overlay(paths):
        return []
    own = paths.underlay_address
    mtu = min(vpc.mtu, paths.overlay_mtu or vpc.mtu)
    objects: list[KernelObject] = [
        Vxlan(OVERLAY_LINK, vpc.vni, own, overlay_mac(own), mtu),
        Up(Place.VPC, OVERLAY_LINK),
    ]
    with_ipv6 = bool(vpc.ipv6_cidrs)
    for host in sorted({remote.host for remote in vpc.remotes}):
        objects += _next_hop(host, overlay_mac(host), host, with_ipv6=with_ipv6)
    routers = router_next_hops(vpc.remotes)
    for remote in vpc.remotes:
        if remote.id in routers:
            objects += _next_hop(routers[remote.id], remote.mac, remote.host, with_ipv6=with_ipv6)
    return objects


def _next_hop(address: str, mac: str, host: str, *, with_ipv6: bool) -> Iterator[KernelObject]:
    yield Neighbour(Place.VPC, OVERLAY_LINK, address, mac)
    if with_ipv6:
        yield Neighbour(Place.VPC, OVERLAY_LINK, ipv6_next_hop(address), mac)
    yield Tunnel(OVERLAY_LINK, mac, host)


@dataclass(frozen=True, slots=True)
class Whereabouts:
    """The host of each address of a VPC that is on another host, and the state that it was computed from."""

    hosts: Mapping[str, str]  # address -> underlay address; without those on this host
    remotes: Collection[RemoteInterface]
    local: frozenset[str]
    with_ipv6: bool
    # The only addresses that may differ from the earlier hosts.
    before: Mapping[str, str] | None = field(default=None, compare=False)
    touched: frozenset[str] = field(default=frozenset(), compare=False)

    def since(self, old: "Whereabouts") -> tuple[dict[str, str], dict[str, str]]:
        """Return the addresses that were removed, and those that were added or moved."""
        if self.hosts is old.hosts:
            return {}, {}
        asked = self.touched if self.before is old.hosts else old.hosts.keys() | self.hosts.keys()
        differing = [address for address in asked if self.hosts.get(address) != old.hosts.get(address)]
        gone = {address: old.hosts[address] for address in differing if address in old.hosts}
        return gone, {address: self.hosts[address] for address in differing if address in self.hosts}


def whereabouts(vpc: VpcNetwork, paths: HostPaths, before: Whereabouts | None = None) -> Whereabouts:
    """Compute where each address is; only what changed since `before` is processed, since there may be 10,000.

    An address of an interface here is never elsewhere, whatever the remote interfaces say: it may have just moved. If
    several remote interfaces have an address, the last one wins.
    """
    remotes = vpc.remotes if has_overlay(paths) else ()
    local = frozenset(
        address for interface in vpc.interfaces for address in (*interface.addresses, *interface.ipv6_addresses)
    )
    with_ipv6 = bool(vpc.ipv6_cidrs)
    touched: set[str] = set()
    if before is None or before.with_ipv6 != with_ipv6:
        hosts = {address: remote.host for remote in remotes for address in remote.addresses}
        unwanted = {address for address in hosts if address in local or (is_ipv6(address) and not with_ipv6)}
    else:
        known, now = set(map(id, before.remotes)), set(map(id, remotes))
        changed = [it for it in before.remotes if id(it) not in now] + [it for it in remotes if id(it) not in known]
        touched = {address for remote in changed for address in remote.addresses} | (local ^ before.local)
        if not touched:
            return Whereabouts(before.hosts, remotes, local, with_ipv6)
        found = {it: remote.host for remote in remotes for it in remote.addresses if it in touched}
        hosts = {**before.hosts, **found}
        unwanted = {
            address
            for address in touched & hosts.keys()
            if address not in found or address in local or (is_ipv6(address) and not with_ipv6)
        }
    for address in unwanted:
        del hosts[address]
    origin = before.hosts if before and touched else None
    return Whereabouts(hosts, remotes, local, with_ipv6, origin, frozenset(touched))


def remote_routes(where: Mapping[str, str]) -> list[Route]:
    """Return the routes to addresses on other hosts."""
    return [remote_route(address, host) for address, host in where.items()]


def remote_route(address: str, host: str) -> Route:
    """Return the route to an address on another host."""
    if is_ipv6(address):
        return Route(Place.VPC, f"{address}/128", OVERLAY_LINK, ipv6_next_hop(host))
    return Route(Place.VPC, f"{address}/32", OVERLAY_LINK, host)
