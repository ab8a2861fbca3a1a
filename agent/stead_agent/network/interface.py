"""The network's interface to the rest of the agent: desired state in, kernel objects out.

A VPC on a host is a network namespace named by its id; a subnet is a bridge in the host's namespace, joined to the
VPC's namespace by a veth pair whose inner end is the subnet's gateway (docs/data-plane.md). Whether a packet may
pass is decided by the firewall; the network only decides where packets can go.
"""

import socket
import zlib
from collections.abc import Callable, Collection, Iterable, Mapping
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from enum import Enum
from functools import lru_cache
from ipaddress import IPv4Network
from pathlib import Path
from typing import Final, Protocol

from stead_agent import findings
from stead_proto.ids import link_name

# Kernel names: these prefixes and the last 12 hex digits of an id. The firewall gets them to match links by name.
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
GATEWAY_LINK_LOCAL: Final = "fe80::1"  # of every gateway: the IPv6 router of guests
METADATA_ADDRESS: Final = "169.254.169.254"
RESOLVER_ADDRESS: Final = "169.254.169.253"
TIME_ADDRESS: Final = "169.254.169.123"
METADATA_IPV6_ADDRESS: Final = "fd00:ec2::254"
RESOLVER_IPV6_ADDRESS: Final = "fd00:ec2::253"
TIME_IPV6_ADDRESS: Final = "fd00:ec2::123"
_RESOLVERS_CACHED: Final = 1024  # VPCs, or versions of them


def bridge_name(subnet_id: str) -> str:
    """Return the name of a subnet's bridge in the host namespace; guests' taps are its isolated ports."""
    return link_name(BRIDGE_PREFIX, subnet_id)


def tap_name(interface_id: str) -> str:
    """Return the name of an interface's tap: libvirt's `<target dev=…>`; the firewall identifies the guest by it."""
    return link_name(TAP_PREFIX, interface_id)


def peer_link_name(peering_id: str) -> str:
    """Return the name of the link of an active peering inside both VPC namespaces."""
    return link_name(PEER_PREFIX, peering_id)


def endpoint_link_name(endpoint_id: str) -> str:
    """Return the name of the link of a gateway endpoint, inside the VPC's namespace and its own."""
    return link_name(ENDPOINT_PREFIX, endpoint_id)


def router_mark(interface_id: str) -> int:
    """Return the packet mark of packets that other hosts send to be routed by this interface.

    Such a packet comes out of the VXLAN device with the interface's MAC as its destination; the firewall turns the MAC
    into this mark at the device's ingress, and a routing rule of the network sends marked packets to the interface.
    """
    return zlib.crc32(interface_id.encode()) & 0x3FFF_FFFF | 0x4000_0000


def subnet_link_name(subnet_id: str) -> str:
    """Return the name of the link that is a subnet's gateway inside the VPC namespace."""
    return link_name(SUBNET_PREFIX, subnet_id)


def gateway_address(cidr: str) -> str:
    """Return the gateway of a subnet, its base + 1."""
    return str(IPv4Network(cidr)[1])


@lru_cache(_RESOLVERS_CACHED)
def resolver_addresses(cidrs: tuple[str, ...], subnet_cidrs: tuple[str, ...]) -> frozenset[str]:
    """Return the addresses in the VPC namespace where DNS may listen: base + 2 of the VPC and of each IPv4 subnet.

    https://docs.aws.amazon.com/vpc/latest/userguide/AmazonDNS-concepts.html
    """
    return frozenset({RESOLVER_ADDRESS, *(str(IPv4Network(cidr)[2]) for cidr in (*cidrs, *subnet_cidrs) if cidr)})


@dataclass(frozen=True, slots=True)
class HostNetwork:
    """The desired network of the host itself, independent of its VPCs."""

    public_pools: tuple[str, ...]  # CIDR blocks of public addresses
    uplink: str = "none"  # "none", "auto" (the default route's link) or a link's name
    # The host's own source address towards guests; "" = the first usable one of the first pool.
    host_address: str = ""
    ipv6_pools: tuple[str, ...] = ()  # VPCs' blocks are taken from these
    underlay_address: str = ""  # this host's end of all VXLAN tunnels; "" = it has none


