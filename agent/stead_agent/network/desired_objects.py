"""Convert the desired state of a VPC or the host into the kernel objects that it needs, as plain values.

`plan.py` compares two sets of such objects, `observe.py` reads them from the kernel, `rtnetlink.py` applies them.
"""

import zlib
from collections.abc import Container, Iterable, Iterator, Mapping
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network
from typing import Final

from stead_agent.network import ipv6
from stead_agent.network.bandwidth import shaper_objects
from stead_agent.network.interface import (
    GATEWAY_MAC,
    GATEWAY_PREFIX,
    HOST_LINK,
    INTERNET_LINK,
    INTERNET_PREFIX,
    METADATA_ADDRESS,
    TIME_ADDRESS,
    HostNetwork,
    HostPaths,
    LocalInterface,
    Peer,
    Subnet,
    VpcNetwork,
    bridge_name,
    endpoint_link_name,
    gateway_address,
    peer_link_name,
    resolver_addresses,
    subnet_link_name,
)
from stead_agent.network.kernel_objects import (
    LAST_METRIC,
    Address,
    Bridge,
    KernelObject,
    Kind,
    Neighbour,
    PeerLink,
    Place,
    Proxy,
    Route,
    Setting,
    Up,
    Veth,
)
from stead_agent.network.namespaces import ENDPOINT_PREFIX as ENDPOINTS
from stead_agent.network.overlay import has_overlay, overlay_objects, router_next_hops
from stead_agent.network.route_tables import (
    HOST_END_ADDRESS,
    HOST_END_IPV6_ADDRESS,
    PEER_ADDRESS,
    PEER_IPV6_ADDRESS,
    NextHops,
    routing_objects,
)
from stead_proto.ids import link_name

# The internet link of a VPC: both MACs and the host's side are the same for all VPCs, so that ARP is never needed.
HOST_END_MAC: Final = "02:53:54:45:41:01"
INNER_END_MAC: Final = "02:53:54:45:41:02"
INNER_IPV6_ADDRESS: Final = "fe80::a9fe:3"
PEER_MAC: Final = "02:53:54:45:41:04"  # of both ends of a pair that joins two VPCs
# One address each for the namespaces' own ends of internet links; does not overlap EC2's 169.254.169.0/24.
INNER_ADDRESSES: Final = IPv4Network("169.254.0.0/17")
_FIRST_INNER: Final = 256  # 169.254.0.x is reserved for fixed addresses
# The idle timeouts in seconds of tracked flows, for interfaces that have none of their own: EC2's
# defaults. https://docs.aws.amazon.com/AWSEC2/latest/UserGuide/security-group-connection-tracking.html
_IDLE_SECONDS: Final = {"tcp_timeout_established": 432_000, "udp_timeout": 30, "udp_timeout_stream": 180}


def vpc_alias(vpc_id: str, subnet_id: str = "") -> str:
    """Return the alias that records a link's owner; `owner_of` reads it."""
    return f"stead {vpc_id} {subnet_id}".rstrip()


def owner_of(alias: str) -> str | None:
    """Return the VPC of a link from its alias, or None when it is not one of ours."""
    words = alias.split()
    return words[1] if len(words) > 1 and words[0] == "stead" else None


def internet_link_name(vpc_id: str) -> str:
    """Return the name of the host's end of a VPC's internet link."""
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
    """Choose the host's own address towards guests: the first usable one of the pools."""
    if not pools:
        return None
    pool = IPv4Network(pools[0], strict=False)
    return str(pool[1] if pool.prefixlen < 31 else pool[0])


def masqueraded(pools: tuple[str, ...], uplink_networks: Iterable[str]) -> tuple[str, ...]:
    """List the pools whose addresses are not routable beyond the uplink: those outside its own subnets."""
    networks = [IPv4Network(network, strict=False) for network in uplink_networks]
    return tuple(
        pool
        for pool in pools
        if not any(IPv4Network(pool, strict=False).subnet_of(network) for network in networks if network.prefixlen)
    )


