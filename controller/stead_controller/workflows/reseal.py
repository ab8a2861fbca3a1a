"""After the master key has a new version, everything in the database is sealed again under it, a page at a time.

No progress is stored: a pass begins at the first row and skips values sealed under the newest version. So it may be
killed anywhere, and continues when a controller starts. A version is deleted when a whole pass found nothing sealed
under it and no session token that it sealed can be valid any more.
"""

import asyncio
import logging
from collections.abc import Callable
from functools import partial
from typing import Any

from stead_controller.clock import Clock
from stead_controller.db.session import Database
from stead_controller.resources.operators import sealed_rows
from stead_controller.secrets.master_key import MasterKey

_log = logging.getLogger(__name__)


class Resealing:
    """Seals again values sealed by older versions of the master key."""

    def __init__(self, database: Database, master_key: MasterKey, clock: Clock) -> None:
        """Store the dependencies; nothing is done yet."""
        self._database = database
        self._master_key = master_key
        self._clock = clock
        self._one_at_a_time = asyncio.Lock()
        self._done_for = 0

    async def rotate(self, progress: Callable[[int, int], object]) -> int:
        """Make a new version, seal everything under it, and return its number.

        `progress` gets the numbers of rows examined and resealed. Raises WrongState where no new version is possible.
        """
        version = await asyncio.to_thread(self._master_key.add, self._clock())
        _log.info("master_key_changed", extra={"version": version})
        await self.run_pass(progress)
        return version

    async def run_pass(self, progress: Callable[[int, int], object] = lambda _rows, _changed: None) -> int:
        """Examine all sealed rows once, and return how many were sealed again."""
        async with self._one_at_a_time:
            version = self._master_key.sealer.version
            rows = changed = 0
            for place in range(sealed_rows.PLACES):
                after: tuple[Any, ...] | None = None
                while True:
                    page = await self._database.run(
                        partial(sealed_rows.reseal, sealer=self._master_key.sealer, place=place, after=after)
                    )
                    rows, changed, after = rows + page.rows, changed + page.changed, page.last
                    progress(rows, changed)
                    if after is None:
                        break
            self._done_for = version
        if changed:
            _log.info("resealed", extra={"rows": rows, "changed": changed, "version": version})
        return changed

    async def clean_up(self) -> None:
        """Finish a pass that was interrupted, and delete versions that are not needed."""
        if len(self._master_key.versions) == 1:
            return
        if self._done_for != self._master_key.sealer.version:
            await self.run_pass()
        old = self._master_key.old(self._clock())
        if old and await self.run_pass() == 0:
            await asyncio.to_thread(self._master_key.forget, old)
            _log.info("master_key_versions_forgotten", extra={"versions": sorted(old)})