@dataclass(frozen=True, slots=True)
class HostPaths:
    """What `apply_host` found out about the host; the firewall's rules depend on it."""

    uplink: str | None  # a link's name, or None: nothing leaves the host
    host_address: str | None
    # Pools outside the uplink's own subnets: masqueraded as the uplink's address. For the others the host answers ARP.
    masqueraded_pools: tuple[str, ...]
    is_router: bool  # forwarding was enabled on this host by others (net.ipv4.ip_forward)
    underlay_address: str = ""  # "" = no overlay link is made; else each VPC has one
    # The largest packet that the underlay carries inside of a VXLAN packet; 0 = not known, or there is no underlay.
    # The MTU sent to guests should not exceed it: above it they only learn it from "fragmentation needed".
    overlay_mtu: int = 0
    # The kernel can forward IPv6 per link (force_forwarding, since Linux 6.17); older ones only on the whole host.
    has_ipv6_by_link: bool = True


@dataclass(frozen=True, slots=True)
class PublicAddress:
    """A public address and the private address that it maps to."""

    public: str
    private: str


@dataclass(frozen=True, slots=True)
class Subnet:
    """A subnet that has, or may get, guests on this host."""

    id: str
    cidr: str  # "" = IPv6 only
    ipv6_cidr: str = ""
    route_table_id: str = ""  # "" = only the VPC's own blocks are reachable


class RouteTo(Enum):
    """Where a route leads."""

    INTERNET = "internet"
    EGRESS_ONLY = "egress-only"  # IPv6, routed as INTERNET: the firewall only lets flows begin inside
    INTERFACE = "interface"  # an appliance or a NAT gateway, here or on another host
    PEER = "peer"
    ENDPOINT = "endpoint"  # a gateway endpoint; each host has its own copy
    NOWHERE = "nowhere"  # a black hole


@dataclass(frozen=True, slots=True)
class TableRoute:
    """A route of a route table; one inside the VPC's own blocks takes precedence over the local route."""

    destination: str  # IPv4 or IPv6 block
    to: RouteTo
    target: str = ""  # an interface's id, a peer VPC's or an endpoint's


@dataclass(frozen=True, slots=True)
class RouteTable:
    """The destinations that subnets reach beyond their VPC; the longest prefix wins."""

    id: str
    routes: tuple[TableRoute, ...] = ()


@dataclass(frozen=True, slots=True)
class Bandwidth:
    """How much an instance may send, and the same again receive, by all its interfaces together.

    What it does not use of its baseline is saved, and spent on up to the burst.
    """

    instance_id: str
    vpc_id: str  # of the primary interface: this VPC has the shapers, which interfaces of other VPCs share
    baseline_mbps: int  # megabits per second, of IP packets
    burst_mbps: int


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
    bandwidth: Bandwidth | None = None  # of its instance; None = not limited


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
    """A NAT gateway on this host: a namespace plugged into its subnet under the interface's tap name."""

    id: str
    interface_id: str


@dataclass(frozen=True, slots=True)
class GatewayEndpoint:
    """A gateway endpoint: a namespace that has the addresses of a service; another subsystem listens there."""

    id: str
    addresses: tuple[str, ...]  # IPv4


@dataclass(frozen=True, slots=True)
class VpcNetwork:
    """The complete desired network of one VPC on this host."""

    vpc_id: str
    vni: int
    cidrs: tuple[str, ...]  # the primary one first
    subnets: tuple[Subnet, ...] = ()  # those with interfaces on this host
    interfaces: tuple[LocalInterface, ...] = ()
    mtu: int = 1500
    ipv6_cidrs: tuple[str, ...] = ()
    route_tables: tuple[RouteTable, ...] = ()
    remotes: Collection[RemoteInterface] = ()
    peers: tuple[Peer, ...] = ()
    nat_gateways: tuple[NatGateway, ...] = ()
    endpoints: tuple[GatewayEndpoint, ...] = ()  # those that routes of subnets on this host lead to
    endpoint_interfaces: frozenset[str] = frozenset()  # those of `interfaces` that belong to interface endpoints


