"""Hosts that have an instance's data go before others."""

from stead_controller.placement.room import Room
from stead_controller.placement.search import Search


def volumes(room: Room, search: Search) -> int:
    """Rank hosts by how much they have of the instance's volumes, which others would use through the network."""
    return -search.terms.homes.get(room.host_id, 0)


def image_bonus(room: Room, search: Search) -> int:
    """Tell how much free memory it is worth that a host has the image's blocks already: that of one such instance.

    More would draw all instances of an image to one host, until that is full.
    """
    return search.need.memory if room.has_image else 0
