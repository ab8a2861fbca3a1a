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


def _instance_store(room: Room, search: Search) -> str | None:
    """All of an instance's disks that end with it are made in the default pool."""
    store = search.need.instance_store
    if not store or room.store_free is None or store <= room.store_free:
        return None
    return f"its default pool has no room for {-(-store // _MIB)} MiB of instance store"


FILTERS: Final = (
    Filter("vcpus", _vcpus),
    Filter("memory", _memory),
    Filter("pool", _pool),
    Filter("instance-store", _instance_store),
)
