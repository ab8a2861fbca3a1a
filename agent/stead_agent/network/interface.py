"""What the agent may ask of the network: whole pictures in, kernel objects out.

A VPC on a host is a network namespace named by its id; a subnet is a bridge in the host's namespace, joined to the
VPC's namespace by a veth pair whose inner end is the subnet's gateway (docs/data-plane.md). The rules that decide
which packet may pass are the firewall's; here is only where packets can go.
"""

import socket
import zlib
from collections.abc import Callable
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from enum import Enum
from ipaddress import IPv4Network
from pathlib import Path
from typing import Final, Protocol

from stead_agent import findings
from stead_proto.ids import link_name

# Kernel names: these prefixes and the last 12 hex digits of an id. The firewall is given them to match by.
BRIDGE_PREFIX: Final = "stb"  # host namespace: the bridge of a subnet
GATEWAY_PREFIX: Final = "stg"  # host namespace: the bridge's port towards the VPC namespace
TAP_PREFIX: Final = "stt"  # host namespace: a guest's tap, made by libvirt
INTERNET_PREFIX: Final = "sti"  # host namespace: a VPC's veth for public addresses
SUBNET_PREFIX: Final = "sub"  # VPC namespace: the inner end of GATEWAY_PREFIX, it holds the gateway address
INTERNET_LINK: Final = "internet"  # VPC namespace: the inner end of INTERNET_PREFIX
OVERLAY_LINK: Final = "vx"  # VPC namespace: the VXLAN device towards other hosts
ENDPOINT_PREFIX: Final = "vpe"  # both ends of the pair that joins a VPC to the namespace of a gateway endpoint
PEER_PREFIX: Final = "pcx"  # VPC namespace, both sides: the pair that joins it to a peer's namespace on this host
HOST_LINK: Final = "stead0"  # host namespace: dummy link that holds the host's own pool address

# Every gateway of every subnet of every VPC on every host has this MAC, so that a guest may move between hosts.
GATEWAY_MAC: Final = "02:53:54:45:41:44"
GATEWAY_LINK_LOCAL: Final = "fe80::1"  # of every gateway: what guests have as their IPv6 router
METADATA_ADDRESS: Final = "169.254.169.254"
RESOLVER_ADDRESS: Final = "169.254.169.253"
METADATA_IPV6_ADDRESS: Final = "fd00:ec2::254"
RESOLVER_IPV6_ADDRESS: Final = "fd00:ec2::253"


def bridge_name(subnet_id: str) -> str:
    """Name the bridge of a subnet in the host namespace: what a guest's tap is plugged into, as an isolated port."""
    return link_name(BRIDGE_PREFIX, subnet_id)


def tap_name(interface_id: str) -> str:
    """Name the tap of an interface: libvirt's `<target dev=…>`, and what the firewall knows the guest by."""
    return link_name(TAP_PREFIX, interface_id)


def peer_link_name(peering_id: str) -> str:
    """Name the link of an active peering inside both VPC namespaces."""
    return link_name(PEER_PREFIX, peering_id)


def endpoint_link_name(endpoint_id: str) -> str:
    """Name the link of a gateway endpoint, inside the VPC's namespace and its own."""
    return link_name(ENDPOINT_PREFIX, endpoint_id)


def router_mark(interface_id: str) -> int:
    """Give the packet mark by which what other hosts send to be routed by this interface is recognised.

    Such a packet comes out of the VXLAN device with the interface's MAC as its destination; the firewall turns the MAC
    into this mark at the device's ingress, a rule of the network's turns the mark into a route to the interface.
    """
    return zlib.crc32(interface_id.encode()) & 0x3FFF_FFFF | 0x4000_0000


def subnet_link_name(subnet_id: str) -> str:
    """Name the link that is a subnet's gateway inside the VPC namespace."""
    return link_name(SUBNET_PREFIX, subnet_id)


def gateway_address(cidr: str) -> str:
    """Give the gateway of a subnet, its base + 1."""
    return str(IPv4Network(cidr)[1])