@dataclass(frozen=True, slots=True)
class Touched:
    """Where a change by another program is possible: ids of VPCs, "" for the host's own part."""

    links: frozenset[str] = frozenset()  # or addresses, routes, rules, neighbours; anything of a NAT gateway
    rules: frozenset[str] = frozenset()  # nftables
    taps: frozenset[str] = frozenset()  # names of changed or deleted taps of these VPCs' guests

    def __or__(self, other: "Touched") -> "Touched":
        """Return the union of two."""
        return Touched(self.links | other.links, self.rules | other.rules, self.taps | other.taps)


@dataclass(frozen=True, slots=True)
class GatewayCounters:
    """What has passed a NAT gateway since its counters began at zero; `flows` are those that it tracks now.

    Its clients are the source, as EC2 calls it; all others are the destination.
    """

    flows: int = 0
    from_source_bytes: int = 0
    from_source_packets: int = 0
    to_destination_bytes: int = 0
    to_destination_packets: int = 0
    from_destination_bytes: int = 0
    from_destination_packets: int = 0
    to_source_bytes: int = 0
    to_source_packets: int = 0
    attempts: int = 0  # flows that clients have begun
    established: int = 0  # those of them that were answered
    dropped: int = 0  # clients' packets that belong to no flow
    without_port: int = 0  # flows that were dropped because no port was free


class NetworkError(Exception):
    """The kernel refused an operation; what was applied so far stays, and the next `apply` continues from there."""


class Network(Protocol):
    """The host's links and routes.

    All methods block, are idempotent, and may be called from any thread; calls about different VPCs run side by
    side, calls about one VPC wait for each other. `apply_host` comes before the first `apply`.
    """

    def apply_host(self, host: HostNetwork) -> HostPaths:
        """Bring the host's own part into the desired state, and return what the firewall must know of it."""

    def apply(self, vpc: VpcNetwork) -> None:
        """Bring the VPC on this host into exactly this state; anything else is removed. A small change costs little."""

    def settle(self, vpc_id: str, interface_ids: AbstractSet[str]) -> None:
        """Limit the taps of these interfaces to their instances' bandwidth; those that are not there are ignored.

        Called when a machine has started or got an interface; what changes later is found by `audit`.
        """

    def remove(self, vpc_id: str) -> None:
        """Remove everything of a VPC; the firewall's `remove` comes before."""

    def present(self) -> AbstractSet[str]:
        """List the VPCs that have any object in the kernel."""

    def audit(self, touched: AbstractSet[str] | None = None) -> tuple[str, ...]:
        """Compare the kernel with what was applied, repair differences, and return what they were.

        Checks everything, or only the given VPCs, "" for the host's own part.
        """

    def subscribe(self, report: Callable[[Touched], None]) -> Callable[[], None]:
        """Have `report` called, from another thread, when another program may have changed something; before `apply`.

        Returns a function that ends the subscription.
        """

    def unsettled(self) -> AbstractSet[str]:
        """List the VPCs, "" for the host's own part, with a changed sysctl: the kernel sends no events for those."""

    def look(self, path: findings.Path) -> list[findings.Finding]:
        """List the links and the route that an interface's packets really use; the first that is not ok decides."""

    def capture(self, interface_id: str, seconds: float, packets: int, snap_length: int) -> bytes:
        """Return packets of an interface of this host as a pcap file, until the time is over or `packets` were read.

        `snap_length` bytes of each are stored, 0 = all. Raises NetworkError when the interface is not plugged in here.
        """

    def traffic(self, vpc_ids: Collection[str] | None) -> Mapping[str, Mapping[tuple[str, str, str], int]]:
        """Return the bytes that have passed the borders of these VPCs, or of all, as far as they are here.

        They are by way (to_internet, from_internet, to_host), address, and underlay address of the other host. The
        counters begin at zero with the VPC on this host.
        """

    def gateway_counters(self, gateway_ids: Iterable[str]) -> Mapping[str, GatewayCounters]:
        """Return the counters of those of these NAT gateways that are here; raises nothing."""

    def namespace_path(self, vpc_id: str) -> Path:
        """Return the file by which a process enters a namespace (nsenter --net=…).

        It is a VPC's, a gateway endpoint's, or that of an interface of an interface endpoint.
        """

    def socket(
        self, vpc_id: str, family: socket.AddressFamily, kind: socket.SocketKind, protocol: int = 0
    ) -> socket.socket:
        """Create a socket inside the VPC's namespace; any thread of the host's namespace may use it afterwards."""
