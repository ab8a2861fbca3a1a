"""Change links, addresses, routes, rules and neighbours by rtnetlink(7) messages, one for each change.

By pyroute2 a change takes a millisecond of a processor, mostly of its event loop, and a new VPC needs a hundred. The
names of values are pyroute2's, which are those of ip(8).
"""

import errno
import socket
import struct
from collections.abc import Callable, Mapping
from ipaddress import ip_address, ip_network
from types import TracebackType
from typing import Any, Final, Literal, Self

from stead_agent.network.kernel_lists import (
    ADDRESS,
    LINK,
    LINKS,
    NEIGHBOUR,
    ROUTE,
    ROUTES,
    RULE,
    Element,
    Kind,
    attributes,
)
from stead_agent.network.route_messages import check, open_socket, received
from stead_agent.nfnetlink import attribute

AF_BRIDGE: Final = 7  # linux/socket.h
MASTER, NAME, ALIAS = 10, 3, 20  # IFLA_…
_HEADER: Final = struct.Struct("=IHHII")  # struct nlmsghdr
_NUMBER: Final = struct.Struct("=I")
_NLMSG_ERROR: Final = 2
_REQUEST, _ACKNOWLEDGED = 0x001, 0x005  # NLM_F_REQUEST, and with NLM_F_ACK
_FLAGS: Final = {"add": 0x600, "replace": 0x500, "set": 0, "del": 0}  # NLM_F_CREATE | NLM_F_EXCL, NLM_F_REPLACE
_NEW_LINK, _NEW_ADDRESS, _NEW_ROUTE, _NEW_NEIGHBOUR, _NEW_RULE = 16, 20, 24, 28, 32  # RTM_NEW…; RTM_DEL… is one more
_SET_LINK: Final = 19
_IFF_UP: Final = 1
_LINKINFO, _PROTINFO, _INFO_KIND, _INFO_DATA, _VETH_PEER, _PORT_ISOLATED = 18, 12, 1, 2, 1, 33
_IFA_ADDRESS, _IFA_LOCAL = 1, 2
_NDA_DST, _NDA_LLADDR = 1, 2
_RTA_DST, _RTA_SRC, _RTA_IIF, RTA_OIF, RTA_GATEWAY, RTA_PRIORITY, _RTA_PREFSRC, _RTA_TABLE = 1, 2, 3, 4, 5, 6, 7, 15
_FRA_IIFNAME, _FRA_PRIORITY, _FRA_FWMARK, _FRA_TABLE, _FRA_PROTOCOL, _FRA_IP_PROTO = 3, 6, 10, 15, 21, 22
_MAIN_TABLE, _MOST_IN_HEADER, _IN_ATTRIBUTE = 254, 255, 252  # RT_TABLE_MAIN; RT_TABLE_COMPAT
_TO_TABLE: Final = 1  # FR_ACT_TO_TBL
_TYPES: Final = {"unicast": 1, "blackhole": 6, "unreachable": 7}  # RTN_…
_ONLINK: Final = 4  # RTNH_F_ONLINK
_PERMANENT: Final = 0x80  # NUD_PERMANENT

Command = Literal["add", "replace", "set", "del"]
Values = Mapping[str, Any]
_Attributes = Mapping[str, tuple[int, Callable[[Any], bytes]]]


def _text(value: str) -> bytes:
    return value.encode() + b"\0"


def _mac(value: str) -> bytes:
    return bytes.fromhex(value.replace(":", ""))


def _one(value: int) -> bytes:
    return bytes((value,))


# The type of each value's attribute, and how it is written.
_OF_LINKS: Final[_Attributes] = {
    "address": (1, _mac), "ifname": (NAME, _text), "mtu": (4, _NUMBER.pack), "master": (MASTER, _NUMBER.pack),
    "ifalias": (ALIAS, _text), "net_ns_fd": (28, _NUMBER.pack),
}  # fmt: skip
_OF_KINDS: Final[_Attributes] = {
    "br_stp_state": (5, _NUMBER.pack), "br_group_fwd_mask": (9, struct.Struct("=H").pack),
    "br_mcast_router": (22, _one), "br_mcast_snooping": (23, _one),
    "vxlan_id": (1, _NUMBER.pack), "vxlan_local": (4, socket.inet_aton), "vxlan_learning": (7, _one),
    "vxlan_port": (15, struct.Struct("!H").pack), "vxlan_df": (29, _one),
}  # fmt: skip


