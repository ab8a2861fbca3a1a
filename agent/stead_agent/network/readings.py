"""Read the links, addresses, routes, rules and neighbours of one or two namespaces.

An IPRoute belongs to the thread that made it, and its socket to the namespace the thread was in: see `Readings`.
"""

import errno
import fcntl
import socket
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self

from stead_agent.network import kernel_lists, route_messages, traffic_control
from stead_agent.network.kernel_lists import ADDRESSES, LINKS, NEIGHBOURS, RULES, Element
from stead_agent.network.kernel_objects import Place, Route, RoutingRule, Setting
from stead_agent.network.namespaces import enter
from stead_agent.network.route_messages import FAMILIES, PROTOCOL
from stead_agent.network.routing_sockets import IPRoute, NetlinkError

NTF_PROXY: Final = 8
SETTINGS: Final = Path("/proc/sys")
_NUD_PERMANENT: Final = 0x80
_AF_BRIDGE: Final = 7  # linux/socket.h
_SIOCGIFINDEX: Final = 0x8933  # netdevice(7)
_INTERFACE: Final = struct.Struct("=16si20x")  # struct ifreq: a name, and an index
# Attributes of links, of what they have in IFLA_LINKINFO, and of a bridge's port and a VXLAN device there.
_MAC, _NAME, _MTU, _PEER, _MASTER, _LINKINFO, _ALIAS = 1, 3, 4, 5, 10, 18, 20
_INFO_KIND, _INFO_DATA, _INFO_PORT = 1, 2, 5
_ISOLATED, _VXLAN_ID, _VXLAN_LOCAL = 33, 1, 4
_IFA_ADDRESS, _IFA_LOCAL = 1, 2
_NDA_DST, _NDA_LLADDR = 1, 2
_FRA_IIFNAME, _FRA_PRIORITY, _FRA_FWMARK, _FRA_TABLE, _FRA_PROTOCOL, _FRA_IP_PROTO = 3, 6, 10, 15, 21, 22


@dataclass(frozen=True, slots=True)
class Link:
    """A link as the kernel lists it."""

    index: int
    name: str
    kind: str
    alias: str
    mtu: int
    mac: str
    master: int  # 0 = none
    peer: int  # index of the other end of a pair, in the other namespace
    is_up: bool
    is_isolated: bool = False
    vni: int = 0
    local: str = ""  # of a VXLAN device


