"""Runs workflows step by step: work that continues after the answer, when one report of a host is not enough.

A workflow is a class; each of its methods that returns an outcome is a step: it reads and changes rows, and may take
long. It returns what is next (`Next`), that it must be tried again later (`Wait`), or that all is done (`Done`). Its
controller may be killed at any instruction, then the step is run again, here or by another controller: so each must be
repeatable. What a controller writes that was paused beyond its lease is refused (`Fenced`). A step that raises is
repeated after a while; one past its deadline, or that cannot succeed (`GiveUp`), ends with the workflow's `fail`.

Rows state in wall-clock time when a step is due, a lease ends and a workflow is late. When that clock is set they are
shifted by the same amount, so that nothing waits longer and nothing is late because of it.
"""

import abc
import asyncio
import itertools
import json
import logging
import secrets
import time
from collections.abc import Awaitable, Callable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from functools import partial
from typing import Any, ClassVar, Final

from stead_controller.clock import Clock, ClockSteps
from stead_controller.db.membership import Fenced
from stead_controller.db.session import Database, Transaction
from stead_controller.db.tables import Workflow
from stead_controller.db.wakes import Wakes
from stead_controller.resources import workflow_rows
from stead_controller.workflows.woken_loop import WokenLoop

_log = logging.getLogger(__name__)

_LEASE: Final = timedelta(seconds=30)
_RENEW_SECONDS: Final = 8.0
_AT_ONCE: Final = 4
_LONGEST_PAUSE: Final = timedelta(seconds=60)


@dataclass(frozen=True, slots=True)
class Next:
    """Continue with another step, at once."""

    step: "Step"


@dataclass(frozen=True, slots=True)
class Wait:
    """Run the same step again, in so many seconds."""

    seconds: float
    reason: str
    failed: bool = False


@dataclass(frozen=True, slots=True)
class Done:
    """The workflow is over."""


type Outcome = Next | Wait | Done
type Step = Callable[[], Awaitable[Outcome]]


class GiveUp(Exception):
    """A step can never succeed; the message is for the user."""


class Life(abc.ABC):
    """The base of all workflows: the subject's id, the workflow's input, and the state."""

    kind: ClassVar[str]

    def __init__(self, database: Database, clock: Clock, subject_id: str, facts: Mapping[str, Any]) -> None:
        """Store the dependencies; no object of the class is used for more than one step."""
        self.database = database
        self.clock = clock
        self.id = subject_id
        self.facts = facts

    @abc.abstractmethod
    async def begin(self) -> Outcome:
        """Run the first step."""

    @abc.abstractmethod
    async def fail(self, message: str) -> None:
        """Undo what was begun and record the reason; must be repeatable."""


type MakeLife = Callable[[str, Mapping[str, Any]], Life]