def host_objects(host: HostNetwork, paths: HostPaths) -> list[KernelObject]:
    """Convert the host's desired state into kernel objects."""
    objects: list[KernelObject] = [
        # Bridged frames must not pass the inet hooks as if they were routed: br_netfilter does that by default.
        Setting(Place.HOST, f"net/bridge/bridge-nf-call-{family}tables", "0")
        for family in ("ip", "ip6", "arp")
    ]
    if paths.host_address:
        objects += [
            Bridge(HOST_LINK, "stead", 1500),
            Setting(Place.HOST, f"net/ipv6/conf/{HOST_LINK}/disable_ipv6", "1", HOST_LINK),
            Address(Place.HOST, HOST_LINK, f"{paths.host_address}/32"),
            Up(Place.HOST, HOST_LINK),
        ]
    for pool in host.public_pools:
        block = str(IPv4Network(pool, strict=False))
        if paths.uplink and pool not in paths.masqueraded_pools:
            # An address that is not here may be on another host, which answers for it there as this host does.
            objects.append(Route(Place.HOST, block, paths.uplink, metric=LAST_METRIC))
        else:
            objects.append(Route(Place.HOST, block, metric=LAST_METRIC, kind=Kind.UNREACHABLE))
    for pool in host.ipv6_pools:
        block = str(IPv6Network(pool, strict=False))
        objects.append(Route(Place.HOST, block, metric=LAST_METRIC, kind=Kind.UNREACHABLE))
    if paths.uplink:
        # Only on this link: forwarding on the host's other links is unchanged.
        objects.append(Setting(Place.HOST, f"net/ipv4/conf/{paths.uplink}/forwarding", "1", paths.uplink))
        if set(paths.masqueraded_pools) != set(host.public_pools):
            # Answer for public addresses at once; the default delays each first packet by 0.8 s.
            objects.append(Setting(Place.HOST, f"net/ipv4/neigh/{paths.uplink}/proxy_delay", "0", paths.uplink))
    return objects + (list(_host_ipv6(paths)) if host.ipv6_pools else [])


def _host_ipv6(paths: HostPaths) -> Iterator[KernelObject]:
    """Forward IPv6 packets of VPCs, and answer for their addresses on the uplink."""
    uplink = paths.uplink
    if uplink:
        # Only routers answer for others (ndisc_recv_ns). A router accepts router advertisements only with the value 2,
        # and else drops what it learned (rt6_purge_dflt_routers): so that is set first. A host that had 0 keeps it.
        yield Setting(Place.HOST, f"net/ipv6/conf/{uplink}/accept_ra", "2", uplink, tolerated="0")
        yield Setting(Place.HOST, f"net/ipv6/conf/{uplink}/forwarding", "1", uplink)
        yield Setting(Place.HOST, f"net/ipv6/conf/{uplink}/proxy_ndp", "1", uplink)
        yield Setting(Place.HOST, f"net/ipv6/neigh/{uplink}/proxy_delay", "0", uplink)
        if paths.has_ipv6_by_link:
            yield Setting(Place.HOST, f"net/ipv6/conf/{uplink}/force_forwarding", "1", uplink)
    if not paths.has_ipv6_by_link:
        yield Setting(Place.HOST, "net/ipv6/conf/all/forwarding", "1", uplink or "")


def vpc_objects(
    vpc: VpcNetwork, paths: HostPaths, inner_address: str, peers: Mapping[str, int] | None = None
) -> list[KernelObject]:
    """Convert a VPC's desired state into kernel objects, without the routes to addresses on other hosts (`overlay.py`).

    `peers` are the peer VPCs and endpoints that can be joined now, with the identities of their namespaces.
    """
    objects: list[KernelObject] = [*_namespace_settings(), *ipv6.namespace_settings(vpc)]
    resolvers = resolver_addresses(vpc.cidrs, tuple(subnet.cidr for subnet in vpc.subnets))
    objects += [
        Address(Place.VPC, "lo", f"{address}/32") for address in (METADATA_ADDRESS, TIME_ADDRESS, *sorted(resolvers))
    ]
    objects += ipv6.own_objects(vpc)
    objects.append(Up(Place.VPC, "lo"))
    # A VPC's own addresses never leave by the default route, whether or not their subnet is here.
    objects += [
        Route(Place.VPC, str(IPv4Network(cidr)), metric=LAST_METRIC, kind=Kind.UNREACHABLE) for cidr in vpc.cidrs
    ]
    objects += _internet_link(vpc, paths, inner_address)
    for subnet in vpc.subnets:
        objects += _subnet(vpc, subnet)
        objects += ipv6.subnet_objects(vpc, subnet)
    known = {subnet.id for subnet in vpc.subnets}
    for interface in vpc.interfaces:
        if interface.subnet_id in known:
            link = subnet_link_name(interface.subnet_id)
            objects += [Neighbour(Place.VPC, link, address, interface.mac) for address in interface.addresses]
            objects += ipv6.neighbours(vpc, interface)
        objects += _public_addresses(vpc, interface, paths, inner_address)
    objects += shaper_objects(vpc, vpc_alias(vpc.vpc_id))
    objects += overlay_objects(vpc, paths)
    present = [endpoint for endpoint in vpc.endpoints if endpoint.id in (peers or {})]
    for endpoint in present:
        objects += endpoint_link(vpc.vpc_id, endpoint.id, (peers or {})[endpoint.id], vpc.mtu)
    joined = [peer for peer in vpc.peers if peer.vpc_id in (peers or {})]
    for peer in joined:
        objects += _peer_link(vpc, peer, (peers or {})[peer.vpc_id])
    hops = NextHops(
        local=_local_routers(vpc),
        remote=router_next_hops(vpc.remotes) if has_overlay(paths) else {},
        peers={peer.vpc_id: peer.peering_id for peer in joined},
        endpoints={endpoint.id for endpoint in present},
    )
    return [*objects, *routing_objects(vpc, hops, inner_address, has_overlay=has_overlay(paths))]