def resolver_addresses(cidrs: tuple[str, ...], subnet_cidrs: tuple[str, ...]) -> frozenset[str]:
    """Give the addresses in the VPC namespace where DNS may listen: base + 2 of the VPC and of each subnet with IPv4.

    https://docs.aws.amazon.com/vpc/latest/userguide/AmazonDNS-concepts.html
    """
    return frozenset({RESOLVER_ADDRESS, *(str(IPv4Network(cidr)[2]) for cidr in (*cidrs, *subnet_cidrs) if cidr)})


@dataclass(frozen=True, slots=True)
class HostNetwork:
    """What the whole host needs, whatever VPCs it has."""

    public_pools: tuple[str, ...]  # CIDR blocks of public addresses
    uplink: str = "none"  # "none", "auto" (the default route's link) or a link's name
    # The host's own source address towards guests; "" = the first usable one of the first pool.
    host_address: str = ""
    ipv6_pools: tuple[str, ...] = ()  # of which VPCs have their blocks
    underlay_address: str = ""  # this host's end of all VXLAN tunnels; "" = it has none


@dataclass(frozen=True, slots=True)
class HostPaths:
    """What `apply_host` found out about the host; the firewall's rules depend on it."""

    uplink: str | None  # a link's name, or None: nothing leaves the host
    host_address: str | None
    # Pools outside the uplink's own subnets: hidden behind the uplink's address. The others are answered for by ARP.
    masqueraded_pools: tuple[str, ...]
    is_router: bool  # somebody else made this host forward packets (net.ipv4.ip_forward)
    underlay_address: str = ""  # "" = no overlay link is made; else each VPC has one
    # The largest packet that the underlay carries inside of a VXLAN packet; 0 = not known, or there is no underlay.
    # What guests are told should not be more: above it they learn it only by "fragmentation needed".
    overlay_mtu: int = 0
    # The kernel forwards IPv6 link by link (force_forwarding, since Linux 6.17); before, only the whole host can.
    has_ipv6_by_link: bool = True


@dataclass(frozen=True, slots=True)
class PublicAddress:
    """A public address and the private one that it stands for."""

    public: str
    private: str


@dataclass(frozen=True, slots=True)
class Subnet:
    """A subnet that has, or may get, guests on this host."""

    id: str
    cidr: str  # "" = IPv6 only
    ipv6_cidr: str = ""
    route_table_id: str = ""  # "" = only the VPC's own blocks are reached


class RouteTo(Enum):
    """Where a route leads."""

    INTERNET = "internet"
    EGRESS_ONLY = "egress-only"  # IPv6, as INTERNET: that flows begin inside only is the firewall's
    INTERFACE = "interface"  # an appliance or a NAT gateway, here or on another host
    PEER = "peer"
    ENDPOINT = "endpoint"  # a gateway endpoint, which each host has for itself
    NOWHERE = "nowhere"  # a black hole


@dataclass(frozen=True, slots=True)
class TableRoute:
    """A route of a route table; one inside of the VPC's own blocks goes before the local route."""

    destination: str  # IPv4 or IPv6 block
    to: RouteTo
    target: str = ""  # an interface's id, a peer VPC's or an endpoint's


@dataclass(frozen=True, slots=True)
class RouteTable:
    """What subnets reach beyond their VPC; the longest prefix wins."""

    id: str
    routes: tuple[TableRoute, ...] = ()


@dataclass(frozen=True, slots=True)
class LocalInterface:
    """A network interface of a guest, or of a NAT gateway, on this host."""

    id: str
    subnet_id: str
    mac: str
    addresses: tuple[str, ...]  # IPv4, the primary one first; none in a subnet of IPv6 only
    public_addresses: tuple[PublicAddress, ...] = ()
    ipv6_addresses: tuple[str, ...] = ()
    is_router: bool = False  # without source/destination check: routes may lead to it


@dataclass(frozen=True, slots=True)
class RemoteInterface:
    """A network interface of the VPC on another host."""

    id: str
    mac: str
    addresses: tuple[str, ...]  # IPv4 and IPv6, the primary IPv4 one first
    host: str  # the other host's underlay address
    is_router: bool = False


@dataclass(frozen=True, slots=True)
class Peer:
    """An active peering with a VPC whose namespace is on this host too."""

    peering_id: str
    vpc_id: str
    cidrs: tuple[str, ...]  # IPv4 and IPv6


