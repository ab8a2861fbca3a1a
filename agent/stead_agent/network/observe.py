"""Read our existing objects from the kernel, as the same values that `desired_objects.py` uses for the desired ones."""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from ipaddress import IPv4Network, ip_address

from stead_agent.network.bandwidth import INTO_PREFIX, OUT_OF_PREFIX
from stead_agent.network.desired_objects import INNER_ADDRESSES, owner_of
from stead_agent.network.interface import (
    BRIDGE_PREFIX,
    ENDPOINT_PREFIX,
    GATEWAY_PREFIX,
    HOST_LINK,
    INTERNET_PREFIX,
    OVERLAY_LINK,
    PEER_PREFIX,
    TAP_PREFIX,
)
from stead_agent.network.kernel_objects import (
    LAST_METRIC,
    Address,
    Bridge,
    KernelObject,
    Kind,
    Neighbour,
    PeerLink,
    Place,
    Proxy,
    Route,
    Setting,
    Shaper,
    Tunnel,
    Up,
    Veth,
    Vxlan,
    is_ipv6,
)
from stead_agent.network.plan import key_of
from stead_agent.network.readings import Link, Readings

_MADE_BY_US = (BRIDGE_PREFIX, GATEWAY_PREFIX, INTERNET_PREFIX, INTO_PREFIX, OUT_OF_PREFIX)
_PEER_WORDS = 4  # of the alias that rtnetlink.py gives the ends of a pair


@dataclass(frozen=True, slots=True)
class HostView:
    """Everything in the host's namespace, read once for all VPCs."""

    links: dict[int, Link]
    addresses: list[tuple[int, str]]
    routes: list[tuple[int, Route]]
    neighbours: list[tuple[int, str, str, bool]]
    proxies: list[tuple[int, str]]

    def owners(self) -> frozenset[str]:
        """List the VPCs that have links here."""
        return frozenset(
            owner for link in self.links.values() if (owner := owner_of(link.alias)) and link.name != HOST_LINK
        )

    def inner_addresses(self) -> dict[str, str]:
        """Return each address on an internet link, with its VPC."""
        found = {}
        for index, route in self.routes:
            owner = owner_of(self.links[index].alias) if index in self.links else None
            if owner and not route.gateway and not is_ipv6(route.destination):
                address = IPv4Network(route.destination).network_address
                if address in INNER_ADDRESSES:
                    found[owner] = str(address)
        return found

    def half_made(self) -> list[Link]:
        """List the links that a crash left without an owner in their alias; taps are libvirt's and never have one."""
        return [link for link in self.links.values() if link.name.startswith(_MADE_BY_US) and not link.alias]


def view_host(kernel: Readings) -> HostView:
    """Read the host's namespace."""
    return HostView(
        links={link.index: link for link in kernel.links(Place.HOST)},
        addresses=list(kernel.addresses(Place.HOST)),
        routes=list(kernel.routes(Place.HOST)),
        neighbours=list(kernel.neighbours(Place.HOST)),
        proxies=list(kernel.proxies()),
    )


def settings_of(kernel: Readings, wanted: Iterable[KernelObject]) -> list[KernelObject]:
    """Read the settings that are desired; all others are ignored."""
    found = [kernel.setting(obj) for obj in wanted if isinstance(obj, Setting)]
    return [setting for setting in found if setting is not None]


def observe_host(kernel: Readings, view: HostView, wanted: list[KernelObject]) -> list[KernelObject]:
    """List the existing objects of the host's own part."""
    objects = settings_of(kernel, wanted)
    for index, link in view.links.items():
        if link.name == HOST_LINK:
            objects.append(Bridge(link.name, link.alias, link.mtu))
            objects += [Address(Place.HOST, HOST_LINK, address) for owner, address in view.addresses if owner == index]
            objects += [Up(Place.HOST, HOST_LINK)] if link.is_up else []
    # An address that is not here may be on another host: such a route leads onwards, by a link that is not ours.
    onward = [it for it in _routes(view.routes, view.links) if it.kind is Kind.ONWARD and it.metric == LAST_METRIC]
    return objects + _last_routes(view.routes) + onward


def observe_remains(view: HostView, vpc_id: str) -> list[KernelObject]:
    """List what the host's namespace has of a VPC: its links of any kind, and what is not removed with them."""
    mine = {index: link for index, link in view.links.items() if owner_of(link.alias) == vpc_id}
    objects: list[KernelObject] = [Bridge(link.name, link.alias, link.mtu) for link in mine.values()]
    return objects + _proxies(view, _public_addresses(_routes(view.routes, mine)))


def observe_vpc(kernel: Readings, view: HostView, vpc_id: str, wanted: list[KernelObject]) -> list[KernelObject]:
    """List a VPC's existing objects; its namespace must exist. Its NAT gateways' links are not included."""
    wanted_keys = {key_of(obj) for obj in wanted}
    mine = {
        index: link
        for index, link in view.links.items()
        if (owner_of(link.alias) == vpc_id and not link.name.startswith(TAP_PREFIX))
        or (not link.alias and key_of(Bridge(link.name, "", 0)) in wanted_keys)
    }
    return observe_namespace(kernel, view, mine, wanted)


