"""Compare the existing with the desired objects, and return the ordered steps between them: pure."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Final

from stead_agent.network.kernel_objects import (
    Address,
    Bridge,
    Neighbour,
    PeerLink,
    Place,
    Proxy,
    Route,
    RoutingRule,
    Setting,
    Tap,
    Thing,
    Tunnel,
    Up,
    Veth,
    Vxlan,
)


@dataclass(frozen=True, slots=True)
class Make:
    """Create an object that does not exist."""

    thing: Thing


@dataclass(frozen=True, slots=True)
class Change:
    """Change an object into another one of the same identity."""

    old: Thing
    new: Thing


@dataclass(frozen=True, slots=True)
class Remove:
    """Remove an object; that it is gone already is no error."""

    thing: Thing


Step = Make | Change | Remove
Key = tuple[object, ...]

# Objects of a rank need those of lower ranks; a namespace's own settings come first.
_RANKS: Final[dict[type[Thing], int]] = {
    Bridge: 1,
    Veth: 2,
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


def key_of(thing: Thing) -> Key:
    """Return the identity of an object: what stays the same when its other values change."""
    match thing:
        case Setting():
            return (Setting, thing.place, thing.path)
        case Bridge() | Veth() | Tap():
            return (Bridge, thing.name)  # link names are unique
        case PeerLink() | Vxlan():
            return (PeerLink, thing.name)
        case Address():
            return (Address, thing.place, thing.link, thing.address)
        case Up():
            return (Up, thing.place, thing.link)
        case Route():
            return (Route, thing.place, thing.table, thing.destination, thing.metric)
        case RoutingRule():
            return (RoutingRule, thing.place, thing.is_ipv6, thing.priority, thing.incoming, thing.mark, thing.protocol)
        case Neighbour():
            return (Neighbour, thing.place, thing.link, thing.address)
        case Tunnel():
            return (Tunnel, thing.link, thing.mac)
        case Proxy():
            return (Proxy, thing.link, thing.address)


def rank_of(thing: Thing) -> int:
    """Return an object's place in the order of creation."""
    if isinstance(thing, Setting) and not thing.link:
        return 0
    return _RANKS[type(thing)]


def is_replaced(old: Thing, new: Thing) -> bool:
    """Tell whether a link must be recreated, which removes everything that depends on it."""
    match old, new:
        case Veth(), Veth():
            return old.inner != new.inner
        case (Vxlan() as one, Vxlan() as other) | (PeerLink() as one, PeerLink() as other):
            return replace(one, mtu=other.mtu) != other
    return type(old) is not type(new)


def links_of(thing: Thing) -> frozenset[tuple[Place, str]]:
    """Return the links that are removed together with a bridge or a pair."""
    if isinstance(thing, Veth):
        return frozenset({(Place.HOST, thing.name), (Place.VPC, thing.inner)})
    if isinstance(thing, Bridge):
        return frozenset({(Place.HOST, thing.name)})
    if isinstance(thing, PeerLink | Vxlan):
        return frozenset({(Place.VPC, thing.name)})
    return frozenset()


def depends_on(thing: Thing) -> tuple[Place, str] | None:
    """Return the link with which an object is removed."""
    match thing:
        case Setting() | Address() | Up() | Route() | Neighbour():
            return (thing.place, thing.link) if thing.link else None
        case Proxy():
            return (Place.HOST, thing.link)
        case Tunnel():
            return (Place.VPC, thing.link)
        case Bridge() | Veth() | Tap() | PeerLink() | Vxlan() | RoutingRule():
            return None


def _ends_with_new_mac(before: Mapping[Key, Thing], after: Mapping[Key, Thing]) -> set[tuple[Place, str]]:
    """List the links whose MAC changes."""
    found = set()
    for key, old in before.items():
        new = after.get(key)
        if isinstance(old, Veth) and isinstance(new, Veth):
            found |= {(Place.HOST, old.name)} if old.mac != new.mac else set()
            found |= {(Place.VPC, old.inner)} if old.inner_mac != new.inner_mac else set()
    return found


def plan(old: Iterable[Thing], new: Iterable[Thing]) -> list[Step]:
    """List the steps that turn the objects `old` into `new`: removals first, each group in its order."""
    before = {key_of(thing): thing for thing in old}
    after = {key_of(thing): thing for thing in new}
    if before == after:
        return []
    gone_links: set[tuple[Place, str]] = set()
    removals: list[Thing] = []
    for key, thing in before.items():
        wanted = after.get(key)
        if wanted is None or is_replaced(thing, wanted):
            removals.append(thing)
            gone_links |= links_of(thing)
    lost = {key for key, thing in before.items() if depends_on(thing) in gone_links}
    # A link whose MAC changes loses its neighbours, permanent ones too (neigh_changeaddr, net/core/neighbour.c).
    renamed = _ends_with_new_mac(before, after)
    lost |= {key for key, thing in before.items() if isinstance(thing, Neighbour) and depends_on(thing) in renamed}
    # When a port's bridge is recreated, the port still exists but is not part of the bridge any more.
    orphans = {
        key for key, thing in before.items() if isinstance(thing, Veth) and (Place.HOST, thing.master) in gone_links
    }
    steps: list[Step] = [
        Remove(thing) for thing in sorted(removals, key=rank_of, reverse=True) if key_of(thing) not in lost
    ]
    for key, thing in sorted(after.items(), key=lambda item: rank_of(item[1])):
        present = before.get(key)
        if present is None or key in lost or is_replaced(present, thing):
            steps.append(Make(thing))
        elif present != thing or key in orphans:
            steps.append(Change(present, thing))
    return steps
