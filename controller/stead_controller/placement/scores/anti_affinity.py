"""Instances of one launch on different hosts, so that a host that fails takes few of them."""

from stead_controller.placement.room import Room
from stead_controller.placement.search import Search


def siblings(room: Room, search: Search) -> int:
    """Rank hosts by how few instances of the same launch they have; to pack means not to care."""
    return 0 if search.packs else search.terms.beside.get(room.host_id, 0)
