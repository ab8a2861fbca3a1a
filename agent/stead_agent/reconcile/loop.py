"""The reconcile loop, which makes the host match the desired state.

It is woken by changes of the desired state, by events of the subsystems and by a timer, works on the units that are
due, and records the results. One failing unit never blocks another. All methods belong to the event loop, except
`perform`, which runs in any thread.
"""

import asyncio
import time
from collections.abc import Callable, Collection, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from typing import Final, Protocol

from stead_agent.desired import Store, StoreError
from stead_agent.disks.volumes.interface import DiskLostError
from stead_agent.logs import Log, for_request
from stead_agent.machines.interface import MachinesUnavailableError
from stead_agent.network.interface import tap_name
from stead_agent.reconcile.machine import MachineWork
from stead_agent.reconcile.prepare import UNIT_KINDS, Habits, Preparer, unit_of
from stead_agent.reconcile.reports import Reports, status
from stead_agent.reconcile.requests import Requests
from stead_agent.reconcile.schedule import FALLBACK_SECONDS, Schedule
from stead_agent.reconcile.subsystems import Subsystems
from stead_agent.reconcile.unclaimed import what_it_has
from stead_agent.reconcile.work import EXPECTED_ERRORS, Outcome, Work
from stead_agent.wanted import HOST_NETWORK, SHARED_KINDS, Change, Held, Key, change_of
from stead_proto.v1 import desired_pb2, host_pb2
from stead_proto.v1.desired_pb2 import Kind
from stead_proto.v1.host_pb2 import DesiredState

_log = Log(__name__)

AT_ONCE: Final = {
    desired_pb2.KIND_HOST_NETWORK: 1,
    desired_pb2.KIND_VPC: 4,
    desired_pb2.KIND_VOLUME: 4,
    desired_pb2.KIND_MACHINE: 6,  # `machines` lets only a few of them start at a time
    desired_pb2.KIND_BASE: 2,
    desired_pb2.KIND_SNAPSHOT: 2,
}
CHORES: Final = 2
THREADS: Final = sum(AT_ONCE.values()) + CHORES
"""Enough threads that units of one kind, all waiting for a hanging libvirt, never block another kind."""

STORE_AGAIN_SECONDS: Final = 2.0
_SLICE: Final = 20
_SHOWN: Final = 50  # ids in one log line


class Watcher(Protocol):
    """Is told of each unit whose work has ended: how many seconds it took, waiting for a thread included."""

    def __call__(self, unit: Key, seconds: float, *, failed: bool) -> None:
        """Note it; must be quick and not raise."""


@dataclass(frozen=True, slots=True)
class Failure:
    """The error with which a unit's work ended."""

    error: Exception


def perform(work: Work, request: str = "") -> Outcome | Failure:
    """Do a unit's work, in any thread; what it logs names the request ids."""
    with for_request(request):
        try:
            return work.run()
        except EXPECTED_ERRORS as error:
            return Failure(error)
        except Exception as error:  # a bug in one unit must not stop all others; it is logged and reported
            _log.error("unit_broke", error=error, unit=work.unit.id)
            return Failure(error)


