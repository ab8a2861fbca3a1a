"""Convert a VPC's or the host's picture into the kernel objects that it needs, as plain values.

`plan.py` compares two sets of such objects, `observe.py` reads them from the kernel, `rtnetlink.py` makes them so.
"""

import zlib
from collections.abc import Container, Iterable, Iterator
from dataclasses import dataclass
from enum import Enum
from ipaddress import IPv4Address, IPv4Network
from typing import Final

from stead_agent.network.interface import (
    GATEWAY_MAC,
    GATEWAY_PREFIX,
    HOST_LINK,
    INTERNET_LINK,
    INTERNET_PREFIX,
    METADATA_ADDRESS,
    HostNetwork,
    HostPaths,
    LocalInterface,
    VpcNetwork,
    bridge_name,
    gateway_address,
    resolver_addresses,
    subnet_link_name,
)
from stead_proto.ids import link_name

# The internet link of a VPC: both MACs and the host's side are the same for all VPCs, and never asked for by ARP.
HOST_END_ADDRESS: Final = "169.254.0.1"
HOST_END_MAC: Final = "02:53:54:45:41:01"
INNER_END_MAC: Final = "02:53:54:45:41:02"
BRIDGE_MAC: Final = "02:53:54:45:41:03"
# Where the namespaces' own ends of internet links have their addresses, one each; clear of EC2's 169.254.169.0/24.
INNER_ADDRESSES: Final = IPv4Network("169.254.0.0/17")
_FIRST_INNER: Final = 256  # 169.254.0.x is for fixed addresses

# Behind every other route to the same addresses: it is all that a free public address gets.
LAST_METRIC: Final = 0xFFFF_FFFE


class Place(Enum):
    """The namespace that an object is in."""

    HOST = "host"
    VPC = "vpc"


@dataclass(frozen=True, slots=True)
class Setting:
    """A sysctl; `link` is the link it belongs to, or "" when it is the whole namespace's."""

    place: Place
    path: str  # below /proc/sys
    value: str
    link: str = ""


@dataclass(frozen=True, slots=True)
class Bridge:
    """A bridge in the host's namespace."""

    name: str
    alias: str  # names its owner
    mtu: int


@dataclass(frozen=True, slots=True)
class Veth:
    """A pair of links: `name` in the host's namespace, `inner` in the VPC's."""

    name: str
    alias: str
    mtu: int
    mac: str  # "" = any
    master: str  # a bridge, or ""
    inner: str
    inner_mac: str


@dataclass(frozen=True, slots=True)
class Address:
    """An address of a link."""

    place: Place
    link: str
    address: str  # with its prefix length


@dataclass(frozen=True, slots=True)
class Up:
    """A link is switched on: after all that must be in force before its first packet."""

    place: Place
    link: str


@dataclass(frozen=True, slots=True)
class Route:
    """A route; without a link it says `unreachable`."""

    place: Place
    destination: str
    link: str = ""
    gateway: str = ""  # reached on the link, whatever the link's addresses are
    source: str = ""
    metric: int = 0


@dataclass(frozen=True, slots=True)
class Neighbour:
    """An address whose MAC is known for ever, so that nobody asks by ARP and nobody can lie."""

    place: Place
    link: str
    address: str
    mac: str


@dataclass(frozen=True, slots=True)
class Proxy:
    """A public address that the host answers ARP for on its uplink."""

    link: str
    address: str


Thing = Setting | Bridge | Veth | Address | Up | Route | Neighbour | Proxy


def vpc_alias(vpc_id: str, subnet_id: str = "") -> str:
    """Say in a link's alias to whom it belongs; `owner_of` reads it."""
    return f"stead {vpc_id} {subnet_id}".rstrip()


def owner_of(alias: str) -> str | None:
    """Tell the VPC of a link by its alias, or None when it is not one of ours."""
    words = alias.split()
    return words[1] if len(words) > 1 and words[0] == "stead" else None


def internet_link_name(vpc_id: str) -> str:
    """Name the host's end of a VPC's internet link."""
    return link_name(INTERNET_PREFIX, vpc_id)


