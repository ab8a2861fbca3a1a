"""The firewall's interface to the rest of the agent: desired state in, nftables and conntrack changed to match.

There are three tables. In the host's namespace `bridge stead` binds each tap to its MAC and addresses and `inet stead`
protects the host from guests; in each VPC's namespace `inet stead` has the security groups and the 1:1 NAT of public
addresses. A tap without a binding can send nothing.
"""

from collections.abc import Callable
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field
from typing import Protocol

from stead_agent.findings import Finding, Path


@dataclass(frozen=True, slots=True)
class LinkPrefixes:
    """The network's prefixes of link names, so that rules can match links."""

    bridge: str
    gateway: str
    tap: str
    internet: str  # host namespace
    subnet: str  # VPC namespace
    internet_link: str  # VPC namespace: a whole name
    inner_addresses: str  # block of the addresses that VPC namespaces themselves have on that link
    overlay_link: str = "vx"  # VPC namespace: a whole name
    peer: str = "pcx"  # VPC namespace
    endpoint: str = "vpe"  # VPC namespace


@dataclass(frozen=True, slots=True)
class HostFirewall:
    """The desired state of the host's own rules; most of it is what the network's `apply_host` found."""

    public_pools: tuple[str, ...]
    uplink: str | None
    host_address: str | None
    masqueraded_pools: tuple[str, ...] = ()
    host_ports: frozenset[int] = frozenset()  # TCP ports of the host's pool address that guests may reach
    guest_address: str = ""  # another address of the host at which they may reach them
    is_router: bool = False
    ipv6_pools: tuple[str, ...] = ()
    # The hosts that may send VXLAN packets to this one, and its own address for them; "" = there are no other hosts.
    underlay_address: str = ""
    underlay_peers: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class GroupRule:
    """One security group rule, in EC2's terms."""

    id: str
    egress: bool
    protocol: str  # "-1", "tcp", "udp", "icmp", "icmpv6" or a number
    from_port: int  # or ICMP type; -1 = any
    to_port: int  # or ICMP code; -1 = any
    peer: str  # a CIDR block, a group's id, or a prefix list's id
    blocks: tuple[str, ...] = ()  # of the prefix list, IPv4 and IPv6


@dataclass(frozen=True, slots=True)
class Group:
    """A security group: its rules and, for rules that name it, the private addresses of its interfaces on any host."""

    id: str
    rules: tuple[GroupRule, ...]
    members: AbstractSet[str] = frozenset()  # a roster, if it comes to change


@dataclass(frozen=True, slots=True)
class PublicAddress:
    """A public address and the private address that it maps to."""

    public: str
    private: str


@dataclass(frozen=True, slots=True)
class AclEntry:
    """One entry of a network ACL."""

    rule_number: int
    egress: bool
    allow: bool
    protocol: str  # "-1" or a number
    cidr: str  # IPv4 or IPv6
    from_port: int = -1  # or ICMP type; -1 = any
    to_port: int = -1  # or ICMP code; -1 = any


@dataclass(frozen=True, slots=True)
class Acl:
    """A network ACL: stateless, the lowest matching rule number decides, what matches no rule is denied."""

    id: str
    entries: tuple[AclEntry, ...] = ()


@dataclass(frozen=True, slots=True)
class Subnet:
    """A subnet of the VPC that is on this host."""

    link: str  # its gateway link in the VPC namespace (network's `subnet_link_name`)
    internet: bool  # its route table leads to an internet gateway
    cidr: str = ""
    ipv6_cidr: str = ""
    ipv6_internet: bool = False  # for IPv6: flows from outside may begin (an internet gateway, not egress-only)
    acl_id: str = ""  # "" = no network ACL is applied
    id: str = ""


@dataclass(frozen=True, slots=True)
class IdleTimeouts:
    """Idle timeouts in seconds of an interface's tracked flows; 0 = the VPC's default."""

    tcp_established: int = 0
    udp: int = 0  # seen in one direction only, or one request and its reply
    udp_stream: int = 0


