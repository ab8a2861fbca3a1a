"""Looks at budgets when they are due, tells of what is crossed, and carries out their actions.

See `resources/budgets/due_budgets.py` and `resources/budgets/execution.py`. Whether anything is due
is asked by index, whatever number of budgets there is.
"""

import logging
from functools import partial

from stead_controller.clock import Clock
from stead_controller.db.session import Database
from stead_controller.request.cloud import Cloud
from stead_controller.resources.budgets import action_events, due_budgets, execution

_log = logging.getLogger(__name__)


class Budgets:
    """The budgets of a controller; `run` is called when one is due, or an action is to be carried out."""

    def __init__(self, database: Database, cloud: Cloud, clock: Clock) -> None:
        """Take the parts."""
        self._database = database
        self._cloud = cloud
        self._clock = clock

    async def run(self) -> None:
        """Do what is due now."""
        await self._act()
        while await self._judge_one():
            await self._act()

    async def forget(self) -> None:
        """Delete what happened to actions long ago."""
        while await self._database.run(partial(action_events.forget, now=self._clock())):
            pass

    async def _judge_one(self) -> bool:
        """Look at the budget that has waited for longest; tells whether one was due."""
        now = self._clock()
        judge = partial(due_budgets.judge_next, region=self._cloud.region, now=now)
        try:
            judged = await self._database.run(judge, writes=False)
            if judged is None:
                return False
            await self._database.run(partial(due_budgets.settle, judged=judged, now=now))
        except Exception:  # one budget that cannot be judged must not keep others waiting
            _log.exception("budget_not_judged")
            await self._database.run(partial(due_budgets.put_off, now=now))
        return True

    async def _act(self) -> None:
        while (action_id := await self._database.run(execution.next_one, writes=False)) is not None:
            now = self._clock()
            try:
                await self._database.run(partial(execution.run, cloud=self._cloud, action_id=action_id, now=now))
            except Exception:  # it would be tried for ever, and others wait behind it
                _log.exception("budget_action_not_run", extra={"action": action_id})
                await self._database.run(partial(execution.give_up, action_id=action_id, now=now))