def choose_inner_address(vpc_id: str, taken: Container[str]) -> str:
    """Choose the VPC's own address on its internet link: the same at each start, unless another VPC has it."""
    room = INNER_ADDRESSES.num_addresses - _FIRST_INNER
    first = zlib.crc32(vpc_id.encode())
    for step in range(room):
        address = str(INNER_ADDRESSES[_FIRST_INNER + (first + step) % room])
        if address not in taken:
            return address
    raise ValueError("all addresses for internet links are taken")


def default_host_address(pools: tuple[str, ...]) -> str | None:
    """Choose the host's own address towards guests: the first one that a pool can spare."""
    if not pools:
        return None
    pool = IPv4Network(pools[0], strict=False)
    return str(pool[1] if pool.prefixlen < 31 else pool[0])


def masqueraded(pools: tuple[str, ...], uplink_networks: Iterable[str]) -> tuple[str, ...]:
    """List the pools whose addresses mean nothing beyond the uplink: those outside its own subnets."""
    networks = [IPv4Network(network, strict=False) for network in uplink_networks]
    return tuple(
        pool
        for pool in pools
        if not any(IPv4Network(pool, strict=False).subnet_of(network) for network in networks if network.prefixlen)
    )


def host_things(host: HostNetwork, paths: HostPaths) -> list[Thing]:
    """Convert the host's picture into kernel objects."""
    things: list[Thing] = [
        # Bridged frames must not pass the inet hooks as if they were routed: br_netfilter does that by default.
        Setting(Place.HOST, f"net/bridge/bridge-nf-call-{family}tables", "0")
        for family in ("ip", "ip6", "arp")
    ]
    if paths.host_address:
        things += [
            Bridge(HOST_LINK, "stead", 1500),
            Setting(Place.HOST, f"net/ipv6/conf/{HOST_LINK}/disable_ipv6", "1", HOST_LINK),
            Address(Place.HOST, HOST_LINK, f"{paths.host_address}/32"),
            Up(Place.HOST, HOST_LINK),
        ]
    things += [
        Route(Place.HOST, str(IPv4Network(pool, strict=False)), metric=LAST_METRIC) for pool in host.public_pools
    ]
    if paths.uplink:
        # Only this link: the host's other links forward as little or as much as they did.
        things.append(Setting(Place.HOST, f"net/ipv4/conf/{paths.uplink}/forwarding", "1", paths.uplink))
        if set(paths.masqueraded_pools) != set(host.public_pools):
            # Answers for public addresses at once; the default makes each first packet wait 0.8 s.
            things.append(Setting(Place.HOST, f"net/ipv4/neigh/{paths.uplink}/proxy_delay", "0", paths.uplink))
    return things


def vpc_things(vpc: VpcNetwork, paths: HostPaths, inner_address: str) -> list[Thing]:
    """Convert a VPC's picture into kernel objects."""
    things: list[Thing] = list(_namespace_settings())
    resolvers = resolver_addresses(vpc.cidrs, tuple(subnet.cidr for subnet in vpc.subnets))
    things += [Address(Place.VPC, "lo", f"{address}/32") for address in (METADATA_ADDRESS, *sorted(resolvers))]
    things.append(Up(Place.VPC, "lo"))
    # A VPC's own addresses never leave by the default route, whether or not their subnet is here.
    things += [Route(Place.VPC, str(IPv4Network(cidr)), metric=LAST_METRIC) for cidr in vpc.cidrs]
    things += _internet_link(vpc, inner_address)
    for subnet in vpc.subnets:
        things += _subnet(vpc, subnet.id, subnet.cidr)
    masked = [IPv4Network(pool, strict=False) for pool in paths.masqueraded_pools]
    known = {subnet.id for subnet in vpc.subnets}
    for interface in vpc.interfaces:
        if interface.subnet_id in known:
            link = subnet_link_name(interface.subnet_id)
            things += [Neighbour(Place.VPC, link, address, interface.mac) for address in interface.addresses]
        things += _public_addresses(vpc.vpc_id, interface, paths, inner_address, masked)
    return things


