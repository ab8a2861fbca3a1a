"""An instance's volumes become an image: its guest is rebooted, snapshots of one instant are taken and completed."""

from typing import Final

from stead_controller.errors import SteadError
from stead_controller.resources import create_image
from stead_controller.workflows.engine import Done, GiveUp, Go, Life, Outcome, Wait

_LOOK_SECONDS: Final = 0.5


class CreateImage(Life):
    """The life of a pending image: `begin` awaits the reboot, `take` begins the snapshots, `settle` awaits them."""

    kind = create_image.CREATE

    async def begin(self) -> Outcome:
        """Wait until the guest has rebooted, where that was asked for."""
        if await self.database.run(lambda tx: create_image.is_rebooted(tx, self.facts), writes=False):
            return Go(self.take)
        return Wait(_LOOK_SECONDS, "The instance reboots.")

    async def take(self) -> Outcome:
        """Begin the snapshots, which may have been done when it was asked for, or by an earlier try."""
        try:
            await self.database.run(lambda tx: create_image.take(tx, self.id, self.facts, self.clock()))
        except SteadError as error:  # the instance or its root volume is gone, or there are too many snapshots
            raise GiveUp(error.message) from error
        return Go(self.settle)

    async def settle(self) -> Outcome:
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
