"""Whether a host has enough left: vCPUs, memory, room for disks in a pool."""

from typing import Final

from stead_controller.placement.filters.filter import Filter
from stead_controller.placement.room import Room
from stead_controller.placement.search import Search

_MIB: Final = 1 << 20


def _vcpus(room: Room, search: Search) -> str | None:
    need = search.need.vcpus
    return None if need <= room.cpus_free else f"{max(room.cpus_free, 0)} of {need} vCPUs are free"


def _memory(room: Room, search: Search) -> str | None:
    need = search.need.memory
    if need <= room.memory_free:
        return None
    return f"{max(room.memory_free, 0) // _MIB} of {-(-need // _MIB)} MiB of memory are free"


def _pool(room: Room, search: Search) -> str | None:
    """A pool has to hold the largest disk; whether all fit is only known when their room is reserved."""
    if not search.disk or room.pool_free is None or search.disk <= room.pool_free:
        return None
    return f"no pool has room for a disk of {-(-search.disk // _MIB)} MiB"


FILTERS: Final = (Filter("vcpus", _vcpus), Filter("memory", _memory), Filter("pool", _pool))