class Reconciler:
    """Makes the host match the desired state."""

    def __init__(
        self,
        parts: Subsystems,
        store: Store,
        *,
        habits: Habits | None = None,
        news: Callable[[], None] = lambda: None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Load the stored desired state; `news` is called when there is something to report."""
        self.parts = parts
        self._store = store
        self._clock = clock
        self.wanted = store.load()
        self.reports = Reports(news, lambda key: what_it_has(self.wanted, key))
        self._schedule = Schedule({kind: AT_ONCE[kind] for kind in UNIT_KINDS})
        self._running: dict[Key, float] = {}  # since when
        self._watchers: list[Watcher] = []
        self._preparer = Preparer(
            wanted=self.wanted,
            reports=self.reports,
            parts=parts,
            store=store,
            habits=habits or Habits(),
            is_running=self._running.__contains__,
        )
        self._wake = asyncio.Event()
        self._full_state = asyncio.Event()
        self._applying = asyncio.Lock()
        self._has_unstored = False
        self.requests = Requests()
        self._touch_all()

    def unit_of(self, key: Key) -> Key | None:
        """Return the unit whose work makes a resource true, or removes it; None if there is none."""
        return unit_of(key, self.wanted)

    def watch(self, watcher: Watcher) -> None:
        """Call `watcher` whenever a unit's work has ended."""
        self._watchers.append(watcher)

    @property
    def running(self) -> int:
        """How many units are being worked on."""
        return len(self._running)

    @property
    def is_quiet(self) -> bool:
        """Tell whether there is nothing to do now."""
        return self._schedule.is_quiet

    def look_at_everything(self) -> None:
        """Compare all that is wanted with what is there; failures are tried again at once."""
        self._touch_all()
        self._wake.set()

    def failing(self) -> Iterator[tuple[Key, str]]:
        """Give what cannot be made as it is wanted, with the reason."""
        for key in self.wanted.resources:
            last = self.reports.latest(key)
            if last is not None and last.condition == host_pb2.CONDITION_FAILED:
                yield key, last.error

    def next_time(self) -> float | None:
        """Return when the next timer is due, if nothing happens before."""
        return self._schedule.next_time()

    # -- desired state

    async def apply(self, state: DesiredState, *, answers_hello: bool = False) -> None:
        """Apply a message of the controller: it is stored before it counts. OtherEpochError: see `change_of`.

        What was stored is also applied, even if the session that brought it ends meanwhile. What cannot be stored now,
        such as on a full disk, is reported and retried until it can; StoreError if it is the answer to Hello.
        """
        while True:
            try:
                if self._store.on_disk:
                    await asyncio.shield(self._apply(state, answers_hello=answers_hello))
                else:
                    self.apply_now(state, answers_hello=answers_hello)
            except StoreError as error:
                self._note_unstored(error)
                if answers_hello:
                    raise
                await asyncio.sleep(STORE_AGAIN_SECONDS)
            else:
                return

    def _note_unstored(self, error: StoreError) -> None:
        """Report that changes for the host are waiting; its network stays as it is."""
        if not self._has_unstored:
            _log.warning("changes_wait", reason=str(error))
        self._has_unstored = True
        text = f"all changes of this host wait: {error}"
        self.reports.put(status(HOST_NETWORK, self.wanted.revision, host_pb2.CONDITION_FAILED, text))

    async def _apply(self, state: DesiredState, *, answers_hello: bool) -> None:
        async with self._applying:
            change = change_of(self.wanted, state, answers_hello=answers_hello)
            if change is not None:
                await asyncio.to_thread(self._store.save, change)
                self._install(change)
                self.requests.take(state, self.unit_of)

    def apply_now(self, state: DesiredState, *, answers_hello: bool = False) -> None:
        """Do what `apply` does, without another thread."""
        change = change_of(self.wanted, state, answers_hello=answers_hello)
        if change is not None:
            self._store.save(change)
            self._install(change)
            self.requests.take(state, self.unit_of)

    async def full_state_came(self) -> None:
        """Wait until the controller sent a full state."""
        self._full_state.clear()
        await self._full_state.wait()

    def notice_machine(self, machine_id: str) -> None:
        """A machine's status may have changed by itself."""
        key = Key(desired_pb2.KIND_MACHINE, machine_id)
        tombstone = self.wanted.tombstones.get(key)
        if key in self.wanted.resources or (tombstone is not None and not tombstone.done):
            self._schedule.notice(key)
            self._wake.set()

    def notice_taps(self, taps: Collection[str]) -> None:
        """Taps were changed or deleted: their guests may need new ones."""
        for key, resource in self.wanted.of_kind(desired_pb2.KIND_INTERFACE).items() if taps else ():
            if tap_name(key.id) in taps:
                self.notice_machine(resource.interface.instance_id)

    def notice_volume(self, volume_id: str) -> None:
        """A process that exports a volume to another host, or is its proxy, has ended."""
        key = Key(desired_pb2.KIND_VOLUME, volume_id)
        if key in self.wanted.resources:
            self._schedule.touch(key)
            self._wake.set()

    def notice_snapshot(self, snapshot_id: str) -> None:
        """A snapshot has made progress by itself."""
        key = Key(desired_pb2.KIND_SNAPSHOT, snapshot_id)
        if key in self.wanted.resources:
            self._schedule.notice(key)
            self._wake.set()

    def look_at_networks(self) -> None:
        """A foreign change to the network was repaired: reconcile what depends on it."""
        self._schedule.touch(HOST_NETWORK)
        self._touch_vpcs()
        self._wake.set()

    def _touch_vpcs(self) -> None:
        for key in self.wanted.of_kind(desired_pb2.KIND_VPC):
            self._schedule.touch(key)

    @property
    def known_by(self) -> bytes:
        """The authorities of the controller that knows all volumes here and has all who use them; else empty."""
        are_unclaimed = any(key.kind == desired_pb2.KIND_VOLUME for key in self.wanted.unclaimed)
        return b"" if are_unclaimed or self._preparer.awaited != frozenset() else self._preparer.confirmed_by

    def confirm(self, authorities: bytes) -> None:
        """What is wanted is what the controller with these authorities, a digest, wants."""
        self._preparer.confirmed_by = authorities

    def await_hosts(self, host_ids: Iterable[str]) -> None:
        """These hosts have not joined the controller yet: what they use is served by the certificate that they know."""
        awaited = frozenset(host_ids)
        if awaited != self._preparer.awaited:
            _log.info("hosts_awaited", hosts=sorted(awaited))
            self._preparer.awaited = awaited
            for volume_id in self.parts.exports.present():
                self.notice_volume(volume_id)

    def controller_answered(self, authorities: bytes) -> None:
        """The controller with these authorities can be reached, and has said what it knows: retry failed fetches."""
        if self._preparer.awaited is None:  # it has not said: there are none, or it is of an earlier release
            self._preparer.awaited = frozenset()
        self.confirm(authorities)
        for key, resource in self.wanted.of_kind(desired_pb2.KIND_BASE).items():
            if not self.reports.is_ready(key, resource.revision):
                self._schedule.touch(key)
        self._wake.set()

    def remove_strays(self, present: Iterable[Key]) -> bool:
        """Remove what exists on the host under an id of ours and is neither desired nor being removed.

        Never before a full state was loaded: without it, everything would look like a stray. Stray machines are removed
        first, since they may use the others, and bases last, since volumes may depend on them. Tells whether a stray
        was found, so that the caller checks again.
        """
        strays = self.strays(present)
        machines = [key for key in strays if key.kind == desired_pb2.KIND_MACHINE]
        others = [key for key in strays if key.kind != desired_pb2.KIND_BASE]
        for key in machines or others or strays:
            _log.warning("stray_found", kind=Kind.Name(key.kind), id=key.id)
            self._schedule.touch(key)
        self._wake.set()
        return bool(strays)

    def strays(self, present: Iterable[Key]) -> list[Key]:
        """Give what is a stray of what exists on the host; nothing before a full state was loaded."""
        return [] if self.wanted.revision == 0 else [key for key in present if self._is_stray(key)]

    def _is_stray(self, key: Key) -> bool:
        tombstone = self.wanted.tombstones.get(key)
        return key not in self.wanted.resources and (tombstone is None or tombstone.done)

    def drop_tombstones(self, revisions: Iterable[tuple[Key, int]]) -> None:
        """The controller certainly knows that these are gone: their tombstones are no longer needed."""
        stones = self.wanted.tombstones
        done = [
            key
            for key, revision in revisions
            if key in stones and stones[key].done and stones[key].revision == revision
        ]
        if done:
            self._forget(done)

    def _install(self, change: Change) -> None:
        if self._has_unstored:
            self._has_unstored = False
            _log.info("changes_go_on")
            self._schedule.touch(HOST_NETWORK)  # to report that it is ready
        for key in change.forgotten:
            self.reports.forget(key)
        self.wanted.install(change)
        if change.recounts:
            self.reports.clear()
            self._touch_all()
        if change.unclaimed:
            _log.warning("kept_unclaimed", ids=",".join(sorted(key.id for key in change.unclaimed)[:_SHOWN]))
        if change.unknown:
            _log.warning("unknown_kinds", ids=",".join(change.unknown))
        self._touch_each(change.touched, patient=change.patient)
        if not self._preparer.host_is_ready:
            self._schedule.touch(HOST_NETWORK)
        if change.full:
            self._full_state.set()
        self._wake.set()

    def _touch_each(self, keys: Iterable[Key], *, patient: bool = False) -> None:
        """Schedule changed resources, and all that depends on them; places, of which there may be many, in one pass."""
        places = []
        for key in keys:
            if not self._expect(key, patient=patient):
                continue
            if key.kind == desired_pb2.KIND_MAPPING:
                places.append(key)
                continue
            if unit := unit_of(key, self.wanted):
                self._schedule.touch(unit)
            for user in self._preparer.dependents(key):
                self._schedule.touch(user)
        for unit in self._preparer.follow(places):
            self._schedule.touch(unit)

    def _expect(self, key: Key, *, patient: bool) -> bool:
        """Expect a report of a changed resource; tell whether there is anything to do."""
        resource = self.wanted.resources.get(key)
        tombstone = self.wanted.tombstones.get(key)
        if resource is not None:
            last = self.reports.latest(key)
            if last is not None and last.condition == host_pb2.CONDITION_ABSENT:
                self.reports.forget(key)
            self.reports.expect(key, resource.revision, patient=patient)
        elif tombstone is not None:
            if tombstone.done or (unit_of(key, self.wanted) is None):
                self._gone_all([key])
                return False
            self.reports.expect(key, tombstone.revision, patient=patient)
        return True

    def _touch_all(self) -> None:
        """Schedule everything: it is unknown what happened while the agent was not running."""
        if self.wanted.revision == 0:
            return
        self._schedule.touch(HOST_NETWORK)
        self._touch_each([*self.wanted.resources, *self.wanted.tombstones])
        for machine_id in self.wanted.holding_machines():
            self._schedule.touch(Key(desired_pb2.KIND_MACHINE, machine_id))

    # -- work

    def begin(self) -> Work | None:
        """Prepare the work of the next unit, or None; pass the work to `perform` and the result to `finish`."""
        now = self._clock()
        scheduled = self._schedule.take(now)
        if scheduled is None:
            return None
        self._running[scheduled.unit] = now
        return self._preparer.prepare(scheduled, now)

    def finish(self, work: Work, result: Outcome | Failure) -> None:
        """Record the result of a unit's work."""
        began = self._running.pop(work.unit, None)
        try:
            self._note_result(work, result)
        except Exception as error:  # a bug in reporting one unit: it is tried again, others continue
            _log.error("unit_broke", error=error, unit=work.unit.id)
            result = Failure(error)
        gone = [] if isinstance(result, Failure) else result.gone
        all_vpcs_follow = self._preparer.finished(work, well=not isinstance(result, Failure), gone=gone)
        self._reschedule(work, result)
        if all_vpcs_follow:
            self._touch_vpcs()
        self._wake.set()
        for watcher in self._watchers:
            watcher(work.unit, 0.0 if began is None else self._clock() - began, failed=isinstance(result, Failure))

    def _note_result(self, work: Work, result: Outcome | Failure) -> None:
        if isinstance(work, MachineWork):
            self._update_held(work.unit.id, work.held)
        if isinstance(result, Failure):
            self._note_failure(work, result.error)
            return
        for key, revision in result.ready:
            self.reports.put_ready(key, revision)
        for each in result.statuses:
            self.reports.put(each)
        self._gone_all(result.gone, result.last_words)
        for key in result.looked_at:
            self._schedule.notice(key)

    def _reschedule(self, work: Work, result: Outcome | Failure) -> None:
        if isinstance(work, MachineWork) and work.look_only:
            self._schedule.looked(work.unit)
        elif isinstance(result, Failure):
            delay = self._schedule.fail(work.unit, self._clock())
            with for_request(self.requests.of(work.unit)):
                _log.warning("unit_failed", unit=work.unit.id, reason=str(result.error), retry_seconds=round(delay, 1))
        elif result.is_settled:
            if self._schedule.settle(work.unit) and (request := self.requests.settle(work.unit)):
                _log.info("change_made", unit=work.unit.id, request=request)
        else:
            if result.wait_on and not self._preparer.still_waits(work, result.wait_on):
                self._schedule.notice(work.unit)  # what it waits for has changed while it ran
            seconds = FALLBACK_SECONDS if result.wait_seconds is None else result.wait_seconds
            self._schedule.wait(work.unit, result.wait_on, self._clock() + seconds)

    def _update_held(self, machine_id: str, held: Held) -> None:
        """Record what a machine has in use now; schedule what it released that is to be removed or served elsewhere."""
        before = self.wanted.held(machine_id)
        self.wanted.hold(machine_id, held)
        for key in {*before} - {*held}:
            if (key in self.wanted.tombstones or self._is_shared(key)) and (unit := unit_of(key, self.wanted)):
                self._schedule.touch(unit)

    def _is_shared(self, key: Key) -> bool:
        """Tell whether a volume of this host is to be served to another."""
        resource = self.wanted.resources.get(key)
        return resource is not None and resource.volume.HasField("export")

    def _note_failure(self, work: Work, error: Exception) -> None:
        """Report a failure of each resource of the unit that is not known to be ready."""
        text = str(error) if isinstance(error, EXPECTED_ERRORS) else f"internal error: {error!r}"
        unsure = isinstance(error, MachinesUnavailableError)  # the state is unknown, so nothing has failed
        for key, revision in work.subjects():
            if self.reports.is_ready(key, revision) and (unsure or key != work.unit):
                continue
            last = self.reports.latest(key)
            machine = last.machine if last is not None and last.HasField("machine") else None
            if machine is None and isinstance(work, MachineWork) and not unsure:
                machine = work.last_seen  # such as of a guest that does not start again after its host was down
            is_lost = isinstance(error, DiskLostError) and key.kind == desired_pb2.KIND_VOLUME
            volume = host_pb2.VolumeStatus(lost=True) if is_lost else None
            condition = host_pb2.CONDITION_PENDING if unsure else host_pb2.CONDITION_FAILED
            self.reports.put(status(key, revision, condition, text, machine=machine, volume=volume))

    def _gone_all(self, keys: Iterable[Key], last_words: host_pb2.MachineStatus | None = None) -> None:
        shared = []
        for key in keys:
            if key.kind in SHARED_KINDS and not self.reports.is_told_of(key):
                shared += [key] if key in self.wanted.tombstones else []
            else:
                self._gone(key, last_words)
        if shared:  # these are not reported to the controller, unless it knows that they failed or were unclaimed
            self._forget(shared)

    def _forget(self, keys: Collection[Key]) -> None:
        """Forget tombstones of what is gone and needs no more reports."""
        revisions = [(key, self.wanted.tombstones[key].revision) for key in keys]
        self.wanted.forget(keys)
        for key in keys:
            self.reports.forget(key)
        self._note(lambda: self._store.forget(revisions))

    def _gone(self, key: Key, last_words: host_pb2.MachineStatus | None) -> None:
        """Nothing is left of a resource: record that, and report it if it was to be removed."""
        tombstone = self.wanted.tombstones.get(key)
        if tombstone is None:
            return
        if not tombstone.done:
            self._note(lambda: self._store.done(key, tombstone.revision))
            self.wanted.mark_done(key)
        if (last := self.reports.latest(key)) is not None and last.condition == host_pb2.CONDITION_ABSENT:
            last_words = last.machine if last.HasField("machine") else last_words
        self.reports.put(status(key, tombstone.revision, host_pb2.CONDITION_ABSENT, machine=last_words))

    def _note(self, write: Callable[[], None]) -> None:
        """Write a record of our own work; if that fails, the work is merely repeated after a restart."""
        try:
            write()
        except StoreError as error:
            _log.warning("note_lost", reason=str(error))

    # -- the loop

    async def run(self, pool: ThreadPoolExecutor | None) -> None:
        """Work until cancelled; without a pool (simulated hosts, which never block) on the event loop itself."""
        while True:
            self._wake.clear()
            await self._work_off(pool)
            due = self._schedule.next_time()
            try:
                async with asyncio.timeout(None if due is None else max(0.0, due - self._clock())):
                    await self._wake.wait()
            except TimeoutError:
                continue  # a timer is due

    async def _work_off(self, pool: ThreadPoolExecutor | None) -> None:
        """Begin all units that are due."""
        loop = asyncio.get_running_loop()
        count = 0
        while (work := self.begin()) is not None:
            if pool is not None:
                future = loop.run_in_executor(pool, perform, work, self.requests.of(work.unit))
                future.add_done_callback(partial(self._finish_future, work))
                continue
            self.finish(work, perform(work, self.requests.of(work.unit)))
            count += 1
            if count % _SLICE == 0:
                await asyncio.sleep(0)

    def _finish_future(self, work: Work, future: "asyncio.Future[Outcome | Failure]") -> None:
        if not future.cancelled():
            self.finish(work, future.result())
