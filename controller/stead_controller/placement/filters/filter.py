"""What a filter is."""

from collections.abc import Callable
from typing import NamedTuple

from stead_controller.placement.room import Room
from stead_controller.placement.search import Search


class Filter(NamedTuple):
    """A named rule: `refuses` says in a few words why a host must not be chosen, None where it may."""

    name: str
    refuses: Callable[[Room, Search], str | None]
