"""Replaces the root volume of an instance: the new one is made, exchanged for the old one, and the guest started."""

from collections.abc import Callable, Mapping
from datetime import datetime, timedelta
from typing import Any, Final

from stead_controller.clock import Clock
from stead_controller.db.session import Database, Transaction
from stead_controller.resources.instances import root_replacement
from stead_controller.resources.instances.root_replacement import Step
from stead_controller.workflows.engine import Done, Life, Next, Outcome, Wait

_LOOK_SECONDS: Final = 0.5


class ReplaceRootVolume(Life):
    """The workflow of a task."""

    kind = root_replacement.REPLACE

    def __init__(
        self,
        database: Database,
        clock: Clock,
        subject_id: str,
        facts: Mapping[str, Any],
        *,
        patience_seconds: float,
    ) -> None:
        """Store the dependencies; the host has `patience_seconds` for a start after it has reported an error."""
        super().__init__(database, clock, subject_id, facts)
        self._patience = timedelta(seconds=patience_seconds)

    async def begin(self) -> Outcome:
        """Exchange the volumes when the new one is made."""
        return await self._take(root_replacement.exchange)

    async def watch(self) -> Outcome:
        """Wait until the instance was started with the new volume."""
        return await self._take(root_replacement.watch)

    async def restore(self) -> Outcome:
        """Wait until the instance was started with its old volume again."""
        return await self._take(root_replacement.restore)

    async def clean(self) -> Outcome:
        """Delete the volume that is not needed any more."""
        return await self._take(root_replacement.clean)

    async def fail(self, message: str) -> None:
        """End the task, which took too long."""
        await self.database.run(lambda tx: root_replacement.abandon(tx, self.id, message, self.clock()))

    async def _take(self, step: Callable[[Transaction, str, datetime, timedelta], Step]) -> Outcome:
        match await self.database.run(lambda tx: step(tx, self.id, self.clock(), self._patience)):
            case Step.WAIT:
                return Wait(_LOOK_SECONDS, "The host is at work.")
            case Step.EXCHANGE:
                return Next(self.begin)
            case Step.WATCH:
                return Next(self.watch)
            case Step.RESTORE:
                return Next(self.restore)
            case Step.CLEAN:
                return Next(self.clean)
            case Step.OVER:
                return Done()