def _namespace_settings() -> Iterator[Setting]:
    yield Setting(Place.VPC, "net/ipv4/ip_forward", "1")
    for scope in ("all", "default"):
        # Sources are checked where a guest is plugged in; a guest without source check may send any.
        yield Setting(Place.VPC, f"net/ipv4/conf/{scope}/rp_filter", "0")
        yield Setting(Place.VPC, f"net/ipv4/conf/{scope}/send_redirects", "0")
        yield Setting(Place.VPC, f"net/ipv4/conf/{scope}/accept_redirects", "0")
        yield Setting(Place.VPC, f"net/ipv4/conf/{scope}/accept_source_route", "0")
        yield Setting(Place.VPC, f"net/ipv6/conf/{scope}/accept_ra", "0")
        yield Setting(Place.VPC, f"net/ipv6/conf/{scope}/disable_ipv6", "1")


def _internet_link(vpc: VpcNetwork, inner_address: str) -> list[Thing]:
    """Make the way out, with routes in both directions that need no ARP."""
    host_end = internet_link_name(vpc.vpc_id)
    return [
        Veth(host_end, vpc_alias(vpc.vpc_id), vpc.mtu, HOST_END_MAC, "", INTERNET_LINK, INNER_END_MAC),
        Setting(Place.HOST, f"net/ipv6/conf/{host_end}/disable_ipv6", "1", host_end),
        Setting(Place.HOST, f"net/ipv4/conf/{host_end}/forwarding", "1", host_end),
        Setting(Place.HOST, f"net/ipv4/conf/{host_end}/send_redirects", "0", host_end),
        Address(Place.VPC, INTERNET_LINK, f"{inner_address}/32"),
        Up(Place.HOST, host_end),
        Up(Place.VPC, INTERNET_LINK),
        Route(Place.VPC, "0.0.0.0/0", INTERNET_LINK, HOST_END_ADDRESS, inner_address),
        Neighbour(Place.VPC, INTERNET_LINK, HOST_END_ADDRESS, HOST_END_MAC),
        Route(Place.HOST, f"{inner_address}/32", host_end),
        Neighbour(Place.HOST, host_end, inner_address, INNER_END_MAC),
    ]


def _subnet(vpc: VpcNetwork, subnet_id: str, cidr: str) -> list[Thing]:
    """Make a bridge for the guests' taps, and the gateway that answers ARP for everybody (kernel doc ip-sysctl)."""
    bridge, port, link = bridge_name(subnet_id), link_name(GATEWAY_PREFIX, subnet_id), subnet_link_name(subnet_id)
    alias = vpc_alias(vpc.vpc_id, subnet_id)
    return [
        Bridge(bridge, alias, vpc.mtu),
        Veth(port, alias, vpc.mtu, "", bridge, link, GATEWAY_MAC),
        Setting(Place.HOST, f"net/ipv6/conf/{bridge}/disable_ipv6", "1", bridge),
        Setting(Place.HOST, f"net/ipv6/conf/{port}/disable_ipv6", "1", port),
        Setting(Place.VPC, f"net/ipv4/conf/{link}/proxy_arp", "1", link),
        Setting(Place.VPC, f"net/ipv4/conf/{link}/proxy_arp_pvlan", "1", link),
        Setting(Place.VPC, f"net/ipv4/neigh/{link}/proxy_delay", "0", link),
        Address(Place.VPC, link, f"{gateway_address(cidr)}/{IPv4Network(cidr).prefixlen}"),
        Up(Place.HOST, bridge),
        Up(Place.HOST, port),
        Up(Place.VPC, link),
    ]


def _public_addresses(
    vpc_id: str, interface: LocalInterface, paths: HostPaths, inner_address: str, masked: list[IPv4Network]
) -> Iterator[Thing]:
    """Route public addresses to the VPC, and answer for them on the uplink where its neighbours may ask."""
    host_end = internet_link_name(vpc_id)
    for pair in interface.public_addresses:
        yield Route(Place.HOST, f"{pair.public}/32", host_end, inner_address, paths.host_address or "")
        if paths.uplink and not any(IPv4Address(pair.public) in network for network in masked):
            yield Proxy(paths.uplink, pair.public)
