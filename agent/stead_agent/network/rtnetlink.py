"""Change the kernel's links, addresses, routes, rules and neighbours: one step of a plan becomes messages."""

import contextlib
import errno
import os
import threading
from collections.abc import Callable, Iterable, Iterator
from typing import Any, Final

from stead_agent.network import route_messages, traffic_control
from stead_agent.network.announce import announce
from stead_agent.network.interface import NetworkError
from stead_agent.network.kernel_changes import ALIAS, RoutingSocket, index_of
from stead_agent.network.kernel_objects import (
    Address,
    Bridge,
    KernelObject,
    Kind,
    Neighbour,
    PeerLink,
    Place,
    Proxy,
    Route,
    RoutingRule,
    Setting,
    Shaper,
    Tap,
    Tunnel,
    Up,
    Veth,
    Vxlan,
)
from stead_agent.network.namespaces import Namespaces, enter, on_a_thread
from stead_agent.network.plan import Change, Make, Remove, Step
from stead_agent.network.readings import NTF_PROXY, SETTINGS, Readings
from stead_agent.network.route_messages import FAMILIES, PROTOCOL

BRIDGE_MAC: Final = "02:53:54:45:41:03"
VXLAN_PORT: Final = 4789  # RFC 7348
_SCOPE_LINK: Final = 253
_ALL_GROUPS: Final = 0xFFF8  # 01-80-C2-00-00-03 to -0F; the kernel allows no others
_NTF_SELF: Final = 2
_STAYS_WITHOUT_ARP: Final = 0xC0  # NUD_PERMANENT, NUD_NOARP
_DF_SET: Final = 1  # VXLAN_DF_SET: packets too long for the underlay are never fragmented
_MANY: Final = 16
_KINDS: Final = {Kind.ONWARD: "unicast", Kind.UNREACHABLE: "unreachable", Kind.BLACKHOLE: "blackhole"}
_GONE: Final = frozenset({errno.ENODEV, errno.ENOENT, errno.ESRCH, errno.EADDRNOTAVAIL})

# Both VPCs of a peering may try to create their pair at the same time.
_one_pair_at_a_time = threading.Lock()


