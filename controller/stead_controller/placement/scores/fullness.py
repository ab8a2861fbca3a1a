"""Spread or pack: the emptiest host that fits, or the fullest."""

from stead_controller.placement.room import Room
from stead_controller.placement.scores.locality import image_bonus
from stead_controller.placement.search import Search


def memory(room: Room, search: Search) -> int:
    """Rank hosts by their free memory; one with the image's blocks counts as if it suited better by one instance."""
    return (room.memory_free if search.packs else -room.memory_free) - image_bonus(room, search)


def vcpus(room: Room, search: Search) -> int:
    """Rank hosts with as much memory by their free vCPUs."""
    return room.cpus_free if search.packs else -room.cpus_free
