"""Launches Spot Instances whose requests wait, as soon as a transaction has made room for them.

Those that wait longest are first. In a round each shape of launch is tried once, and after some that find no room the
rest waits for the next round: one comes with each transaction that makes room. Each request is also tried again by
time, at least once a minute, since rooms come back by time too and another controller may have been killed. Rows say
all that is needed, so a new process goes on where an earlier one was killed.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Final

from stead_controller.clock import Clock
from stead_controller.db.session import Database
from stead_controller.db.wakes import Wakes
from stead_controller.request.cloud import Cloud
from stead_controller.resources.fleet import waiting_spot_requests
from stead_controller.resources.fleet.waiting_spot_requests import Read
from stead_controller.workflows.woken_loop import WokenLoop, always

_SHAPES_IN_A_ROUND: Final = 20
_PAUSE_SECONDS: Final = 0.2
"""Between rounds: of many instances that end together, some give their room back in this time."""


@dataclass
class SpotLaunches:
    """Tries requests when there is reason to; `read` makes a launch of what a request has stored."""

    database: Database
    cloud: Cloud
    read: Read
    clock: Clock
    leads: Callable[[], bool] = always

    def __post_init__(self) -> None:
        """Prepare the loop."""
        self._rounds = WokenLoop("spot_launches", pause=_PAUSE_SECONDS, leads=self.leads)

    def committed(self, tx: Wakes) -> None:
        """Begin a round when a transaction made room; called in any thread."""
        if tx.makes_room:
            self._rounds.wake()

    async def look(self) -> None:
        """Try soon the requests whose time has come; called on the loop's thread."""
        await self._rounds.look()

    async def run(self) -> None:
        """Run until cancelled; the first round is at once, since an earlier process may have been killed in one."""
        await self._rounds.run(self._round)

    async def _round(self, woken: bool) -> None:
        if woken:
            await self.try_all()
        await self.try_due()

    async def try_all(self) -> None:
        """Try one shape after the other, that of the longest waiting request first, each in its own transaction."""
        tried: set[str] = set()
        while len(tried) < _SHAPES_IN_A_ROUND:
            shape = await self.database.run(
                partial(waiting_spot_requests.try_oldest, cloud=self.cloud, read=self.read, now=self.clock(), but=tried)
            )
            if shape is None:
                return
            tried.add(shape)

    async def try_due(self) -> None:
        """Try requests whose time has come, some at once."""
        for _ in range(_SHAPES_IN_A_ROUND):
            now = self.clock()
            if not await self.database.run(lambda tx: waiting_spot_requests.DUE.is_met(tx, self.clock()), writes=False):
                return
            await self.database.run(partial(waiting_spot_requests.try_due, cloud=self.cloud, read=self.read, now=now))
