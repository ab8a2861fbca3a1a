"""Choose a host for an instance: filters, of which each may refuse a host, then scores. Pure: no clock, no SQL."""

from collections.abc import Iterable
from typing import Final, NamedTuple

from stead_controller.placement.filters import availability, capacity, cores, devices, groups, machine, tenancies
from stead_controller.placement.filters.filter import Filter
from stead_controller.placement.room import Room
from stead_controller.placement.scores import acceleration, anti_affinity, fullness, locality, neighbours
from stead_controller.placement.search import Search

FILTERS: Final[tuple[Filter, ...]] = (
    *availability.FILTERS,
    *tenancies.FILTERS,
    *machine.FILTERS,
    *capacity.FILTERS,
    *devices.FILTERS,
    *cores.FILTERS,
    *groups.FILTERS,
)

# The first that differs decides: lower goes first.
_SCORES: Final = (
    locality.volumes,
    neighbours.on_the_host,
    neighbours.in_the_rack,
    acceleration.acceleration,
    anti_affinity.siblings,
    fullness.memory,
    fullness.vcpus,
)


class Refusal(NamedTuple):
    """Why a host must not be chosen: the filter's name, and its reason in a few words."""

    filter: str
    reason: str


class Verdict(NamedTuple):
    """A host, and why it must not be chosen; it fits if nothing refuses it."""

    room: Room
    refusals: tuple[Refusal, ...]


def fits(room: Room, search: Search) -> bool:
    """Tell whether no filter refuses a host."""
    return all(one.refuses(room, search) is None for one in FILTERS)


def is_allowed_by_neighbours(room: Room, search: Search) -> bool:
    """Tell whether an instance may be on a host beside those that are there: by its placement group and its tenancy."""
    return all(one.refuses(room, search) is None for one in (*tenancies.FILTERS, *groups.FILTERS))


def choose_host(rooms: Iterable[Room], search: Search) -> Room | None:
    """Return the best host of those that fit, None when none does; which of equals it is depends on their ids alone."""
    return next((room for room in _ranked(rooms, search) if fits(room, search)), None)


def explain(rooms: Iterable[Room], search: Search) -> list[Verdict]:
    """Judge each host: those that fit first, the best of them first, and of the others all that refuses them."""
    verdicts = [Verdict(room, tuple(_refusals(room, search))) for room in _ranked(rooms, search)]
    return sorted(verdicts, key=lambda one: len(one.refusals))


def _refusals(room: Room, search: Search) -> Iterable[Refusal]:
    for one in FILTERS:
        reason = one.refuses(room, search)
        if reason is not None:
            yield Refusal(one.name, reason)


def _ranked(rooms: Iterable[Room], search: Search) -> list[Room]:
    """Sort hosts, the best first; equals by id as an index has them: backwards where the emptiest go first."""
    by_id = sorted(rooms, key=_id, reverse=not search.packs)
    return sorted(by_id, key=lambda room: [score(room, search) for score in _SCORES])


def _id(room: Room) -> str:
    return room.host_id
