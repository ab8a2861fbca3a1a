"""The kernel objects of the network, as plain values.

`desired_objects.py` computes the desired ones, `observe.py` reads the existing ones, `plan.py` compares the two, and
`rtnetlink.py` applies the difference.
"""

from dataclasses import dataclass
from enum import Enum
from typing import Final

# Lower priority than every other route to the same addresses: the only route of an unused public address.
LAST_METRIC: Final = 0xFFFF_FFFE
MAIN_TABLE: Final = 254  # RT_TABLE_MAIN, include/uapi/linux/rtnetlink.h


class Place(Enum):
    """The namespace that an object is in."""

    HOST = "host"
    VPC = "vpc"  # or a NAT gateway's, when one is being processed


class Kind(Enum):
    """What a route or a rule does with a packet."""

    ONWARD = "onward"  # a route: to its next hop; a rule: to its table
    UNREACHABLE = "unreachable"  # notifies the sender
    BLACKHOLE = "blackhole"  # drops silently


@dataclass(frozen=True, slots=True)
class Setting:
    """A sysctl; `link` is the link it belongs to, or "" when it is the whole namespace's."""

    place: Place
    path: str  # below /proc/sys
    value: str
    link: str = ""
    tolerated: str = ""  # another value that is accepted as well


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
    is_isolated: bool = False  # a bridge's port that receives no frames from other such ports


@dataclass(frozen=True, slots=True)
class Tap:
    """A guest's link in the host's namespace, made by libvirt: its required state while it exists."""

    name: str
    master: str  # the subnet's bridge
    mtu: int  # 0 = not managed by us
    is_isolated: bool
    is_up: bool
    into: str = ""  # the shaper of packets to the guest; "" = none
    out_of: str = ""  # the shaper of packets from the guest


@dataclass(frozen=True, slots=True)
class Shaper:
    """An ifb link that sends what taps redirect to it on its way again, at a limited rate; the rest is dropped."""

    name: str
    alias: str
    rate: int  # bytes per second, with link headers
    ceil: int  # the same while something is saved
    saved_ms: int  # what can be saved, in milliseconds of the rate


@dataclass(frozen=True, slots=True)
class PeerLink:
    """A VPC's end of a pair that joins it to another VPC's namespace, where the other end has the same name."""

    name: str
    vpc: str
    mac: str  # of both ends
    mtu: int
    peer: str  # the other VPC
    peer_namespace: int  # its identity (inode), since a later namespace may have the same name


@dataclass(frozen=True, slots=True)
class Vxlan:
    """A VXLAN device in the VPC's namespace whose packets are sent and received in the host's namespace."""

    name: str
    vni: int
    local: str  # the host's underlay address
    mac: str
    mtu: int


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
    """A route, IPv4 or IPv6 by its destination; only one of kind ONWARD has a link."""

    place: Place
    destination: str
    link: str = ""
    gateway: str = ""  # reached on the link, regardless of the link's addresses
    source: str = ""
    metric: int = 0
    table: int = MAIN_TABLE
    kind: Kind = Kind.ONWARD


@dataclass(frozen=True, slots=True)
class RoutingRule:
    """Packets that match are looked up in a table; rules are evaluated in the order of their priorities."""

    place: Place
    is_ipv6: bool
    priority: int
    table: int
    incoming: str  # the link that a packet arrived on; "lo" = sent by the namespace itself
    mark: int = 0
    protocol: int = 0  # IP protocol number; 0 = any


@dataclass(frozen=True, slots=True)
class Neighbour:
    """A permanent neighbour entry: no ARP or ND requests are sent, and no answer can spoof it."""

    place: Place
    link: str
    address: str
    mac: str


@dataclass(frozen=True, slots=True)
class Tunnel:
    """A forwarding database entry: the VXLAN device sends frames for a MAC to this host."""

    link: str
    mac: str
    host: str


@dataclass(frozen=True, slots=True)
class Proxy:
    """A public address that the host answers ARP or ND for on its uplink."""

    link: str
    address: str


KernelObject = (
    Setting
    | Bridge
    | Veth
    | Tap
    | Shaper
    | PeerLink
    | Vxlan
    | Address
    | Up
    | Route
    | RoutingRule
    | Neighbour
    | Tunnel
    | Proxy
)


def is_ipv6(address: str) -> bool:
    """Tell whether an address or block is IPv6, by its notation."""
    return ":" in address
