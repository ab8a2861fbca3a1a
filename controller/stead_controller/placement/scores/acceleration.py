"""KVM before emulation, and emulation where nobody else would have KVM."""

from stead_controller.placement.room import Room
from stead_controller.placement.search import Search


def acceleration(room: Room, search: Search) -> int:
    """Rank hosts that run the guest by KVM before those that emulate it, on which it is many times slower.

    Of the latter, those without KVM go first: on the others, guests of the host's own architecture could have it.
    """
    if not room.accelerated:
        return 1
    return 0 if room.architecture == search.need.architecture else 2