class Kernel(Readings):
    """Both namespaces of a VPC, or the host's alone, for one thread made for it (`on_a_thread`)."""

    def __init__(self, host: int, vpc: int | None = None, open_peer: Callable[[str], int] | None = None) -> None:
        """`open_peer` returns a descriptor of another VPC's namespace, for the caller to close."""
        super().__init__(host, vpc)
        self._open_peer = open_peer

    def carry_out_all(self, steps: Iterable[Step]) -> None:
        """Do the steps of a plan; many main-table routes are written in one batch, since no step depends on them."""
        singly: list[Step] = []
        many: dict[Place, list[Route]] = {}
        for step in steps:
            route = _plain_route(step)
            if route is None:
                singly.append(step)
            else:
                many.setdefault(route.place, []).append(route)
        for step in singly:
            self.carry_out(step)
        for place, routes in many.items():
            self._write_routes(place, routes)

    def _write_routes(self, place: Place, routes: list[Route]) -> None:
        if len(routes) < _MANY:
            for route in routes:
                self.carry_out(Make(route))
            return
        found = [(self._index(place, route.link), route) for route in routes]
        self._go(place)
        with route_messages.open_socket() as opened:
            try:
                route_messages.write(opened, found)
            except OSError as error:
                raise NetworkError(f"{len(routes)} routes: {error}") from error

    def carry_out(self, step: Step) -> None:
        """Do one step of a plan; removing what is already gone is no error."""
        with _named(step):
            match step:
                case Make(obj):
                    self._make(obj)
                case Change(old, new):
                    self._change(old, new)
                case Remove(obj):
                    try:
                        self._remove(obj)
                    except OSError as error:
                        if error.errno not in _GONE:
                            raise

    def _make(self, obj: KernelObject) -> None:
        match obj:
            case Setting():
                self._write(obj)
            case Bridge():
                # No STP: each port forwards from its first frame. No multicast snooping: it would send queries.
                # Frames to the bridge group addresses are forwarded to the firewall too: else the bridge would learn
                # the source MAC of an LLDP frame before any rule sees it (br_handle_frame in net/bridge/br_input.c).
                self._netlink(Place.HOST).link(
                    "add", ifname=obj.name, kind="bridge", address=BRIDGE_MAC, mtu=obj.mtu,
                    br_stp_state=0, br_mcast_snooping=0, br_mcast_router=0,
                    br_group_fwd_mask=_ALL_GROUPS,
                )  # fmt: skip
                self._set_link(obj.name, ifalias=obj.alias)
            case Veth():
                self._make_pair(obj)
            case Shaper():
                self._netlink(Place.HOST).link("add", ifname=obj.name, kind="ifb")
                self._shape(obj)
            case PeerLink():
                with _one_pair_at_a_time:
                    self._make_peer_link(obj)
            case Vxlan():
                self._make_vxlan(obj)
            case Tap():
                raise NetworkError(f"{obj.name} is not there: libvirt makes it")
            case Address():
                address, _, length = obj.address.partition("/")
                self._netlink(obj.place).addr(
                    "add", index=self._index(obj.place, obj.link), address=address, prefixlen=int(length)
                )
            case Up():
                index = self._index(obj.place, obj.link)
                self._netlink(obj.place).link("set", index=index, state="up")
            case Route():
                self._netlink(obj.place).route("replace", **self._route(obj))
            case RoutingRule():
                self._make_rule(obj)
            case Neighbour():
                index = self._index(obj.place, obj.link)
                self._netlink(obj.place).neigh("replace", ifindex=index, dst=obj.address, lladdr=obj.mac)
            case Tunnel():
                self._netlink(Place.VPC).fdb("replace", **self._tunnel(obj))
            case Proxy():
                index = self._index(Place.HOST, obj.link)
                self._netlink(Place.HOST).neigh("replace", ifindex=index, dst=obj.address, flags=NTF_PROXY)
                self._go(Place.HOST)
                announce(obj.link, obj.address)

    def _make_pair(self, pair: Veth) -> None:
        extra: dict[str, Any] = {"address": pair.mac} if pair.mac else {}
        if pair.master and not pair.is_isolated:
            extra["master"] = self._index(Place.HOST, pair.master)
        peer = {
            "ifname": pair.inner,
            "address": pair.inner_mac,
            "mtu": pair.mtu,
            "net_ns_fd": self._namespaces[Place.VPC],
        }
        self._netlink(Place.HOST).link("add", ifname=pair.name, kind="veth", mtu=pair.mtu, peer=peer, **extra)
        # Set separately, since the kernel ignores it at creation: a link without it was left half made by a crash.
        self._set_link(pair.name, ifalias=pair.alias)
        if pair.is_isolated:
            self._plug(pair)

    def _plug(self, pair: Veth) -> None:
        """Make the outer end an isolated port, before it is switched on."""
        index = self._index(Place.HOST, pair.name)
        self._netlink(Place.HOST).link("set", index=index, master=self._index(Place.HOST, pair.master))
        self._netlink(Place.HOST).isolate(index)

    def _make_vxlan(self, device: Vxlan) -> None:
        """Create the device inside, with its socket in the host's namespace: the one that gets this request."""
        self._netlink(Place.HOST).link(
            "add", ifname=device.name, kind="vxlan", vxlan_id=device.vni, vxlan_local=device.local,
            vxlan_port=VXLAN_PORT, vxlan_learning=0, vxlan_df=_DF_SET, address=device.mac, mtu=device.mtu,
            net_ns_fd=self._namespaces[Place.VPC],
        )  # fmt: skip

    def _make_peer_link(self, link: PeerLink) -> None:
        """Create the pair between two VPCs' namespaces, unless the peer's own apply has just created it."""
        if self._open_peer is None:
            raise NetworkError("no peers are known here")
        other = self._open_peer(link.peer)
        try:
            enter(other)
            self._place = None
            with RoutingSocket() as there:
                self._join(link, other, there)
        finally:
            os.close(other)

    def _join(self, link: PeerLink, other: int, there: RoutingSocket) -> None:
        here = self._netlink(Place.VPC)
        own = os.fstat(self._namespaces[Place.VPC]).st_ino
        aliases = (peer_alias(link.vpc, link.peer, link.peer_namespace), peer_alias(link.peer, link.vpc, own))
        found = [side.named(link.name) for side in (here, there)]
        if [end.text(ALIAS) if end else None for end in found] == [*aliases]:
            return
        for side in (here, there):
            if end := side.named(link.name):  # the other one takes its end along
                side.link("del", index=index_of(end))
        values: dict[str, Any] = {"ifname": link.name, "address": link.mac, "mtu": link.mtu}
        here.link("add", kind="veth", peer={**values, "net_ns_fd": other}, **values)
        for side, alias in zip((here, there), aliases, strict=True):
            end = side.named(link.name)
            if end is None:
                raise NetworkError(f"{link.name} was removed meanwhile")
            side.link("set", index=index_of(end), ifalias=alias)

    def _make_rule(self, rule: RoutingRule) -> None:
        try:
            self._netlink(rule.place).rule("add", **_rule(rule))
        except OSError as error:
            if error.errno != errno.EEXIST:
                raise

    def _change(self, old: KernelObject, new: KernelObject) -> None:
        match old, new:
            case Bridge(), Bridge():
                self._set_link(new.name, ifalias=new.alias, mtu=new.mtu)
            case Veth(), Veth():
                self._change_pair(old, new)
            case Tap(), Tap():
                self._change_tap(old, new)
            case Shaper(), Shaper():
                self._shape(new)
            case (_, PeerLink() | Vxlan() as link):
                self._netlink(Place.VPC).link("set", index=self._index(Place.VPC, link.name), mtu=link.mtu)
            case RoutingRule(), RoutingRule():
                self._make(new)  # before the old one is removed: there is always one that matches
                self._netlink(old.place).rule("del", **_rule(old))
            case _:
                self._make(new)  # making one replaces the old one

    def _change_pair(self, old: Veth, new: Veth) -> None:
        """Change a pair's ends; a MAC only where it differs, since setting one makes the kernel forget neighbours."""
        outer: dict[str, Any] = {"master": self._index(Place.HOST, new.master) if new.master else 0}
        if new.mac and new.mac != old.mac:
            outer["address"] = new.mac
        self._set_link(new.name, ifalias=new.alias, mtu=new.mtu, **outer)
        inner: dict[str, Any] = {"address": new.inner_mac} if new.inner_mac != old.inner_mac else {}
        self._netlink(Place.VPC).link("set", index=self._index(Place.VPC, new.inner), mtu=new.mtu, **inner)
        if new.is_isolated:
            self._plug(new)

    def _change_tap(self, old: Tap, new: Tap) -> None:
        """Put a tap back into its bridge, isolated before it is switched on."""
        index = self._index(Place.HOST, new.name)
        if old.master != new.master or old.mtu != new.mtu:
            self._set_link(new.name, master=self._index(Place.HOST, new.master), mtu=new.mtu)
        if old.master != new.master or not old.is_isolated:
            self._netlink(Place.HOST).isolate(index)
        if (old.into, old.out_of) != (new.into, new.out_of):
            shapers = (self._index(Place.HOST, name) if name else 0 for name in (new.into, new.out_of))
            self._go(Place.HOST)
            traffic_control.redirect(index, *shapers)
        if not old.is_up:
            self._set_link(new.name, state="up")

    def _shape(self, shaper: Shaper) -> None:
        """Give a shaper its rates, and then its owner: one without was left half made by a crash."""
        index = self._index(Place.HOST, shaper.name)
        self._go(Place.HOST)
        traffic_control.shape(index, shaper)
        self._set_link(shaper.name, ifalias=shaper.alias)

    def limit(self, tap: str, into: str, out_of: str) -> int | None:
        """Redirect a tap to its shapers, "" for none, unless it is so; return its index, None if it is not there."""
        try:
            found = self._find(Place.HOST, tap)
            if found is None:
                return None
            shapers = (self._index(Place.HOST, into), self._index(Place.HOST, out_of)) if into else (0, 0)
            if self.redirects(found) != shapers:
                traffic_control.redirect(found, *shapers)
            return found
        except OSError as error:
            raise NetworkError(f"{tap} is not limited: {error}") from error

    def _remove(self, obj: KernelObject) -> None:
        match obj:
            case Setting() | Up() | Tap():
                pass  # removed with its link or namespace; taps are libvirt's
            case Bridge() | Veth() | Shaper():
                self._netlink(Place.HOST).link("del", index=self._index(Place.HOST, obj.name))
                self._indexes.clear()
            case PeerLink() | Vxlan():
                self._netlink(Place.VPC).link("del", index=self._index(Place.VPC, obj.name))
                self._indexes.clear()
            case Address():
                address, _, length = obj.address.partition("/")
                self._netlink(obj.place).addr(
                    "del", index=self._index(obj.place, obj.link), address=address, prefixlen=int(length)
                )
            case Route():
                self._netlink(obj.place).route("del", **self._route(obj))
            case RoutingRule():
                self._netlink(obj.place).rule("del", **_rule(obj))
            case Tunnel():
                self._netlink(Place.VPC).fdb("del", **self._tunnel(obj))
            case Neighbour():
                index = self._index(obj.place, obj.link)
                self._netlink(obj.place).neigh("del", ifindex=index, dst=obj.address)
            case Proxy():
                index = self._index(Place.HOST, obj.link)
                self._netlink(Place.HOST).neigh("del", ifindex=index, dst=obj.address, flags=NTF_PROXY)

    def _set_link(self, name: str, **values: Any) -> None:
        self._netlink(Place.HOST).link("set", index=self._index(Place.HOST, name), **values)

    def _route(self, route: Route) -> dict[str, Any]:
        """Convert a route into the values of a message."""
        words: dict[str, Any] = {"dst": route.destination, "proto": PROTOCOL, "metric": route.metric}
        words |= {"table": route.table, "kind": _KINDS[route.kind]}
        if route.kind is not Kind.ONWARD:
            return words
        words |= {"oif": self._index(route.place, route.link), "source": route.source, "gateway": route.gateway}
        return words if route.gateway else {**words, "scope": _SCOPE_LINK}

    def _tunnel(self, tunnel: Tunnel) -> dict[str, Any]:
        """Convert an entry of the forwarding database into the values of a message."""
        return {
            "ifindex": self._index(Place.VPC, tunnel.link),
            "lladdr": tunnel.mac,
            "dst": tunnel.host,
            "state": _STAYS_WITHOUT_ARP,
            "flags": _NTF_SELF,
        }

    def _write(self, setting: Setting) -> None:
        self._go(setting.place)
        try:
            (SETTINGS / setting.path).write_text(setting.value, encoding="ascii")
        except FileNotFoundError:
            if setting.link and not self._lacks(setting):
                raise