def _number(kind: int, value: int) -> bytes:
    return attribute(kind, _NUMBER.pack(value))


def _link_values(values: Values) -> bytes:
    known = ((_OF_LINKS[name], value) for name, value in values.items() if name in _OF_LINKS)
    return b"".join(attribute(kind, write(value)) for (kind, write), value in known)


def _kind_values(values: Values) -> bytes:
    known = ((_OF_KINDS[name], value) for name, value in values.items() if name not in _OF_LINKS)
    return b"".join(attribute(kind, write(value)) for (kind, write), value in known)


def _packed(address: str) -> tuple[int, bytes]:
    found = ip_address(address)
    return socket.AF_INET if found.version == 4 else socket.AF_INET6, found.packed


def index_of(link: Element) -> int:
    """Return the index of a link."""
    return int(link.fields[2])


def is_on(link: Element) -> bool:
    """Tell whether a link is switched on."""
    return bool(link.fields[3] & _IFF_UP)


class RoutingSocket:
    """A socket of routing netlink, in the namespace in which its thread was. The kernel's refusal is an OSError."""

    def __init__(self) -> None:
        self.socket = open_socket()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the socket."""
        self.socket.close()

    def named(self, name: str) -> Element | None:
        """Return the link of a name, if there is one."""
        try:
            return self._ask(LINKS, LINK.pack(0, 0, 0, 0, 0) + LINKS.asked + attribute(NAME, _text(name)))
        except OSError as error:
            if error.errno != errno.ENODEV:
                raise
            return None

    def link(
        self, command: Command, *, index: int = 0, kind: str = "", peer: Values | None = None, state: str = "",
        **values: Any,
    ) -> None:  # fmt: skip
        """Make, change or remove a link; a pair has a `peer`, whose values are those of its other end."""
        is_up = _IFF_UP if state == "up" else 0
        body = LINK.pack(0, 0, index, is_up, is_up) + _link_values(values)
        if kind:
            data = _kind_values(values)
            if peer is not None:
                data = attribute(_VETH_PEER, LINK.pack(0, 0, 0, 0, 0) + _link_values(peer), nested=True)
            information = attribute(_INFO_KIND, _text(kind)) + attribute(_INFO_DATA, data, nested=True)
            body += attribute(_LINKINFO, information, nested=True)
        self._do(_NEW_LINK, command, body)

    def isolate(self, index: int) -> None:
        """Let a port of a bridge exchange frames with ports that are not isolated only."""
        port = attribute(_PROTINFO, attribute(_PORT_ISOLATED, _one(1)), nested=True)
        self._do(_SET_LINK, "set", LINK.pack(AF_BRIDGE, 0, index, 0, 0) + port)

    def addr(self, command: Command, *, index: int, address: str, prefixlen: int) -> None:
        """Add or delete an address of a link."""
        family, packed = _packed(address)
        both = attribute(_IFA_LOCAL, packed) + attribute(_IFA_ADDRESS, packed)
        self._do(_NEW_ADDRESS, command, ADDRESS.pack(family, prefixlen, 0, 0, index) + both)

    def route(
        self, command: Command, *, dst: str, proto: int, kind: str = "unicast", oif: int = 0, gateway: str = "",
        source: str = "", scope: int = 0, metric: int = 0, table: int = _MAIN_TABLE,
    ) -> None:  # fmt: skip
        """Make, replace or delete a route; its gateway is taken to be on the link."""
        network = ip_network(dst)
        family = socket.AF_INET if network.version == 4 else socket.AF_INET6
        short = table if table <= _MOST_IN_HEADER else _IN_ATTRIBUTE
        flags = _ONLINK if gateway else 0
        body = ROUTE.pack(family, network.prefixlen, 0, 0, short, proto, scope, _TYPES[kind], flags)
        if network.prefixlen:
            body += attribute(_RTA_DST, network.network_address.packed)
        for what, address in ((RTA_GATEWAY, gateway), (_RTA_PREFSRC, source)):
            body += attribute(what, _packed(address)[1]) if address else b""
        for what, value in ((RTA_OIF, oif), (RTA_PRIORITY, metric)):
            body += _number(what, value) if value else b""
        self._do(_NEW_ROUTE, command, body + _number(_RTA_TABLE, table))

    def way(self, dst: str, src: str, iif: int) -> Element:
        """Return the route that the kernel has for a packet that comes by a link."""
        family, packed = _packed(dst)
        bits = 8 * len(packed)
        body = ROUTE.pack(family, bits, bits, 0, 0, 0, 0, 0, 0) + attribute(_RTA_DST, packed)
        body += attribute(_RTA_SRC, _packed(src)[1]) + _number(_RTA_IIF, iif)
        return self._ask(ROUTES, body)

    def rule(
        self, command: Command, *, family: int, priority: int, table: int, iifname: str = "", protocol: int,
        fwmark: int = 0, ip_proto: int = 0,
    ) -> None:  # fmt: skip
        """Add or delete a rule that leads to a table."""
        short = table if table <= _MOST_IN_HEADER else _IN_ATTRIBUTE
        body = RULE.pack(family, 0, 0, 0, short, 0, 0, _TO_TABLE, 0)
        body += _number(_FRA_PRIORITY, priority) + _number(_FRA_TABLE, table) + attribute(_FRA_PROTOCOL, _one(protocol))
        body += attribute(_FRA_IIFNAME, _text(iifname)) if iifname else b""
        body += _number(_FRA_FWMARK, fwmark) if fwmark else b""
        body += attribute(_FRA_IP_PROTO, _one(ip_proto)) if ip_proto else b""
        self._do(_NEW_RULE, command, body)

    def neigh(self, command: Command, *, ifindex: int, dst: str, lladdr: str = "", flags: int = 0) -> None:
        """Make, replace or delete a permanent neighbour, or an address that is answered for."""
        family, packed = _packed(dst)
        body = NEIGHBOUR.pack(family, ifindex, _PERMANENT, flags, 0) + attribute(_NDA_DST, packed)
        self._do(_NEW_NEIGHBOUR, command, body + (attribute(_NDA_LLADDR, _mac(lladdr)) if lladdr else b""))

    def fdb(self, command: Command, *, ifindex: int, lladdr: str, dst: str, state: int, flags: int) -> None:
        """Make, replace or delete an entry of a forwarding database: to which host the frames for a MAC go."""
        body = NEIGHBOUR.pack(AF_BRIDGE, ifindex, state, flags, 0)
        body += attribute(_NDA_LLADDR, _mac(lladdr)) + attribute(_NDA_DST, _packed(dst)[1])
        self._do(_NEW_NEIGHBOUR, command, body)

    def _ask(self, kind: Kind, body: bytes) -> Element:
        """Return the one element that is asked for."""
        self.socket.send(_HEADER.pack(_HEADER.size + len(body), kind.request, _REQUEST, 1, 0) + body)
        for what, buffer, start, end in received(self.socket):
            if what == kind.element:
                begins = kind.beginning
                return Element(begins.unpack_from(buffer, start), attributes(buffer, start + begins.size, end))
            if what == _NLMSG_ERROR:
                check(buffer, start)
        raise AssertionError("the kernel ends no answer before it has begun one")

    def _do(self, what: int, command: Command, body: bytes) -> None:
        number = what + (command == "del")
        flags = _ACKNOWLEDGED | _FLAGS[command]
        self.socket.send(_HEADER.pack(_HEADER.size + len(body), number, flags, 1, 0) + body)
        for kind, buffer, start, _ in received(self.socket):
            if kind == _NLMSG_ERROR:
                check(buffer, start)
                return