def _local_routers(vpc: VpcNetwork) -> dict[str, LocalInterface]:
    known = {subnet.id for subnet in vpc.subnets}
    gateways = {gateway.interface_id for gateway in vpc.nat_gateways}
    return {
        interface.id: interface
        for interface in vpc.interfaces
        if (interface.is_router or interface.id in gateways) and interface.subnet_id in known
    }


def _namespace_settings() -> Iterator[Setting]:
    yield Setting(Place.VPC, "net/ipv4/ip_forward", "1")
    for scope in ("all", "default"):
        # Sources are checked where a guest is plugged in; a guest without source check may send from any.
        yield Setting(Place.VPC, f"net/ipv4/conf/{scope}/rp_filter", "0")
        yield Setting(Place.VPC, f"net/ipv4/conf/{scope}/send_redirects", "0")
        yield Setting(Place.VPC, f"net/ipv4/conf/{scope}/accept_redirects", "0")
        yield Setting(Place.VPC, f"net/ipv4/conf/{scope}/accept_source_route", "0")
    # With routing rules the kernel looks up the return route of each packet's source, only to check that the source
    # is not local (fib_validate_source): about 7 % of a packet's cost. The firewall checks only new flows instead.
    yield Setting(Place.VPC, "net/ipv4/conf/all/accept_local", "1")
    for name, seconds in _IDLE_SECONDS.items():
        yield Setting(Place.VPC, f"net/netfilter/nf_conntrack_{name}", str(seconds))


def _internet_link(vpc: VpcNetwork, paths: HostPaths, inner_address: str) -> Iterator[KernelObject]:
    """Return the internet link, with next hops in both directions that need no ARP; route tables decide who uses it."""
    host_end = internet_link_name(vpc.vpc_id)
    yield Veth(host_end, vpc_alias(vpc.vpc_id), vpc.mtu, HOST_END_MAC, "", INTERNET_LINK, INNER_END_MAC)
    yield Setting(Place.HOST, f"net/ipv4/conf/{host_end}/forwarding", "1", host_end)
    yield Setting(Place.HOST, f"net/ipv4/conf/{host_end}/send_redirects", "0", host_end)
    yield Address(Place.VPC, INTERNET_LINK, f"{inner_address}/32")
    yield Up(Place.HOST, host_end)
    yield Up(Place.VPC, INTERNET_LINK)
    yield Neighbour(Place.VPC, INTERNET_LINK, HOST_END_ADDRESS, HOST_END_MAC)
    yield Route(Place.HOST, f"{inner_address}/32", host_end)
    yield Neighbour(Place.HOST, host_end, inner_address, INNER_END_MAC)
    disabled = f"net/ipv6/conf/{host_end}/disable_ipv6"
    if not vpc.ipv6_cidrs:
        yield Setting(Place.HOST, disabled, "1", host_end)
        return
    for name in ("accept_ra", "accept_redirects", "accept_dad"):
        yield Setting(Place.HOST, f"net/ipv6/conf/{host_end}/{name}", "0", host_end)
    yield Setting(Place.HOST, f"net/ipv6/conf/{host_end}/addr_gen_mode", "1", host_end)
    if paths.has_ipv6_by_link:
        yield Setting(Place.HOST, f"net/ipv6/conf/{host_end}/force_forwarding", "1", host_end)
    yield Setting(Place.HOST, disabled, "0", host_end)
    yield Neighbour(Place.VPC, INTERNET_LINK, HOST_END_IPV6_ADDRESS, HOST_END_MAC)
    yield Neighbour(Place.HOST, host_end, INNER_IPV6_ADDRESS, INNER_END_MAC)


