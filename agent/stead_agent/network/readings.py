"""Read the links, addresses, routes, rules and neighbours of one or two namespaces.

A socket belongs to the namespace in which its thread was when it was made: see `Readings`.
"""

import errno
import fcntl
import os
import socket
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Final, Self

from stead_agent.network import kernel_lists, route_messages, traffic_control
from stead_agent.network.kernel_changes import AF_BRIDGE, RTA_OIF, RTA_PRIORITY, RoutingSocket
from stead_agent.network.kernel_lists import ADDRESSES, LINKS, NEIGHBOURS, ROUTES, RULES, Element
from stead_agent.network.kernel_objects import MAIN_TABLE, Place, Route, RoutingRule, Setting
from stead_agent.network.namespaces import enter
from stead_agent.network.route_messages import FAMILIES, PROTOCOL

NTF_PROXY: Final = 8
SETTINGS: Final = Path("/proc/sys")
_SETTING_BYTES: Final = 4096
_NUD_PERMANENT: Final = 0x80
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
        self._sockets: dict[Place, RoutingSocket] = {}
        self._indexes: dict[tuple[Place, str], int] = {}
        self._place: Place | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for opened in self._sockets.values():
            opened.close()

    def _go(self, place: Place) -> None:
        if self._place is not place:
            enter(self._namespaces[place])
            self._place = place

    def _netlink(self, place: Place) -> RoutingSocket:
        if place not in self._sockets:
            self._go(place)
            self._sockets[place] = RoutingSocket()
        return self._sockets[place]

    def _plain(self, place: Place) -> socket.socket:
        return self._netlink(place).socket

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
            raise OSError(errno.ENODEV, f"no link {name}")
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
        defaults = [
            (element.number(RTA_PRIORITY), element.number(RTA_OIF))
            for element in kernel_lists.read(
                self._plain(Place.HOST), ROUTES, socket.AF_INET, 0, 0, 0, MAIN_TABLE, 0, 0, 0, 0
            )
            if element.fields[1] == 0 and element.fields[4] == MAIN_TABLE and element.number(RTA_OIF)
        ]
        names = {link.index: link.name for link in self.links(Place.HOST)} if defaults else {}
        return names.get(min(defaults)[1]) if defaults else None

    def neighbours(self, place: Place) -> Iterator[tuple[int, str, str, bool]]:
        """List the neighbours as link index, address, MAC, and whether the entry is permanent."""
        for family in FAMILIES:
            for element in kernel_lists.read(self._plain(place), NEIGHBOURS, family, 0, 0, 0, 0):
                _, index, state, _, _ = element.fields
                if mac := element.mac(_NDA_LLADDR):
                    yield index, element.address(_NDA_DST), mac, bool(state & _NUD_PERMANENT)

    def tunnels(self) -> Iterator[tuple[int, str, str]]:
        """List the VPC's forwarding database as link index, MAC, and the host that its frames are sent to."""
        for element in kernel_lists.read(self._plain(Place.VPC), NEIGHBOURS, AF_BRIDGE, 0, 0, 0, 0):
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
            value = _content(wanted.path)
        except FileNotFoundError:
            return None if wanted.link and not self._lacks(wanted) else wanted
        if wanted.tolerated and value == wanted.tolerated:
            return wanted
        return Setting(wanted.place, wanted.path, value, wanted.link, wanted.tolerated)

    def value(self, path: str) -> str | None:
        """Read one of the host's settings; None when this kernel does not have it."""
        self._go(Place.HOST)
        try:
            return _content(path)
        except FileNotFoundError:
            return None

    def _lacks(self, setting: Setting) -> bool:
        """Tell whether the kernel lacks this setting altogether, such as IPv6's when it was booted without IPv6."""
        family = "/".join(setting.path.split("/")[:3])
        return not (SETTINGS / family).exists()


def _content(path: str) -> str:
    """Read a setting: each comparison reads dozens of them, of which a Path would take four times as long."""
    descriptor = os.open(f"{SETTINGS}/{path}", os.O_RDONLY | os.O_CLOEXEC)
    try:
        return os.read(descriptor, _SETTING_BYTES).decode("ascii").strip()
    finally:
        os.close(descriptor)


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
