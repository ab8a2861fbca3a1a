"""The kernel's links, addresses, routes and neighbours of one namespace, by pyroute2: the only file that knows it.

An IPRoute belongs to the thread that made it, and its socket to the namespace the thread was in: see `Kernel`.
"""

import errno
import socket
import struct
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from ipaddress import IPv4Address
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self

from pyroute2 import IPRoute
from pyroute2.netlink.exceptions import NetlinkError

from stead_agent.network.interface import NetworkError
from stead_agent.network.namespaces import enter
from stead_agent.network.picture import (
    BRIDGE_MAC,
    Address,
    Bridge,
    Neighbour,
    Place,
    Proxy,
    Route,
    Setting,
    Thing,
    Up,
    Veth,
)
from stead_agent.network.plan import Change, Make, Remove, Step

# rtm_protocol: who made a route. Ours, so that we know ours and leave all others alone; unused by any daemon
# (include/uapi/linux/rtnetlink.h and iproute2's rt_protos).
PROTOCOL: Final = 83
_SCOPE_LINK: Final = 253
_NTF_PROXY: Final = 8
_ALL_GROUPS: Final = 0xFFF8  # 01-80-C2-00-00-03 to -0F; the kernel allows no more
_NUD_PERMANENT: Final = 0x80
_GONE: Final = frozenset({errno.ENODEV, errno.ENOENT, errno.ESRCH, errno.EADDRNOTAVAIL})
_SETTINGS: Final = Path("/proc/sys")
_ETHERTYPE_ARP: Final = 0x0806


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


