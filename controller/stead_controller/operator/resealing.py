"""What the operators' service of keys needs: somebody who changes the master key."""

from collections.abc import Callable
from typing import Protocol


class Reseals(Protocol):
    """Changes the master key; see `stead_controller.workflows.reseal.Resealing`."""

    async def rotate(self, progress: Callable[[int, int], object]) -> int:
        """Make a new version, seal everything under it, and give its number."""
        ...