class Readings:
    """Both namespaces of a VPC, or the host's alone, for one thread made for it (`on_a_thread`)."""

    def __init__(self, host: int, vpc: int | None = None) -> None:
        self._namespaces = {Place.HOST: host} | ({Place.VPC: vpc} if vpc is not None else {})
        self._sockets: dict[Place, Any] = {}
        self._plain_sockets: dict[Place, socket.socket] = {}
        self._indexes: dict[tuple[Place, str], int] = {}
        self._place: Place | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for opened in (*self._sockets.values(), *self._plain_sockets.values()):
            opened.close()

    def _go(self, place: Place) -> None:
        if self._place is not place:
            enter(self._namespaces[place])
            self._place = place

    def _netlink(self, place: Place) -> Any:
        if place not in self._sockets:
            self._go(place)
            self._sockets[place] = IPRoute()
        return self._sockets[place]

    def _plain(self, place: Place) -> socket.socket:
        if place not in self._plain_sockets:
            self._go(place)
            self._plain_sockets[place] = route_messages.open_socket()
        return self._plain_sockets[place]

    def _find(self, place: Place, name: str) -> int | None:
        """Return a link's index, None where there is none; each is looked up only once in one piece of work."""
        found = self._indexes.get((place, name))
        if found is None:
            try:
                answer = fcntl.ioctl(self._plain(place), _SIOCGIFINDEX, _INTERFACE.pack(name.encode(), 0))
            except OSError as error:
                if error.errno != errno.ENODEV:
                    raise
                return None
            _, found = _INTERFACE.unpack(answer)
            self._indexes[place, name] = found
        return found

    def _index(self, place: Place, name: str) -> int:
        """Return the index of a link that must be there."""
        found = self._find(place, name)
        if found is None:
            raise NetlinkError(errno.ENODEV, f"no link {name}")
        return found

    def links(self, place: Place) -> list[Link]:
        """List all links."""
        return [_link(element) for element in kernel_lists.read(self._plain(place), LINKS, 0, 0, 0, 0, 0)]

    def addresses(self, place: Place) -> Iterator[tuple[int, str]]:
        """List the addresses as pairs of link index and address with prefix length."""
        for family in FAMILIES:
            for element in kernel_lists.read(self._plain(place), ADDRESSES, family, 0, 0, 0, 0):
                _, length, _, _, index = element.fields
                yield index, f"{element.address(_IFA_LOCAL, _IFA_ADDRESS)}/{length}"

    def routes(self, place: Place) -> Iterator[tuple[int, Route]]:
        """List our routes as pairs of link index (0 for none) and route, which has no link name yet."""
        yield from list(route_messages.read(self._plain(place), place))

    def rules(self, place: Place) -> Iterator[RoutingRule]:
        """List our rules."""
        for family in FAMILIES:
            for element in kernel_lists.read(self._plain(place), RULES, family, 0, 0, 0, 0, 0, 0, 0, 0):
                if element.number(_FRA_PROTOCOL) == PROTOCOL:
                    yield RoutingRule(
                        place,
                        family == socket.AF_INET6,
                        element.number(_FRA_PRIORITY),
                        element.number(_FRA_TABLE) or element.fields[4],
                        element.text(_FRA_IIFNAME),
                        element.number(_FRA_FWMARK),
                        element.number(_FRA_IP_PROTO),
                    )

    def limits(self, index: int) -> tuple[int, int, int]:
        """Return a shaper's rate, ceil and what it saves, as `traffic_control.limits` does."""
        self._go(Place.HOST)
        return traffic_control.limits(index)

    def redirects(self, index: int) -> tuple[int, int]:
        """Return the indexes of the shapers to and from a tap's guest; 0 for none."""
        self._go(Place.HOST)
        return traffic_control.redirects(index)

    def default_link(self) -> str | None:
        """Return the link of the host's default route: the one with the lowest metric."""
        netlink = self._netlink(Place.HOST)
        defaults = [
            (message.get_attr("RTA_PRIORITY") or 0, message.get_attr("RTA_OIF"))
            for message in netlink.get_routes(family=socket.AF_INET, dst_len=0, table=254)
            if message.get_attr("RTA_OIF")
        ]
        if not defaults:
            return None
        (message,) = netlink.link("get", index=min(defaults)[1])
        return str(message.get_attr("IFLA_IFNAME"))

    def neighbours(self, place: Place) -> Iterator[tuple[int, str, str, bool]]:
        """List the neighbours as link index, address, MAC, and whether the entry is permanent."""
        for family in FAMILIES:
            for element in kernel_lists.read(self._plain(place), NEIGHBOURS, family, 0, 0, 0, 0):
                _, index, state, _, _ = element.fields
                if mac := element.mac(_NDA_LLADDR):
                    yield index, element.address(_NDA_DST), mac, bool(state & _NUD_PERMANENT)

    def tunnels(self) -> Iterator[tuple[int, str, str]]:
        """List the VPC's forwarding database as link index, MAC, and the host that its frames are sent to."""
        for element in kernel_lists.read(self._plain(Place.VPC), NEIGHBOURS, _AF_BRIDGE, 0, 0, 0, 0):
            if host := element.address(_NDA_DST):
                yield element.fields[1], element.mac(_NDA_LLADDR), host

    def proxies(self) -> Iterator[tuple[int, str]]:
        """List the addresses for which the host answers ARP or ND, as pairs of link index and address."""
        for family in FAMILIES:
            for element in kernel_lists.read(self._plain(Place.HOST), NEIGHBOURS, family, 0, 0, NTF_PROXY, 0):
                yield element.fields[1], element.address(_NDA_DST)

    def setting(self, wanted: Setting) -> Setting | None:
        """Read a setting; None when its link does not exist. One that this kernel lacks counts as set as desired."""
        self._go(wanted.place)
        try:
            value = (SETTINGS / wanted.path).read_text(encoding="ascii").strip()
        except FileNotFoundError:
            return None if wanted.link and not self._lacks(wanted) else wanted
        if wanted.tolerated and value == wanted.tolerated:
            return wanted
        return Setting(wanted.place, wanted.path, value, wanted.link, wanted.tolerated)

    def value(self, path: str) -> str | None:
        """Read one of the host's settings; None when this kernel does not have it."""
        self._go(Place.HOST)
        try:
            return (SETTINGS / path).read_text(encoding="ascii").strip()
        except FileNotFoundError:
            return None

    def _lacks(self, setting: Setting) -> bool:
        """Tell whether the kernel lacks this setting altogether, such as IPv6's when it was booted without IPv6."""
        family = "/".join(setting.path.split("/")[:3])
        return not (SETTINGS / family).exists()


def _link(element: Element) -> Link:
    _, _, index, flags, _ = element.fields
    information = element.inside(_LINKINFO)
    data, kind = information.inside(_INFO_DATA), information.text(_INFO_KIND)
    is_vxlan = kind == "vxlan"
    return Link(
        index=index,
        name=element.text(_NAME),
        kind=kind,
        alias=element.text(_ALIAS),
        mtu=element.number(_MTU),
        mac=element.mac(_MAC),
        master=element.number(_MASTER),
        peer=element.number(_PEER),
        is_up=bool(flags & 1),
        is_isolated=bool(information.inside(_INFO_PORT).number(_ISOLATED)),
        vni=data.number(_VXLAN_ID) if is_vxlan else 0,
        local=data.address(_VXLAN_LOCAL) if is_vxlan else "",
    )
