"""Compare the existing with the desired objects, and return the ordered steps between them: pure."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Final

from stead_agent.network.kernel_objects import (
    Address,
    Bridge,
    KernelObject,
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


@dataclass(frozen=True, slots=True)
class Make:
    """Create an object that does not exist."""

    obj: KernelObject


@dataclass(frozen=True, slots=True)
class Change:
    """Change an object into another one of the same identity."""

    old: KernelObject
    new: KernelObject


@dataclass(frozen=True, slots=True)
class Remove:
    """Remove an object; that it is gone already is no error."""

    obj: KernelObject


Step = Make | Change | Remove
Key = tuple[object, ...]

# Objects of a rank need those of lower ranks; a namespace's own settings come first.
_RANKS: Final[dict[type[KernelObject], int]] = {
    Bridge: 1,
    Veth: 2,
    Shaper: 2,
    PeerLink: 2,
    Vxlan: 2,
    Tap: 3,
    Setting: 3,
    Address: 4,
    Up: 5,
    Neighbour: 6,
    Tunnel: 6,
    Route: 7,
    RoutingRule: 8,
    Proxy: 9,
}


def key_of(obj: KernelObject) -> Key:
    """Return the identity of an object: what stays the same when its other values change."""
    match obj:
        case Setting():
            return (Setting, obj.place, obj.path)
        case Bridge() | Veth() | Tap() | Shaper():
            return (Bridge, obj.name)  # link names are unique
        case PeerLink() | Vxlan():
            return (PeerLink, obj.name)
        case Address():
            return (Address, obj.place, obj.link, obj.address)
        case Up():
            return (Up, obj.place, obj.link)
        case Route():
            return (Route, obj.place, obj.table, obj.destination, obj.metric)
        case RoutingRule():
            return (RoutingRule, obj.place, obj.is_ipv6, obj.priority, obj.incoming, obj.mark, obj.protocol)
        case Neighbour():
            return (Neighbour, obj.place, obj.link, obj.address)
        case Tunnel():
            return (Tunnel, obj.link, obj.mac)
        case Proxy():
            return (Proxy, obj.link, obj.address)


def rank_of(obj: KernelObject) -> int:
    """Return an object's place in the order of creation."""
    if isinstance(obj, Setting) and not obj.link:
        return 0
    return _RANKS[type(obj)]


def is_replaced(old: KernelObject, new: KernelObject) -> bool:
    """Tell whether a link must be recreated, which removes everything that depends on it."""
    match old, new:
        case Veth(), Veth():
            return old.inner != new.inner
        case (Vxlan() as one, Vxlan() as other) | (PeerLink() as one, PeerLink() as other):
            return replace(one, mtu=other.mtu) != other
    return type(old) is not type(new)


def links_of(obj: KernelObject) -> frozenset[tuple[Place, str]]:
    """Return the links that are removed together with a bridge, a pair or a shaper."""
    if isinstance(obj, Veth):
        return frozenset({(Place.HOST, obj.name), (Place.VPC, obj.inner)})
    if isinstance(obj, Bridge | Shaper):
        return frozenset({(Place.HOST, obj.name)})
    if isinstance(obj, PeerLink | Vxlan):
        return frozenset({(Place.VPC, obj.name)})
    return frozenset()


def depends_on(obj: KernelObject) -> tuple[Place, str] | None:
    """Return the link with which an object is removed."""
    match obj:
        case Setting() | Address() | Up() | Route() | Neighbour():
            return (obj.place, obj.link) if obj.link else None
        case Proxy():
            return (Place.HOST, obj.link)
        case Tunnel():
            return (Place.VPC, obj.link)
        case Bridge() | Veth() | Tap() | Shaper() | PeerLink() | Vxlan() | RoutingRule():
            return None


def _ends_with_new_mac(before: Mapping[Key, KernelObject], after: Mapping[Key, KernelObject]) -> set[tuple[Place, str]]:
    """List the links whose MAC changes."""
    found = set()
    for key, old in before.items():
        new = after.get(key)
        if isinstance(old, Veth) and isinstance(new, Veth):
            found |= {(Place.HOST, old.name)} if old.mac != new.mac else set()
            found |= {(Place.VPC, old.inner)} if old.inner_mac != new.inner_mac else set()
    return found


def plan(old: Iterable[KernelObject], new: Iterable[KernelObject]) -> list[Step]:
    """List the steps that turn the objects `old` into `new`: removals first, each group in its order."""
    before = {key_of(obj): obj for obj in old}
    after = {key_of(obj): obj for obj in new}
    if before == after:
        return []
    gone_links: set[tuple[Place, str]] = set()
    removals: list[KernelObject] = []
    for key, obj in before.items():
        wanted = after.get(key)
        if wanted is None or is_replaced(obj, wanted):
            removals.append(obj)
            gone_links |= links_of(obj)
    lost = {key for key, obj in before.items() if depends_on(obj) in gone_links}
    # A link whose MAC changes loses its neighbours, permanent ones too (neigh_changeaddr, net/core/neighbour.c).
    renamed = _ends_with_new_mac(before, after)
    lost |= {key for key, obj in before.items() if isinstance(obj, Neighbour) and depends_on(obj) in renamed}
    # When a port's bridge is recreated, the port still exists but is not part of the bridge any more.
    orphans = {key for key, obj in before.items() if isinstance(obj, Veth) and (Place.HOST, obj.master) in gone_links}
    steps: list[Step] = [Remove(obj) for obj in sorted(removals, key=rank_of, reverse=True) if key_of(obj) not in lost]
    for key, obj in sorted(after.items(), key=lambda item: rank_of(item[1])):
        present = before.get(key)
        if present is None or key in lost or is_replaced(present, obj):
            steps.append(Make(obj))
        elif present != obj or key in orphans:
            steps.append(Change(present, obj))
    return steps