class Kernel:
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
        """Find a link's index; the links of one piece of work are looked up once."""
        found = self._indexes.get((place, name))
        if found is None:
            indexes = self._netlink(place).link_lookup(ifname=name)
            if not indexes:
                raise NetlinkError(errno.ENODEV, f"no link {name}")
            found = self._indexes[place, name] = indexes[0]
        return found

    # --- what is there

    def links(self, place: Place) -> list[Link]:
        """List all links."""
        return [_link(message) for message in self._netlink(place).get_links()]

    def addresses(self, place: Place) -> Iterator[tuple[int, str]]:
        """List the IPv4 addresses as pairs of link index and address with prefix length."""
        for message in self._netlink(place).get_addr(family=socket.AF_INET):
            local = message.get_attr("IFA_LOCAL") or message.get_attr("IFA_ADDRESS")
            yield message["index"], f"{local}/{message['prefixlen']}"

    def routes(self, place: Place) -> Iterator[tuple[int, Route]]:
        """List our IPv4 routes as pairs of link index (0 for none) and route, still without its link's name."""
        for message in self._netlink(place).get_routes(family=socket.AF_INET, proto=PROTOCOL):
            destination = message.get_attr("RTA_DST") or "0.0.0.0"
            yield (
                message.get_attr("RTA_OIF") or 0,
                Route(
                    place,
                    f"{destination}/{message['dst_len']}",
                    gateway=message.get_attr("RTA_GATEWAY") or "",
                    source=message.get_attr("RTA_PREFSRC") or "",
                    metric=message.get_attr("RTA_PRIORITY") or 0,
                ),
            )

    def default_link(self) -> str | None:
        """Name the link of the host's default route: the one of the least metric."""
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
        """List the IPv4 neighbours as link index, address, MAC, and whether the entry is there to stay."""
        for message in self._netlink(place).get_neighbours(family=socket.AF_INET):
            mac = message.get_attr("NDA_LLADDR")
            if mac:
                yield message["ifindex"], message.get_attr("NDA_DST"), mac, bool(message["state"] & _NUD_PERMANENT)

    def proxies(self) -> Iterator[tuple[int, str]]:
        """List the addresses that the host answers ARP for as pairs of link index and address."""
        # Without its own filter pyroute2 hands the flag to the kernel, which lists these entries only then.
        dump = self._netlink(Place.HOST).neigh("dump", family=socket.AF_INET, flags=_NTF_PROXY, dump_filter=None)
        for message in dump:
            yield message["ifindex"], message.get_attr("NDA_DST")

    def setting(self, wanted: Setting) -> Setting | None:
        """Read a setting; None when its link is not there. One that this kernel lacks counts as being as wanted."""
        self._go(wanted.place)
        try:
            value = (_SETTINGS / wanted.path).read_text(encoding="ascii").strip()
        except FileNotFoundError:
            return None if wanted.link and not self._lacks(wanted) else wanted
        return Setting(wanted.place, wanted.path, value, wanted.link)

    def value(self, path: str) -> str:
        """Read one of the host's settings."""
        self._go(Place.HOST)
        return (_SETTINGS / path).read_text(encoding="ascii").strip()

    # --- what to do

    def carry_out(self, step: Step) -> None:
        """Do one step of a plan; to remove what is gone is no error."""
        with _named(step):
            match step:
                case Make(thing):
                    self._make(thing)
                case Change(old, new):
                    self._change(old, new)
                case Remove(thing):
                    try:
                        self._remove(thing)
                    except NetlinkError as error:
                        if error.code not in _GONE:
                            raise

    def _make(self, thing: Thing) -> None:
        match thing:
            case Setting():
                self._write(thing)
            case Bridge():
                # No STP: each port forwards from its first frame. No multicast snooping: it would send queries.
                # Frames to the bridge group addresses go the way of all others, to the firewall: else the bridge learns
                # the source MAC of an LLDP frame before any rule sees it (br_handle_frame in net/bridge/br_input.c).
                self._netlink(Place.HOST).link(
                    "add", ifname=thing.name, kind="bridge", address=BRIDGE_MAC, mtu=thing.mtu,
                    br_stp_state=0, br_mcast_snooping=0, br_mcast_router=0,
                    br_group_fwd_mask=_ALL_GROUPS,
                )  # fmt: skip
                self._set_link(thing.name, ifalias=thing.alias)
            case Veth():
                self._make_pair(thing)
            case Address():
                address, _, length = thing.address.partition("/")
                self._netlink(thing.place).addr(
                    "add", index=self._index(thing.place, thing.link), address=address, prefixlen=int(length)
                )
            case Up():
                index = self._index(thing.place, thing.link)
                self._netlink(thing.place).link("set", index=index, state="up")
            case Route():
                self._netlink(thing.place).route("replace", **self._route(thing))
            case Neighbour():
                index = self._index(thing.place, thing.link)
                self._netlink(thing.place).neigh(
                    "replace", ifindex=index, dst=thing.address, lladdr=thing.mac, state="permanent"
                )
            case Proxy():
                index = self._index(Place.HOST, thing.link)
                self._netlink(Place.HOST).neigh("replace", ifindex=index, dst=thing.address, flags=_NTF_PROXY)
                self._announce(thing)

    def _make_pair(self, pair: Veth) -> None:
        extra: dict[str, Any] = {"address": pair.mac} if pair.mac else {}
        if pair.master:
            extra["master"] = self._index(Place.HOST, pair.master)
        peer = {
            "ifname": pair.inner,
            "address": pair.inner_mac,
            "mtu": pair.mtu,
            "net_ns_fd": self._namespaces[Place.VPC],
        }
        self._netlink(Place.HOST).link("add", ifname=pair.name, kind="veth", mtu=pair.mtu, peer=peer, **extra)
        # Not taken into account by the kernel at creation: a link without it is one that a crash left half made.
        self._set_link(pair.name, ifalias=pair.alias)

    def _change(self, old: Thing, new: Thing) -> None:
        match old, new:
            case Bridge(), Bridge():
                self._set_link(new.name, ifalias=new.alias, mtu=new.mtu)
            case Veth(), Veth():
                self._change_pair(old, new)
            case _:
                self._make(new)  # the others are replaced by being made

    def _change_pair(self, old: Veth, new: Veth) -> None:
        """Change a pair's ends; a MAC only where it differs, since setting one makes the kernel forget neighbours."""
        outer: dict[str, Any] = {"master": self._index(Place.HOST, new.master) if new.master else 0}
        if new.mac != old.mac:
            outer["address"] = new.mac
        self._set_link(new.name, ifalias=new.alias, mtu=new.mtu, **outer)
        inner: dict[str, Any] = {"address": new.inner_mac} if new.inner_mac != old.inner_mac else {}
        self._netlink(Place.VPC).link("set", index=self._index(Place.VPC, new.inner), mtu=new.mtu, **inner)

    def _remove(self, thing: Thing) -> None:
        match thing:
            case Setting() | Up():
                pass  # goes with its link or namespace
            case Bridge() | Veth():
                self._netlink(Place.HOST).link("del", index=self._index(Place.HOST, thing.name))
                self._indexes.clear()
            case Address():
                address, _, length = thing.address.partition("/")
                self._netlink(thing.place).addr(
                    "del", index=self._index(thing.place, thing.link), address=address, prefixlen=int(length)
                )
            case Route():
                self._netlink(thing.place).route("del", **self._route(thing))
            case Neighbour():
                index = self._index(thing.place, thing.link)
                self._netlink(thing.place).neigh("del", ifindex=index, dst=thing.address)
            case Proxy():
                index = self._index(Place.HOST, thing.link)
                self._netlink(Place.HOST).neigh("del", ifindex=index, dst=thing.address, flags=_NTF_PROXY)

    def _set_link(self, name: str, **values: Any) -> None:
        self._netlink(Place.HOST).link("set", index=self._index(Place.HOST, name), **values)

    def _route(self, route: Route) -> dict[str, Any]:
        """Put a route into pyroute2's words."""
        words: dict[str, Any] = {"dst": route.destination, "proto": PROTOCOL}
        if route.metric:
            words["priority"] = route.metric
        if not route.link:
            return {**words, "type": "unreachable"}
        words["oif"] = self._index(route.place, route.link)
        if route.gateway:
            words |= {"gateway": route.gateway, "flags": ["onlink"]}
        else:
            words["scope"] = _SCOPE_LINK
        if route.source:
            words["prefsrc"] = route.source
        return words

    def _lacks(self, setting: Setting) -> bool:
        """Tell whether the kernel has no such setting at all, such as IPv6's when it was booted without."""
        family = "/".join(setting.path.split("/")[:3])
        return not (_SETTINGS / family).exists()

    def _write(self, setting: Setting) -> None:
        self._go(setting.place)
        try:
            (_SETTINGS / setting.path).write_text(setting.value, encoding="ascii")
        except FileNotFoundError:
            if setting.link and not self._lacks(setting):
                raise

    def _announce(self, proxy: Proxy) -> None:
        """Tell the uplink's neighbours that a public address is here now (a gratuitous ARP request, RFC 5227)."""
        self._go(Place.HOST)
        address = IPv4Address(proxy.address).packed
        with socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0) as announcer:
            announcer.bind((proxy.link, 0))
            mac: bytes = announcer.getsockname()[4]
            header = b"\xff" * 6 + mac + struct.pack("!H", _ETHERTYPE_ARP)
            request = struct.pack("!HHBBH", 1, 0x0800, 6, 4, 1)
            try:
                announcer.send(header + request + mac + address + bytes(6) + address)
            except OSError as error:
                if error.errno != errno.ENETDOWN:  # without a carrier there is nobody to tell
                    raise


def _link(message: Any) -> Link:
    information = message.get_attr("IFLA_LINKINFO")
    return Link(
        index=message["index"],
        name=message.get_attr("IFLA_IFNAME"),
        kind=(information.get_attr("IFLA_INFO_KIND") if information else None) or "",
        alias=message.get_attr("IFLA_IFALIAS") or "",
        mtu=message.get_attr("IFLA_MTU"),
        mac=message.get_attr("IFLA_ADDRESS") or "",
        master=message.get_attr("IFLA_MASTER") or 0,
        peer=message.get_attr("IFLA_LINK") or 0,
        is_up=bool(message["flags"] & 1),
    )


@contextmanager
def _named(step: Step) -> Iterator[None]:
    """Say which step it was that the kernel refused."""
    try:
        yield
    except (NetlinkError, OSError) as error:
        raise NetworkError(f"{step}: {error}") from error
