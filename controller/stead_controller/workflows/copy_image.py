"""Makes a copied image whose snapshots are encrypted again available when all of them are complete."""

from typing import Final

from stead_controller.resources.images import copy_image
from stead_controller.resources.instances import create_image
from stead_controller.workflows.engine import Done, GiveUp, Life, Outcome, Wait

_LOOK_SECONDS: Final = 0.5


class CopyImage(Life):
    """The workflow of a pending copy: one step, which awaits its snapshots."""

    kind = copy_image.COPY

    async def begin(self) -> Outcome:
        """Wait until all snapshots are complete."""
        states = await self.database.run(lambda tx: create_image.settle(tx, self.id))
        if not states:
            return Done()
        if "error" in states:
            raise GiveUp("A snapshot of the image could not be encrypted.")
        return Wait(_LOOK_SECONDS, "Snapshots are being encrypted.")

    async def fail(self, message: str) -> None:
        """Mark the image as failed."""
        await self.database.run(lambda tx: create_image.fail(tx, self.id, message))
