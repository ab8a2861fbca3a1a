"""The kernel objects that the network is made of, as plain values.

`picture.py` says which ones should be, `observe.py` reads which ones are, `plan.py` compares the two, and
`rtnetlink.py` makes them so.
"""

from dataclasses import dataclass
from enum import Enum
from typing import Final

# Behind every other route to the same addresses: it is all that a free public address gets.
LAST_METRIC: Final = 0xFFFF_FFFE
MAIN_TABLE: Final = 254  # RT_TABLE_MAIN, include/uapi/linux/rtnetlink.h


class Place(Enum):
    """The namespace that an object is in."""

    HOST = "host"
    VPC = "vpc"  # or a NAT gateway's, when that is what the work is about


class Kind(Enum):
    """What a route or a rule does with a packet."""

    ONWARD = "onward"  # a route: to its next hop; a rule: to its table
    UNREACHABLE = "unreachable"  # tells the sender
    BLACKHOLE = "blackhole"  # tells nobody


@dataclass(frozen=True, slots=True)
class Setting:
    """A sysctl; `link` is the link it belongs to, or "" when it is the whole namespace's."""

    place: Place
    path: str  # below /proc/sys
    value: str
    link: str = ""
    tolerated: str = ""  # another value that is as good


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
    is_isolated: bool = False  # a bridge's port that hears nothing of other such ports


@dataclass(frozen=True, slots=True)
class Tap:
    """A guest's link in the host's namespace, made by libvirt: what must stay true of it while it is there."""

    name: str
    master: str  # the subnet's bridge
    mtu: int  # 0 = not ours to say
    is_isolated: bool
    is_up: bool


@dataclass(frozen=True, slots=True)
class PeerLink:
    """A VPC's end of a pair that joins it to another VPC's namespace, where the other end has the same name."""

    name: str
    vpc: str
    mac: str  # of both ends
    mtu: int
    peer: str  # the other VPC
    peer_namespace: int  # which one of all that ever had that name (its inode)


@dataclass(frozen=True, slots=True)
class Vxlan:
    """A VXLAN device in the VPC's namespace whose packets go in and out by the host's."""

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
    gateway: str = ""  # reached on the link, whatever the link's addresses are
    source: str = ""
    metric: int = 0
    table: int = MAIN_TABLE
    kind: Kind = Kind.ONWARD


@dataclass(frozen=True, slots=True)
class RoutingRule:
    """Packets of a kind are looked up in a table; rules are asked in the order of their priorities."""

    place: Place
    is_ipv6: bool
    priority: int
    table: int
    incoming: str  # the link that a packet came in by; "lo" = the namespace's own
    mark: int = 0
    protocol: int = 0  # of IP; 0 = any


@dataclass(frozen=True, slots=True)
class Neighbour:
    """An address whose MAC is known for ever, so that nobody asks by ARP or ND and nobody can lie."""

    place: Place
    link: str
    address: str
    mac: str


@dataclass(frozen=True, slots=True)
class Tunnel:
    """Frames to a MAC go through the VXLAN device to a host: an entry of its forwarding database."""

    link: str
    mac: str
    host: str


@dataclass(frozen=True, slots=True)
class Proxy:
    """A public address that the host answers ARP or ND for on its uplink."""

    link: str
    address: str


Thing = (
    Setting | Bridge | Veth | Tap | PeerLink | Vxlan | Address | Up | Route | RoutingRule | Neighbour | Tunnel | Proxy
)


def is_ipv6(address: str) -> bool:
    """Tell the family of an address or block by its writing."""
    return ":" in address
