"""An instance's volumes become an image: the snapshots of one instant that were begun with it are completed."""

from typing import Final

from stead_controller.resources.instances import create_image
from stead_controller.workflows.engine import Done, GiveUp, Life, Outcome, Wait

_LOOK_SECONDS: Final = 0.5


class CreateImage(Life):
    """The life of a pending image."""

    kind = create_image.CREATE

    async def begin(self) -> Outcome:
        """Wait until all snapshots are complete."""
        states = await self.database.run(lambda tx: create_image.settle(tx, self.id))
        if not states:
            return Done()
        if "error" in states:
            raise GiveUp("A snapshot of the image could not be taken.")
        return Wait(_LOOK_SECONDS, "Snapshots are being taken.")

    async def fail(self, message: str) -> None:
        """Let the image fail."""
        await self.database.run(lambda tx: create_image.fail(tx, self.id, message))