@dataclass(frozen=True, slots=True)
class Interface:
    """A network interface of a guest, or of a NAT gateway, on this host."""

    id: str
    tap: str
    subnet_link: str
    mac: str
    addresses: tuple[str, ...]  # IPv4
    group_ids: tuple[str, ...]
    public_addresses: tuple[PublicAddress, ...] = ()
    source_dest_check: bool = True
    ipv6_addresses: tuple[str, ...] = ()
    unfiltered: bool = False  # a NAT gateway's: no groups are applied
    router_mark: int = 0  # network's `router_mark`, when routes may lead to it
    idle_timeouts: IdleTimeouts = field(default_factory=IdleTimeouts)  # of flows that begin while it has them


@dataclass(frozen=True, slots=True)
class FlowLog:
    """Which flows are logged: it does not affect filtering."""

    id: str
    interface_ids: frozenset[str]  # of this host
    accepted: bool
    rejected: bool


@dataclass(frozen=True, slots=True)
class PeerLink:
    """A link to a peered VPC, and the only addresses that may send from there: all else is dropped."""

    link: str  # network's `peer_link_name`
    cidrs: tuple[str, ...]  # the peer's, IPv4 and IPv6


@dataclass(frozen=True, slots=True)
class VpcFirewall:
    """The complete desired rules of one VPC on this host. Groups that no rule or interface names may be left out."""

    vpc_id: str
    groups: tuple[Group, ...] = ()  # with those of peers that rules name
    subnets: tuple[Subnet, ...] = ()
    interfaces: tuple[Interface, ...] = ()
    resolvers: frozenset[str] = frozenset()  # where DNS listens in the namespace (network's `resolver_addresses`)
    acls: tuple[Acl, ...] = ()
    flow_logs: tuple[FlowLog, ...] = ()
    peers: tuple[PeerLink, ...] = ()


@dataclass(frozen=True, slots=True)
class Refusal:
    """An invalid rule, group or interface: it was left out, and all others are in force."""

    id: str
    reason: str


class FirewallError(Exception):
    """The kernel refused a change; the transaction left the rules as they were before."""


class Namespaces(Protocol):
    """What the firewall needs of the network's namespaces."""

    def inside[T](self, vpc_id: str | None, work: Callable[[], T]) -> T:
        """Do `work` in a thread that is in the VPC's namespace, or in the host's for None; return its result."""

    def names(self) -> AbstractSet[str]:
        """List the VPCs that have a namespace."""

    def identity(self, vpc_id: str) -> int | None:
        """Return a number that differs between namespaces of the same name over time; None when there is none."""


class Firewall(Protocol):
    """The host's packet filter.

    All methods block, are idempotent, and may be called from any thread; calls about different VPCs run side by
    side, calls about one VPC wait for each other. `apply_host` comes before the first `apply`; the network's `apply`
    of a VPC comes before the firewall's, and both before a guest's tap exists.
    """

    def apply_host(self, host: HostFirewall) -> None:
        """Bring the host's own tables into the desired state; bindings of guests that are in force stay."""

    def apply(self, vpc: VpcFirewall) -> tuple[Refusal, ...]:
        """Bring the VPC's rules into exactly this state in one transaction, and end flows that they no longer admit."""

    def remove(self, vpc_id: str) -> None:
        """Remove everything of a VPC, its guests' bindings first; comes before the network's `remove`."""

    def present(self) -> AbstractSet[str]:
        """List the VPCs that have any object in the kernel."""

    def look(self, path: Path) -> list[Finding]:
        """List the rules that the kernel applies to an interface of this host; the first that is not ok decides."""

    def audit(self, touched: AbstractSet[str] | None = None) -> tuple[str, ...]:
        """Compare the kernel with what was applied, repair differences, and return what they were.

        Checks everything, or only the given VPCs, "" for the host's own tables.
        """