@dataclass
class Engine:
    """Runs due steps, a few at a time; `make` maps kinds to workflow classes.

    `alone` means that no other controller uses the database: then rows are shifted when this one's clock is set, and
    steps of an earlier process are resumed at once.
    """

    database: Database
    clock: Clock
    make: Mapping[str, MakeLife]
    monotonic: Callable[[], float] = time.monotonic
    alone: bool = True
    holder: str = field(default_factory=lambda: secrets.token_hex(8))
    _running: set[asyncio.Task[None]] = field(default_factory=set)
    _following: asyncio.Lock = field(default_factory=asyncio.Lock)
    _leases: Iterator[int] = field(default_factory=itertools.count)
    _is_begun: bool = False

    def __post_init__(self) -> None:
        """Start to watch the clock, and prepare the loop."""
        self._steps = ClockSteps(self.clock, self.monotonic)
        self._rounds = WokenLoop("workflows")

    def committed(self, tx: Wakes) -> None:
        """Look at once for due steps when a transaction began or moved a workflow; called in any thread."""
        if tx.workflows:
            self._rounds.wake()

    @property
    def running(self) -> int:
        """How many steps run here now."""
        return len(self._running)

    async def look(self) -> None:
        """Start due steps soon; called on the loop's thread."""
        await self._rounds.look()

    async def run(self) -> None:
        """Run until cancelled; then the running steps are cancelled too."""
        try:
            await self._rounds.run(self._round)
        finally:
            for task in self._running:
                task.cancel()
            await self.settled()

    async def _round(self, _woken: bool) -> None:
        await self.start_due()

    async def start_due(self) -> None:
        """Start the due steps, within the limit of concurrent ones."""
        free = _AT_ONCE - len(self._running)
        if free <= 0:
            return
        now = await self.present()
        if self.alone and not self._is_begun:
            await self.database.run(lambda tx: workflow_rows.begin_anew(tx, now, _LONGEST_PAUSE))
            self._is_begun = True
        holder = f"{self.holder}.{next(self._leases)}"  # another one each time, as a fencing token
        due = await self.database.run(
            lambda tx: workflow_rows.lease_due(tx, holder, now, now + _LEASE, free),
        )
        for row in due:
            task = asyncio.create_task(self._work(row, now))
            self._running.add(task)
            task.add_done_callback(self._ended)

    async def present(self) -> datetime:
        """Return the wall-clock time, after all rows were shifted to it."""
        async with self._following:
            look = self._steps.look()
            if look.step and self.alone:
                moved = await self.database.run(
                    lambda tx: workflow_rows.follow_clock(tx, look.step, look.since, look.now)
                )
                _log.warning("clock_was_set", extra={"seconds": look.step.total_seconds(), "workflows": moved})
            self._steps.take(look)
            return look.now

    async def settled(self) -> None:
        """Wait until the steps running here have ended, whatever their result."""
        await asyncio.gather(*self._running, return_exceptions=True)

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._running.discard(task)
        self._rounds.wake()

    async def _work(self, row: Workflow, now: datetime) -> None:
        """Run one step under its lease; the lease of a cancelled or killed step expires."""
        holder = str(row.lease_holder)
        working = asyncio.create_task(self.step(row, now))
        try:
            while not (await asyncio.wait({working}, timeout=_RENEW_SECONDS))[0]:
                until = await self.present() + _LEASE
                if not await self.database.run(
                    partial(workflow_rows.renew, workflow_id=row.id, holder=holder, until=until)
                ):
                    return
            working.result()
        except Exception:  # the database is unavailable; the lease expires and the step is run again
            _log.exception("workflow_not_moved", extra={"workflow": row.id})
        finally:
            working.cancel()

    async def step(self, row: Workflow, now: datetime) -> None:
        """Run the next step of a workflow whose lease is held since `now`, and write what follows."""
        life = self.make[row.kind](row.id, json.loads(row.facts))
        held = partial(workflow_rows.require_held, workflow_id=row.id, holder=str(row.lease_holder))
        if not self.alone:
            life.database = Fenced(life.database, lambda: held)
        try:
            outcome = await (_late(row) if now > row.deadline else getattr(life, row.step)())
        except GiveUp as error:
            _log.warning("workflow_given_up", extra={"workflow": row.id, "step": row.step, "error": str(error)})
            await life.fail(str(error))
            outcome = Done()
        except Exception as error:  # any exception: the step is repeatable, and the deadline ends it
            _log.exception("workflow_step_failed", extra={"workflow": row.id, "step": row.step})
            pause = min(_LONGEST_PAUSE, timedelta(seconds=2**row.tries))
            outcome = Wait(pause.total_seconds(), f"{type(error).__name__}: {error}", failed=True)
        ended = await self.present()
        await self.database.run(partial(self._write, row=row, outcome=outcome, now=ended))
        if isinstance(outcome, Wait):
            self._rounds.wake_in(outcome.seconds)

    def _write(self, tx: Transaction, row: Workflow, outcome: Outcome, now: datetime) -> None:
        found = workflow_rows.held(tx, row.id, str(row.lease_holder))
        if found is None:
            return  # another controller took over and has run, or will run, the step
        match outcome:
            case Next(step):
                workflow_rows.move(tx, found, step.__name__, now)
            case Wait(seconds, reason, failed):
                due = now + timedelta(seconds=seconds)
                workflow_rows.move(tx, found, found.step, due, reason, tries=found.tries + 1 if failed else 0)
            case Done():
                workflow_rows.end(tx, found)


async def _late(row: Workflow) -> Outcome:
    raise GiveUp(row.reason or "It took too long.")
