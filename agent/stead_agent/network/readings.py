"""Read the links, addresses, routes, rules and neighbours of one or two namespaces, by pyroute2.

An IPRoute belongs to the thread that made it, and its socket to the namespace the thread was in: see `Readings`.
"""

import errno
import socket
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self

from stead_agent.network import route_messages, traffic_control
from stead_agent.network.kernel_objects import Place, Route, RoutingRule, Setting
from stead_agent.network.namespaces import enter
from stead_agent.network.route_messages import FAMILIES, PROTOCOL
from stead_agent.network.routing_sockets import IPRoute, NetlinkError

NTF_PROXY: Final = 8
SETTINGS: Final = Path("/proc/sys")
_NUD_PERMANENT: Final = 0x80


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

    def _netlink(self, place: Place) -> Any:
        if place not in self._sockets:
            self._go(place)
            self._sockets[place] = IPRoute()
        return self._sockets[place]

    def _index(self, place: Place, name: str) -> int:
        """Return a link's index; each is looked up only once in one piece of work."""
        found = self._indexes.get((place, name))
        if found is None:
            indexes = self._netlink(place).link_lookup(ifname=name)
            if not indexes:
                raise NetlinkError(errno.ENODEV, f"no link {name}")
            found = self._indexes[place, name] = indexes[0]
        return found

    def links(self, place: Place) -> list[Link]:
        """List all links."""
        return [_link(message) for message in self._netlink(place).get_links()]

    def addresses(self, place: Place) -> Iterator[tuple[int, str]]:
        """List the addresses as pairs of link index and address with prefix length."""
        for family in FAMILIES:
            for message in self._netlink(place).get_addr(family=family):
                local = message.get_attr("IFA_LOCAL") or message.get_attr("IFA_ADDRESS")
                yield message["index"], f"{local}/{message['prefixlen']}"

    def routes(self, place: Place) -> Iterator[tuple[int, Route]]:
        """List our routes as pairs of link index (0 for none) and route, which has no link name yet."""
        self._go(place)
        with route_messages.open_socket() as opened:
            yield from route_messages.read(opened, place)

    def rules(self, place: Place) -> Iterator[RoutingRule]:
        """List our rules."""
        for family in FAMILIES:
            for message in self._netlink(place).get_rules(family=family):
                if message.get_attr("FRA_PROTOCOL") == PROTOCOL:
                    yield RoutingRule(
                        place,
                        family == socket.AF_INET6,
                        message.get_attr("FRA_PRIORITY") or 0,
                        message.get_attr("FRA_TABLE") or message["table"],
                        message.get_attr("FRA_IIFNAME") or "",
                        message.get_attr("FRA_FWMARK") or 0,
                        message.get_attr("FRA_IP_PROTO") or 0,
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
            for message in self._netlink(place).get_neighbours(family=family):
                mac = message.get_attr("NDA_LLADDR")
                if mac:
                    yield message["ifindex"], message.get_attr("NDA_DST"), mac, bool(message["state"] & _NUD_PERMANENT)

    def tunnels(self) -> Iterator[tuple[int, str, str]]:
        """List the VPC's forwarding database as link index, MAC, and the host that its frames are sent to."""
        for message in self._netlink(Place.VPC).fdb("dump"):
            host = message.get_attr("NDA_DST")
            if host:
                yield message["ifindex"], message.get_attr("NDA_LLADDR"), host

    def proxies(self) -> Iterator[tuple[int, str]]:
        """List the addresses for which the host answers ARP or ND, as pairs of link index and address."""
        for family in FAMILIES:
            # Without a filter of its own pyroute2 passes the flag to the kernel, which lists these entries only then.
            dump = self._netlink(Place.HOST).neigh("dump", family=family, flags=NTF_PROXY, dump_filter=None)
            for message in dump:
                yield message["ifindex"], message.get_attr("NDA_DST")

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


def _link(message: Any) -> Link:
    information = message.get_attr("IFLA_LINKINFO")
    data = information.get_attr("IFLA_INFO_DATA") if information else None
    port = information.get_attr("IFLA_INFO_SLAVE_DATA") if information else None
    kind = (information.get_attr("IFLA_INFO_KIND") if information else None) or ""
    vxlan = data if kind == "vxlan" else None
    return Link(
        index=message["index"],
        name=message.get_attr("IFLA_IFNAME"),
        kind=kind,
        alias=message.get_attr("IFLA_IFALIAS") or "",
        mtu=message.get_attr("IFLA_MTU"),
        mac=message.get_attr("IFLA_ADDRESS") or "",
        master=message.get_attr("IFLA_MASTER") or 0,
        peer=message.get_attr("IFLA_LINK") or 0,
        is_up=bool(message["flags"] & 1),
        is_isolated=bool(port and port.get_attr("IFLA_BRPORT_ISOLATED")),
        vni=vxlan.get_attr("IFLA_VXLAN_ID") if vxlan else 0,
        local=(vxlan.get_attr("IFLA_VXLAN_LOCAL") or "") if vxlan else "",
    )
