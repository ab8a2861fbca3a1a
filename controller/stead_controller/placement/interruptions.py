"""Choose which Spot Instances have to end so that others can be launched on their hosts. Pure: no clock, no SQL."""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from heapq import heapify, heapreplace
from typing import NamedTuple

from stead_controller.placement.choose_host import fits
from stead_controller.placement.room import Room
from stead_controller.placement.search import Search


class Resident(NamedTuple):
    """A Spot Instance and what it takes of its host; one that is `ending` gives its room back by itself."""

    instance_id: str
    host_id: str
    vcpus: int
    memory: int
    ending: bool = False


class _Plan(NamedTuple):
    """What ends on a host for one more instance; of equal plans the first host's is taken."""

    number: int
    order: int
    room: Room
    left: tuple[Resident, ...]
    ends: tuple[Resident, ...]


def choose(
    rooms: Iterable[Room], residents: Iterable[Resident], search: Search, count: int
) -> tuple[Resident, ...] | None:
    """Return the instances to be ended for `count` more of what is searched, none if enough are ending already.

    None if even the end of all would not make room for so many, since then none should end. `rooms` are in the order of
    preference, `residents` of a host in the order in which they would end. As few end as possible on each host, and a
    host where fewer have to end is preferred.
    """
    of_host: dict[str, list[Resident]] = defaultdict(list)
    for resident in residents:
        of_host[resident.host_id].append(resident)
    plans: list[_Plan] = []
    for order, room in enumerate(rooms):
        there = of_host[room.host_id]
        free = _without(room, [one for one in there if one.ending])
        plan = _plan(order, free, tuple(one for one in there if not one.ending), search)
        if plan is not None:
            plans.append(plan)
    heapify(plans)
    chosen: list[Resident] = []
    for _ in range(count):
        if not plans:
            return None
        best = plans[0]
        chosen += best.ends
        room = _with_one_more(_without(best.room, best.ends), search)
        left = tuple(one for one in best.left if one not in best.ends)
        _replace_first(plans, _plan(best.order, room, left, search))
    return tuple(chosen)


def _plan(order: int, room: Room, residents: tuple[Resident, ...], search: Search) -> _Plan | None:
    """Return what has to end on a host; None if it would not do even without all of them."""
    ends: list[Resident] = []
    free = room
    for resident in residents:
        if fits(free, search):
            break
        ends.append(resident)
        free = _without(free, (resident,))
    if not fits(free, search):
        return None
    needed: list[Resident] = []
    for one in ends:  # a large one may have made the small ones before it needless
        fewer = free._replace(cpus_free=free.cpus_free - one.vcpus, memory_free=free.memory_free - one.memory)
        if fits(fewer, search):
            free = fewer
        else:
            needed.append(one)
    return _Plan(len(needed), order, room, residents, tuple(needed))


def _replace_first(plans: list[_Plan], plan: _Plan | None) -> None:
    if plan is not None:
        heapreplace(plans, plan)
        return
    del plans[0]
    heapify(plans)


def _without(room: Room, ended: Sequence[Resident]) -> Room:
    return room._replace(
        cpus_free=room.cpus_free + sum(one.vcpus for one in ended),
        memory_free=room.memory_free + sum(one.memory for one in ended),
    )


def _with_one_more(room: Room, search: Search) -> Room:
    need = search.need
    return room._replace(
        cpus_free=room.cpus_free - need.vcpus,
        memory_free=room.memory_free - need.memory,
        pool_free=None if room.pool_free is None else room.pool_free - search.disk,
        store_free=None if room.store_free is None else room.store_free - need.instance_store,
    )
