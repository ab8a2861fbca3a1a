"""Instances of one placement group near to each other: of a cluster, or of a partition."""

from stead_controller.placement.room import Room
from stead_controller.placement.search import Search


def on_the_host(room: Room, search: Search) -> int:
    """Rank hosts by how many instances of the same cluster or partition are on them."""
    return -sum(member.host_id == room.host_id for member in search.companions)


def in_the_rack(room: Room, search: Search) -> int:
    """Rank racks with instances of the same cluster or partition first: other partitions may need the other racks."""
    return 0 if any(member.rack == room.rack for member in search.companions) else 1
