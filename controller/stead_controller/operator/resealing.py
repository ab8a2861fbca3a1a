"""The interface of the master key's rotation, for the operators' service of keys."""

from collections.abc import Callable
from typing import Protocol


class Reseals(Protocol):
    """Changes the master key; see `stead_controller.workflows.reseal.Resealing`."""

    async def rotate(self, progress: Callable[[int, int], object]) -> int:
        """Make a new version, seal everything under it, and return its number."""
        ...
