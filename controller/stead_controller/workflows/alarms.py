"""Evaluates alarms when they are due, and carries out their actions.

Nothing is polled that cannot change: data that are written make the alarms on their metrics due, and one query for
each round finds those whose time has come. See `resources/metrics/due_alarms.py`.
"""

import asyncio
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime, timedelta
from functools import partial
from typing import Final

from stead_controller.clock import Clock
from stead_controller.db.session import Database
from stead_controller.metrics.datum import Datum, Filter, Found, Identity, Store, Wanted
from stead_controller.request.cloud import Cloud
from stead_controller.resources.metrics import alarm_actions, alarm_history, due_alarms
from stead_controller.resources.metrics.measures import digest_of
from stead_controller.resources.scaling import policy_execution
from stead_controller.workflows.woken_loop import always

_SEEN_WITHIN: Final = timedelta(seconds=60)  # data that were stored
_MOST_NOTED: Final = 100_000


class Alarms:
    """The alarms of a controller; `note` may be called at any time, `run` when something is due or there is news."""

    def __init__(
        self,
        database: Database,
        store: Store,
        cloud: Cloud,
        clock: Clock,
        *,
        led: Database | None = None,
        leads: Callable[[], bool] = always,
    ) -> None:
        """Take the parts; the first round looks at all alarms.

        Data that come here make alarms due, whoever evaluates them: that is the controller that leads, by `led`.
        """
        self._database = database
        self._led = database if led is None else led
        self._leads = leads
        self._store = store
        self._cloud = cloud
        self._clock = clock
        self._noted: set[Identity] = set()
        self._begun = False
        self._awaiting: dict[tuple[str, str], datetime] = {}  # alarms on whose metrics data were stored, and until when

    def note(self, data: Sequence[Datum]) -> None:
        """Let the alarms on the metrics of data be evaluated soon; if there are too many, let all be."""
        self._noted.update(datum.identity for datum in data)
        if len(self._noted) > _MOST_NOTED:
            self._noted.clear()
            self._begun = False

    def has_news(self) -> bool:
        """Tell whether data have come, or no round has looked at all alarms yet."""
        return bool(self._noted) or not self._begun

    async def run(self) -> None:
        """Do what is due now: wake alarms, evaluate them, carry out actions."""
        await self._wake()
        if not self._leads():
            return
        try:
            while await self._evaluate():
                pass
        finally:  # actions do not wait for a store that does not answer
            await self._act()

    async def forget(self) -> None:
        """Delete history that is too old."""
        while await self._database.run(lambda tx: alarm_history.forget(tx, self._clock())):
            pass

    async def _wake(self) -> None:
        now = self._clock()
        if not self._begun:
            await self._database.run(lambda tx: due_alarms.wake_all(tx, now))
            self._begun = True
        if not self._noted:
            return
        noted, self._noted = self._noted, set()
        watchers = await self._database.run(due_alarms.watchers, writes=False)
        watched = [one for one in noted if one.account in watchers]
        if not watched:
            return
        digests = await asyncio.to_thread(lambda: [digest_of(one) for one in watched])
        names = await self._database.run(lambda tx: due_alarms.watching(tx, digests), writes=False)
        if names:
            self._awaiting |= dict.fromkeys(names, now + _SEEN_WITHIN)
            at = due_alarms.next_step(now)
            await self._database.run(lambda tx: due_alarms.wake(tx, names, at))

    async def _evaluate(self) -> bool:
        """Evaluate some alarms; tells whether there may be more."""
        now = self._clock()
        alarms = await self._database.run(lambda tx: due_alarms.due(tx, now), writes=False)
        if not alarms:
            return False
        judged = await due_alarms.judge(self._store, alarms, now)
        self._awaiting = {name: until for name, until in self._awaiting.items() if until > now}
        await self._led.run(lambda tx: due_alarms.settle(tx, judged, now, self._awaiting))
        return len(alarms) == due_alarms.AT_ONCE

    async def _act(self) -> None:
        while await self._database.run(partial(alarm_actions.DUE.is_met, now=self._clock()), writes=False):
            await self._led.run(
                lambda tx: alarm_actions.run_one(tx, self._cloud, policy_execution.run_for_alarm, self._clock())
            )


class WatchedStore:
    """A store of metrics that tells of the data that it has stored."""

    def __init__(self, store: Store) -> None:
        """Take the store; nobody is told until `watch`."""
        self._store = store
        self._alarms: Alarms | None = None

    def watch(self, alarms: Alarms) -> None:
        """Tell these alarms of data."""
        self._alarms = alarms

    def take_part(self, part: int, parts: int) -> None:
        """Share what stores the data with others."""
        self._store.take_part(part, parts)

    async def write(self, data: Sequence[Datum]) -> None:
        """Store data, of which each metric has at most one at a time."""
        await self._store.write(data)
        self._note(data)

    async def add(self, data: Sequence[Datum]) -> None:
        """Store data that all count."""
        await self._store.add(data)
        self._note(data)

    async def read(self, wanted: Sequence[Wanted]) -> list[list[Found]]:
        """Answer each question, in their order."""
        return await self._store.read(wanted)

    async def find(self, wanted: Filter, *, after: Identity | None = None, limit: int = 500) -> list[Identity]:
        """Return the next metrics that match."""
        return await self._store.find(wanted, after=after, limit=limit)

    async def count(self, start: int, end: int) -> Mapping[str, int]:
        """Return how many metrics of their own accounts have with data in a time."""
        return await self._store.count(start, end)

    async def close(self) -> None:
        """Close connections; the engine keeps running."""
        await self._store.close()

    def _note(self, data: Sequence[Datum]) -> None:
        if self._alarms is not None:
            self._alarms.note(data)