def with_kernel[T](namespaces: Namespaces, name: str | None, work: Callable[[Kernel], T]) -> T:
    """Do work on the host's namespace, and on a VPC's or NAT gateway's if given, on a thread of its own."""
    with contextlib.ExitStack() as stack:
        inner = None
        if name is not None:
            inner = namespaces.open(name)
            stack.callback(os.close, inner)

        def body() -> T:
            with Kernel(namespaces.host, inner, namespaces.open) as kernel:
                return work(kernel)

        return on_a_thread(body)


def peer_alias(vpc_id: str, peer: str, peer_namespace: int) -> str:
    """Return the alias of an end of a pair: its owner and where the other end is; `observe.py` reads it."""
    return f"stead {vpc_id} {peer} {peer_namespace}"


def _plain_route(step: Step) -> Route | None:
    """Return the route that a step creates, if it is of the kind that there may be thousands of."""
    obj = step.obj if isinstance(step, Make) else None
    return obj if isinstance(obj, Route) and route_messages.is_plain(obj) else None


def _rule(rule: RoutingRule) -> dict[str, Any]:
    """Convert a rule into the values of a message."""
    words = {
        "family": FAMILIES[rule.is_ipv6],
        "priority": rule.priority,
        "table": rule.table,
        "iifname": rule.incoming,
        "protocol": PROTOCOL,
    }
    words |= {"fwmark": rule.mark} if rule.mark else {}
    return words | ({"ip_proto": rule.protocol} if rule.protocol else {})


@contextlib.contextmanager
def _named(step: Step) -> Iterator[None]:
    """Add to an error which step the kernel refused."""
    try:
        yield
    except OSError as error:
        raise NetworkError(f"{step}: {error}") from error