def observe_namespace(
    kernel: Readings, view: HostView, mine: dict[int, Link], wanted: list[KernelObject]
) -> list[KernelObject]:
    """List the existing objects inside a namespace, and those of the host's links that are `mine`."""
    wanted_keys = {key_of(obj) for obj in wanted}
    inside = {link.index: link for link in kernel.links(Place.VPC)}
    objects = settings_of(kernel, wanted)
    for link in mine.values():
        if link.kind == "bridge":
            objects.append(Bridge(link.name, link.alias, link.mtu))
        elif link.kind == "veth":
            objects.append(_pair(link, view, inside))
        elif link.kind == "ifb":
            objects.append(Shaper(link.name, link.alias, *kernel.limits(link.index)))
        objects += [Up(Place.HOST, link.name)] if link.is_up else []
    objects += _inner_links(kernel, inside)
    objects += [Up(Place.VPC, link.name) for link in inside.values() if link.is_up]
    objects += [
        Address(Place.VPC, inside[index].name, address)
        for index, address in kernel.addresses(Place.VPC)
        if index in inside and not ip_address(address.partition("/")[0]).is_loopback
    ]
    inner_routes = list(kernel.routes(Place.VPC))
    objects += _routes(inner_routes, inside) + _last_routes(inner_routes)
    objects += kernel.rules(Place.VPC)
    objects += _neighbours(kernel.neighbours(Place.VPC), inside, Place.VPC, wanted_keys)
    objects += _neighbours(view.neighbours, mine, Place.HOST, wanted_keys)
    routes = _routes(view.routes, mine)
    objects += routes
    public = _public_addresses(routes) | {obj.address for obj in wanted if isinstance(obj, Proxy)}
    return objects + _proxies(view, public)


def _inner_links(kernel: Readings, inside: dict[int, Link]) -> list[KernelObject]:
    """List the inner links that have no end in the host's namespace, and the VXLAN device's forwarding entries."""
    objects: list[KernelObject] = []
    overlay: set[int] = set()
    for index, link in inside.items():
        if link.kind == "vxlan" and link.name == OVERLAY_LINK:
            overlay.add(index)
            objects.append(Vxlan(link.name, link.vni, link.local, link.mac, link.mtu))
        elif link.kind == "veth" and link.name.startswith((PEER_PREFIX, ENDPOINT_PREFIX)):
            words = link.alias.split()
            vpc, peer, namespace = words[1:] if len(words) == _PEER_WORDS else ("", "", "0")
            objects.append(PeerLink(link.name, vpc, link.mac, link.mtu, peer, int(namespace)))
    if overlay:
        objects += [Tunnel(OVERLAY_LINK, mac, host) for index, mac, host in kernel.tunnels() if index in overlay]
    return objects


def _public_addresses(routes: list[Route]) -> set[str]:
    return {route.destination.partition("/")[0] for route in routes if route.gateway}


def _proxies(view: HostView, addresses: set[str]) -> list[KernelObject]:
    return [Proxy(view.links[index].name, address) for index, address in view.proxies if address in addresses]


def _pair(link: Link, view: HostView, inside: dict[int, Link]) -> Veth:
    inner = inside.get(link.peer)
    is_pair = inner is not None and inner.kind == "veth" and inner.peer == link.index
    return Veth(
        name=link.name,
        alias=link.alias,
        mtu=link.mtu,
        mac=link.mac if link.name.startswith(INTERNET_PREFIX) else "",
        master=view.links[link.master].name if link.master in view.links else "",
        inner=inner.name if inner and is_pair else "",
        inner_mac=inner.mac if inner and is_pair else "",
        is_isolated=link.is_isolated,
    )


def _routes(routes: Iterable[tuple[int, Route]], links: dict[int, Link]) -> list[Route]:
    return [replace(route, link=links[index].name) for index, route in routes if index in links]


def _last_routes(routes: Iterable[tuple[int, Route]]) -> list[KernelObject]:
    """Return the unreachable and black-hole routes."""
    return [route for _, route in routes if route.kind is not Kind.ONWARD]


def _neighbours(
    neighbours: Iterable[tuple[int, str, str, bool]],
    links: dict[int, Link],
    place: Place,
    wanted: set[tuple[object, ...]],
) -> list[Neighbour]:
    """Return permanent entries and desired ones: an entry that a DHCP server made non-permanent counts as well."""
    found = [
        (Neighbour(place, links[index].name, address, mac), stays)
        for index, address, mac, stays in neighbours
        if index in links
    ]
    return [neighbour for neighbour, stays in found if stays or key_of(neighbour) in wanted]
