"""KVM before emulation."""

from stead_controller.placement.room import Room
from stead_controller.placement.search import Search


def acceleration(room: Room, _search: Search) -> int:
    """Rank hosts with KVM before those that emulate, on which guests run many times slower."""
    return 0 if room.accelerated else 1
