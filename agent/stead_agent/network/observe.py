"""Read from the kernel which of our objects are there, in the same values as `picture.py` says what should be."""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from ipaddress import IPv4Address, IPv4Network

from stead_agent.network.interface import BRIDGE_PREFIX, GATEWAY_PREFIX, HOST_LINK, INTERNET_PREFIX
from stead_agent.network.picture import (
    INNER_ADDRESSES,
    LAST_METRIC,
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
    owner_of,
)
from stead_agent.network.plan import key_of
from stead_agent.network.rtnetlink import Kernel, Link

_LOOPBACK_NETWORK = IPv4Network("127.0.0.0/8")
_MADE_BY_US = (BRIDGE_PREFIX, GATEWAY_PREFIX, INTERNET_PREFIX)


@dataclass(frozen=True, slots=True)
class HostView:
    """All that the host's namespace has, read once for all VPCs."""

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
        """Tell which VPC has which address on its internet link."""
        found = {}
        for index, route in self.routes:
            owner = owner_of(self.links[index].alias) if index in self.links else None
            address = IPv4Network(route.destination).network_address
            if owner and not route.gateway and address in INNER_ADDRESSES:
                found[owner] = str(address)
        return found

    def half_made(self) -> list[Link]:
        """List the links that a crash left without an owner's name; taps are libvirt's and never have one."""
        return [link for link in self.links.values() if link.name.startswith(_MADE_BY_US) and not link.alias]


def view_host(kernel: Kernel) -> HostView:
    """Read the host's namespace."""
    return HostView(
        links={link.index: link for link in kernel.links(Place.HOST)},
        addresses=list(kernel.addresses(Place.HOST)),
        routes=list(kernel.routes(Place.HOST)),
        neighbours=list(kernel.neighbours(Place.HOST)),
        proxies=list(kernel.proxies()),
    )


def settings_of(kernel: Kernel, wanted: Iterable[Thing]) -> list[Thing]:
    """Read the settings that are wanted; all others are none of our business."""
    found = [kernel.setting(thing) for thing in wanted if isinstance(thing, Setting)]
    return [setting for setting in found if setting is not None]


def observe_host(kernel: Kernel, view: HostView, wanted: list[Thing]) -> list[Thing]:
    """List what is there of the host's own objects."""
    things = settings_of(kernel, wanted)
    for index, link in view.links.items():
        if link.name == HOST_LINK:
            things.append(Bridge(link.name, link.alias, link.mtu))
            things += [Address(Place.HOST, HOST_LINK, address) for owner, address in view.addresses if owner == index]
            things += [Up(Place.HOST, HOST_LINK)] if link.is_up else []
    return things + _last_routes(view.routes)


def observe_remains(view: HostView, vpc_id: str) -> list[Thing]:
    """List what the host's namespace has of a VPC: its links, of whatever kind, and what does not go with them."""
    mine = {index: link for index, link in view.links.items() if owner_of(link.alias) == vpc_id}
    things: list[Thing] = [Bridge(link.name, link.alias, link.mtu) for link in mine.values()]
    return things + _proxies(view, _public_addresses(_routes(view.routes, mine)))


def observe_vpc(kernel: Kernel, view: HostView, vpc_id: str, wanted: list[Thing]) -> list[Thing]:
    """List what is there of a VPC's objects; its namespace must exist."""
    wanted_keys = {key_of(thing) for thing in wanted}
    mine = {
        index: link
        for index, link in view.links.items()
        if owner_of(link.alias) == vpc_id or (not link.alias and key_of(Bridge(link.name, "", 0)) in wanted_keys)
    }
    inside = {link.index: link for link in kernel.links(Place.VPC)}
    things = settings_of(kernel, wanted)
    for link in mine.values():
        if link.kind == "bridge":
            things.append(Bridge(link.name, link.alias, link.mtu))
        elif link.kind == "veth":
            things.append(_pair(link, view, inside))
        things += [Up(Place.HOST, link.name)] if link.is_up else []
    things += [Up(Place.VPC, link.name) for link in inside.values() if link.is_up]
    things += [
        Address(Place.VPC, inside[index].name, address)
        for index, address in kernel.addresses(Place.VPC)
        if index in inside and IPv4Address(address.partition("/")[0]) not in _LOOPBACK_NETWORK
    ]
    inner_routes = list(kernel.routes(Place.VPC))
    things += _routes(inner_routes, inside) + _last_routes(inner_routes)
    things += _neighbours(kernel.neighbours(Place.VPC), inside, Place.VPC, wanted_keys)
    things += _neighbours(view.neighbours, mine, Place.HOST, wanted_keys)
    routes = _routes(view.routes, mine)
    things += routes
    public = _public_addresses(routes) | {thing.address for thing in wanted if isinstance(thing, Proxy)}
    return things + _proxies(view, public)


def _public_addresses(routes: list[Route]) -> set[str]:
    return {str(IPv4Network(route.destination).network_address) for route in routes if route.gateway}


def _proxies(view: HostView, addresses: set[str]) -> list[Thing]:
    return [Proxy(view.links[index].name, address) for index, address in view.proxies if address in addresses]


def _pair(link: Link, view: HostView, inside: dict[int, Link]) -> Veth:
    inner = inside.get(link.peer)
    is_pair = inner is not None and inner.kind == "veth" and inner.peer == link.index
    return Veth(
        name=link.name,
        alias=link.alias,
        mtu=link.mtu,
        mac="" if link.name.startswith(GATEWAY_PREFIX) else link.mac,
        master=view.links[link.master].name if link.master in view.links else "",
        inner=inner.name if inner and is_pair else "",
        inner_mac=inner.mac if inner and is_pair else "",
    )


def _routes(routes: Iterable[tuple[int, Route]], links: dict[int, Link]) -> list[Route]:
    return [replace(route, link=links[index].name) for index, route in routes if index in links]


def _last_routes(routes: Iterable[tuple[int, Route]]) -> list[Thing]:
    """Take the routes that say `unreachable`."""
    return [route for index, route in routes if not index and route.metric == LAST_METRIC]


def _neighbours(
    neighbours: Iterable[tuple[int, str, str, bool]],
    links: dict[int, Link],
    place: Place,
    wanted: set[tuple[object, ...]],
) -> list[Neighbour]:
    """Take those that stay, and wanted ones: what a DHCP server turned into an ordinary entry is as good."""
    found = [
        (Neighbour(place, links[index].name, address, mac), stays)
        for index, address, mac, stays in neighbours
        if index in links
    ]
    return [neighbour for neighbour, stays in found if stays or key_of(neighbour) in wanted]