@dataclass(frozen=True, slots=True)
class NatGateway:
    """A NAT gateway that lives on this host: a namespace plugged into its subnet by the interface's tap name."""

    id: str
    interface_id: str


@dataclass(frozen=True, slots=True)
class GatewayEndpoint:
    """A gateway endpoint: a namespace that has the addresses of a service, where somebody else listens."""

    id: str
    addresses: tuple[str, ...]  # IPv4


@dataclass(frozen=True, slots=True)
class VpcNetwork:
    """The whole picture of one VPC on this host."""

    vpc_id: str
    vni: int
    cidrs: tuple[str, ...]  # the primary one first
    subnets: tuple[Subnet, ...] = ()  # those with interfaces on this host
    interfaces: tuple[LocalInterface, ...] = ()
    mtu: int = 1500
    ipv6_cidrs: tuple[str, ...] = ()
    route_tables: tuple[RouteTable, ...] = ()
    remotes: tuple[RemoteInterface, ...] = ()
    peers: tuple[Peer, ...] = ()
    nat_gateways: tuple[NatGateway, ...] = ()
    endpoints: tuple[GatewayEndpoint, ...] = ()  # those that routes of subnets here lead to
    endpoint_interfaces: frozenset[str] = frozenset()  # those of `interfaces` that are of interface endpoints


@dataclass(frozen=True, slots=True)
class Touched:
    """Where somebody else may have changed something: ids of VPCs, "" for the host's own part."""

    links: frozenset[str] = frozenset()  # or addresses, routes, rules, neighbours; all of a NAT gateway
    rules: frozenset[str] = frozenset()  # nftables
    taps: frozenset[str] = frozenset()  # names of those that were changed or deleted, of guests of these VPCs

    def __or__(self, other: "Touched") -> "Touched":
        """Put two together."""
        return Touched(self.links | other.links, self.rules | other.rules, self.taps | other.taps)


class NetworkError(Exception):
    """The kernel refused something; what was applied so far stays and the next `apply` goes on from there."""


class Network(Protocol):
    """The host's links and routes.

    All methods block, are idempotent, and may be called from any thread; calls about different VPCs run side by
    side, calls about one VPC wait for each other. `apply_host` comes before the first `apply`.
    """

    def apply_host(self, host: HostNetwork) -> HostPaths:
        """Make the host's own part so, and tell what the firewall must know of it."""

    def apply(self, vpc: VpcNetwork) -> None:
        """Make the VPC exactly so on this host: what the picture lacks is removed. A small change costs little."""

    def remove(self, vpc_id: str) -> None:
        """Remove every trace of a VPC; the firewall's `remove` comes before."""

    def present(self) -> AbstractSet[str]:
        """List the VPCs of which the kernel has any trace."""

    def audit(self, touched: AbstractSet[str] | None = None) -> tuple[str, ...]:
        """Compare the kernel with what was applied, repair what differs, and tell what that was.

        All of it, or only the VPCs that are named, "" for the host's own part.
        """

    def subscribe(self, report: Callable[[Touched], None]) -> Callable[[], None]:
        """Have `report` called, by another thread, where somebody else may have changed something; before `apply`.

        What is returned ends it.
        """

    def unsettled(self) -> AbstractSet[str]:
        """List the VPCs, "" for the host's own part, of which a sysctl was changed: nobody is notified of those."""

    def look(self, path: findings.Path) -> list[findings.Finding]:
        """List the links and the route that an interface's packets really have; the first that is not ok decides."""

    def capture(self, interface_id: str, seconds: float, packets: int, snap_length: int) -> bytes:
        """Give the packets of an interface of this host, as a pcap file, until the time is over or so many have come.

        `snap_length` bytes of each are kept, 0 = all. Raises NetworkError when the interface is not plugged in here.
        """

    def namespace_path(self, vpc_id: str) -> Path:
        """Give the file by which a process enters a namespace (nsenter --net=…).

        It is a VPC's, a gateway endpoint's, or that of an interface of an interface endpoint.
        """

    def socket(
        self, vpc_id: str, family: socket.AddressFamily, kind: socket.SocketKind, protocol: int = 0
    ) -> socket.socket:
        """Make a socket that lives in the VPC's namespace; any thread of the host's namespace may then use it."""
