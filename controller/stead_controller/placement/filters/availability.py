"""Whether a host is there for new instances: its zone, its state, whether the operator drains it."""

from typing import Final

from stead_controller.placement.filters.filter import Filter
from stead_controller.placement.room import Room
from stead_controller.placement.search import Search


def _zone(room: Room, search: Search) -> str | None:
    return None if room.zone == search.zone else f"it is in the zone {room.zone}"


def _state(room: Room, _search: Search) -> str | None:
    return None if room.state == "up" else f"it is {room.state}"


def _schedulable(room: Room, _search: Search) -> str | None:
    return None if room.schedulable else "it is not to get new instances"


FILTERS: Final = (Filter("zone", _zone), Filter("state", _state), Filter("schedulable", _schedulable))
