"""Whether a host has the PCI devices that an instance needs, and has them left."""

from typing import Final

from stead_controller.placement.devices import choose
from stead_controller.placement.filters.filter import Filter
from stead_controller.placement.room import Room
from stead_controller.placement.search import Search


def _devices(room: Room, search: Search) -> str | None:
    wanted = search.need.devices
    if choose(room.devices, wanted) is not None:
        return None
    free = [device.model for device in room.devices if device.free]
    lacks = ", ".join(f"{one.count} of {one.model}, {free.count(one.model)} free" for one in wanted)
    return f"it has not the devices: {lacks}"


FILTERS: Final = (Filter("devices", _devices),)
