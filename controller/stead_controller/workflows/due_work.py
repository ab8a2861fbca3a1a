"""Begins the work that time alone makes due, or that another controller has left: one statement looks for all of it.

Each work looks for itself what exactly is to be done, when it is called and when a transaction of this controller wakes
it. Without this look each of them would ask the database each second, by a transaction of its own.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from stead_controller.db.due_rows import DueLook, DueRows
from stead_controller.db.session import Database
from stead_controller.workflows.woken_loop import always

_log = logging.getLogger(__name__)

SECONDS: Final = 1.0
"""Between looks."""


@dataclass(frozen=True, slots=True)
class Work:
    """What is done when a condition is met, or when `has_news` says that there is something no row shows.

    Only the controller that leads does it, unless `anybody` may.
    """

    name: str
    due: DueRows
    do: Callable[[], Awaitable[None]]
    has_news: Callable[[], bool] = bool
    anybody: bool = False


class DueWork:
    """The loop; works are done beside each other, each of them once at a time."""

    def __init__(
        self,
        database: Database,
        present: Callable[[], Awaitable[datetime]],
        *works: Work,
        leads: Callable[[], bool] = always,
    ) -> None:
        """Take the works, what returns the time, to which all rows have been shifted, and whether this one leads."""
        self._leads = leads
        self._database = database
        self._present = present
        self._works = {work.name: work for work in works}
        self._dues = DueLook({work.name: work.due for work in works})
        self._doing: set[str] = set()

    async def run(self) -> None:
        """Look until cancelled; a look that fails is logged and repeated."""
        async with asyncio.TaskGroup() as group:
            while True:
                await asyncio.sleep(SECONDS)
                try:
                    await self._begin(group)
                except Exception:  # the loop must survive a database that is unavailable for a while
                    _log.exception("not_looked_for_due_work")

    async def _begin(self, group: asyncio.TaskGroup) -> None:
        now = await self._present()
        names = set(await self._database.run(lambda tx: self._dues.met(tx, now), writes=False))
        names |= {name for name, work in self._works.items() if work.has_news()}
        leads = self._leads()
        for name in sorted(names - self._doing):
            if not (leads or self._works[name].anybody):
                continue
            self._doing.add(name)
            group.create_task(self._do(self._works[name]))

    async def _do(self, work: Work) -> None:
        try:
            await work.do()
        except Exception:  # it is still due, and done again
            _log.exception("background_work_failed", extra={"work": work.name})
        finally:
            self._doing.discard(work.name)
