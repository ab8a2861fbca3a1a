"""Does what Auto Scaling groups have to do: one step of one group after the other, each in its own transaction.

Groups are woken, not polled: by a change of themselves, by news of one of their instances, and by time, for which one
query finds those that are due. A new process looks at all of them once, since an earlier one may have been killed.
"""

import logging
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from functools import partial
from typing import Final

from stead_controller.clock import Clock
from stead_controller.db.session import Database, Transaction
from stead_controller.db.wakes import Wakes
from stead_controller.metrics.datum import MetricsUnavailable, Store
from stead_controller.request.cloud import Cloud
from stead_controller.resources.scaling import (
    activities,
    due_groups,
    group_metrics,
    group_step,
    instance_refreshes,
    scheduled_actions,
)
from stead_controller.resources.scaling.launches import Read
from stead_controller.workflows.woken_loop import WokenLoop, always

_log = logging.getLogger(__name__)

METRICS_SECONDS: Final = group_metrics.SECONDS
"""How often metrics of groups are collected."""

_MOST_NOTED: Final = 10_000
_PUT_OFF: Final = timedelta(seconds=30)
_PAUSE_SECONDS: Final = 0.1
"""Between rounds: of many instances that change together, some are seen together."""


@dataclass
class ScalingGroups:
    """The loop; `read` makes a launch of what a group has stored."""

    database: Database
    cloud: Cloud
    read: Read
    clock: Clock
    leads: Callable[[], bool] = always
    _noted: set[str] = field(default_factory=set)
    _is_new: bool = True

    def __post_init__(self) -> None:
        """Prepare the loop."""
        self._rounds = WokenLoop("scaling_groups", pause=_PAUSE_SECONDS, leads=self.leads)

    def committed(self, tx: Wakes) -> None:
        """Begin a round when a transaction changed a group or instances; called in any thread."""
        if tx.scaling or tx.events:
            self._rounds.wake(partial(self._note, frozenset(tx.events)))

    def _note(self, instance_ids: frozenset[str]) -> None:
        self._noted |= instance_ids
        if len(self._noted) > _MOST_NOTED:  # as where another controller leads: then the first round looks at all
            self._noted.clear()
            self._is_new = True

    async def look(self) -> None:
        """Do soon what is due; called on the loop's thread."""
        await self._rounds.look()

    async def run(self) -> None:
        """Run until cancelled."""
        await self._rounds.run(self._round)

    async def _round(self, _woken: bool) -> None:
        if self._is_new:
            await self.database.run(lambda tx: due_groups.wake_all(tx, self.clock()))
            self._is_new = False
        if await self._has_work():
            await self.run_scheduled()
            await self.run_due()

    async def _has_work(self) -> bool:
        """Tell whether a round would find anything, by one transaction: most launches are for no group."""
        noted, self._noted = self._noted, set()
        has_work = True
        try:
            has_work = await self.database.run(partial(_has_work, noted=noted, now=self.clock()), writes=False)
        finally:
            if has_work:
                self._noted |= noted
        return has_work

    async def run_scheduled(self) -> None:
        """Do the scheduled actions whose time has come."""
        now = self.clock()
        while await self.database.run(lambda tx: scheduled_actions.DUE.is_met(tx, now), writes=False):
            await self.database.run(lambda tx: scheduled_actions.do_one(tx, now))

    async def run_due(self) -> None:
        """Wake the groups of instances that changed, then do all that is due."""
        noted, self._noted = self._noted, set()
        try:
            await self._wake(noted)
        except Exception:
            self._noted |= noted
            raise
        while True:
            group_id = await self.database.run(lambda tx: due_groups.next_due(tx, self.clock()), writes=False)
            if group_id is None:
                return
            step = partial(group_step.run, cloud=self.cloud, read=self.read, group_id=group_id, now=self.clock())
            try:
                await self.database.run(step)
            except Exception:  # one group that cannot be understood must not keep others waiting
                _log.exception("scaling_group_not_run", extra={"group": group_id})
                later = self.clock() + _PUT_OFF
                await self.database.run(partial(due_groups.put_off, group_id=group_id, until=later))

    async def _wake(self, instance_ids: set[str]) -> None:
        if not instance_ids:
            return
        are_here = await self.database.run(lambda tx: due_groups.are_of_groups(tx, instance_ids), writes=False)
        if are_here:
            await self.database.run(lambda tx: due_groups.wake_of(tx, instance_ids, self.clock()))

    async def measure(self, store: Store) -> None:
        """Store the metrics of groups that are collected; a minute that cannot be stored is missing."""
        now, after = self.clock(), ""
        while True:
            data, after = await self.database.run(partial(group_metrics.measure, now=now, after=after), writes=False)
            if not after:
                return
            try:
                await store.write(data)
            except MetricsUnavailable as error:
                _log.warning("group_metrics_not_stored", extra={"detail": error.detail})
                return

    async def forget(self) -> None:
        """Delete activities and instance refreshes that are too old."""
        for forget in (activities.forget, instance_refreshes.forget):
            while await self.database.run(partial(forget, now=self.clock())):
                pass


def _has_work(tx: Transaction, noted: set[str], now: datetime) -> bool:
    return (
        due_groups.are_of_groups(tx, noted) or due_groups.DUE.is_met(tx, now) or scheduled_actions.DUE.is_met(tx, now)
    )
