"""Whether a host has the whole cores and huge pages that an instance needs, and has them left."""

from typing import Final

from stead_controller.placement.cores import choose
from stead_controller.placement.filters.filter import Filter
from stead_controller.placement.room import Room
from stead_controller.placement.search import Search


def _cores(room: Room, search: Search) -> str | None:
    need = search.need.cores
    if need is None or choose(room.nodes, need) is not None:
        return None
    pages = f" and {need.huge_pages} huge pages" if need.huge_pages else ""
    wants = f"no memory node has {need.cores} whole cores of {need.threads_per_core} threads{pages} free"
    has = [
        f"node {node.number} has {sum(core.free and core.threads >= need.threads_per_core for core in node.cores)}"
        + (f" and {max(node.huge_pages, 0)}" if need.huge_pages else "")
        for node in room.nodes
    ]
    return ": ".join([wants, ", ".join(has)]) if has else wants


FILTERS: Final = (Filter("cores", _cores),)