def _subnet(vpc: VpcNetwork, subnet: Subnet) -> list[KernelObject]:
    """Return the bridge for guests' taps, and the gateway that answers ARP for all addresses (kernel doc ip-sysctl)."""
    bridge, port, link = bridge_name(subnet.id), link_name(GATEWAY_PREFIX, subnet.id), subnet_link_name(subnet.id)
    alias = vpc_alias(vpc.vpc_id, subnet.id)
    return [
        Bridge(bridge, alias, vpc.mtu),
        Veth(port, alias, vpc.mtu, "", bridge, link, GATEWAY_MAC),
        Setting(Place.HOST, f"net/ipv6/conf/{bridge}/disable_ipv6", "1", bridge),
        Setting(Place.HOST, f"net/ipv6/conf/{port}/disable_ipv6", "1", port),
        Setting(Place.VPC, f"net/ipv4/conf/{link}/proxy_arp", "1", link),
        Setting(Place.VPC, f"net/ipv4/conf/{link}/proxy_arp_pvlan", "1", link),
        Setting(Place.VPC, f"net/ipv4/neigh/{link}/proxy_delay", "0", link),
        *_gateway(link, subnet.cidr),
        Up(Place.HOST, bridge),
        Up(Place.HOST, port),
        Up(Place.VPC, link),
    ]


def _gateway(link: str, cidr: str) -> Iterator[Address]:
    """Return a subnet's IPv4 gateway address, if it has IPv4."""
    if cidr:
        yield Address(Place.VPC, link, f"{gateway_address(cidr)}/{IPv4Network(cidr).prefixlen}")


def _peer_link(vpc: VpcNetwork, peer: Peer, namespace: int) -> Iterator[KernelObject]:
    """Return the link to a peer, with next hops that need no ARP; route tables decide who uses it."""
    link = peer_link_name(peer.peering_id)
    yield PeerLink(link, vpc.vpc_id, PEER_MAC, vpc.mtu, peer.vpc_id, namespace)
    yield Up(Place.VPC, link)
    yield Neighbour(Place.VPC, link, PEER_ADDRESS, PEER_MAC)
    if vpc.ipv6_cidrs:
        # The peer may have made the pair before this namespace had its settings.
        yield Setting(Place.VPC, f"net/ipv6/conf/{link}/addr_gen_mode", "1", link)
        yield Neighbour(Place.VPC, link, PEER_IPV6_ADDRESS, PEER_MAC)


def endpoint_link(own: str, other: str, namespace: int, mtu: int) -> list[KernelObject]:
    """Return the link between a VPC and a gateway endpoint, as seen from either side, with a next hop without ARP.

    `namespace` is the identity of the other namespace.
    """
    endpoint = own if own.startswith(ENDPOINTS) else other
    link = endpoint_link_name(endpoint)
    return [
        PeerLink(link, own, PEER_MAC, mtu, other, namespace),
        Setting(Place.VPC, f"net/ipv6/conf/{link}/disable_ipv6", "1", link),
        Up(Place.VPC, link),
        Neighbour(Place.VPC, link, PEER_ADDRESS, PEER_MAC),
    ]


def _public_addresses(
    vpc: VpcNetwork, interface: LocalInterface, paths: HostPaths, inner_address: str
) -> Iterator[KernelObject]:
    """Route public addresses to the VPC, and answer for them on the uplink unless they are masqueraded."""
    host_end = internet_link_name(vpc.vpc_id)
    masked = [IPv4Network(pool, strict=False) for pool in paths.masqueraded_pools]
    for pair in interface.public_addresses:
        yield Route(Place.HOST, f"{pair.public}/32", host_end, inner_address, paths.host_address or "")
        if paths.uplink and not any(IPv4Address(pair.public) in network for network in masked):
            yield Proxy(paths.uplink, pair.public)
    if vpc.ipv6_cidrs:
        for address in interface.ipv6_addresses:
            public = str(IPv6Address(address))
            yield Route(Place.HOST, f"{public}/128", host_end, INNER_IPV6_ADDRESS)
            if paths.uplink:
                yield Proxy(paths.uplink, public)
