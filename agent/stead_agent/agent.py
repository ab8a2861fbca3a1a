"""One agent, assembled: the desired state, the reconciler over some subsystems, the link, and periodic tasks."""

import asyncio
import concurrent.futures
import contextlib
import random
import time
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from itertools import islice
from typing import Final

from stead_agent.desired import Store
from stead_agent.link import Dialling, HostView, Link
from stead_agent.logs import Log
from stead_agent.metadata.interface import MetadataError, Uses
from stead_agent.metrics.interface import Reading
from stead_agent.metrics.outgoing import Outgoing
from stead_agent.network.interface import GatewayCounters, Touched
from stead_agent.reconcile import measuring
from stead_agent.reconcile.gateway_measuring import GatewayMeasuring, gateways_of
from stead_agent.reconcile.loop import Reconciler
from stead_agent.reconcile.metadata_uses import MetadataUses
from stead_agent.reconcile.prepare import Habits
from stead_agent.reconcile.subsystems import Subsystems
from stead_agent.reconcile.traffic_telling import TrafficTelling
from stead_agent.reconcile.work import EXPECTED_ERRORS
from stead_agent.traced import TracedChanges
from stead_agent.traffic.interface import Sums
from stead_agent.wanted import Key
from stead_proto import traces
from stead_proto.v1 import desired_pb2, host_pb2

_log = Log(__name__)

AUDIT_SECONDS: Final = 60.0
"""How often everything is compared with the desired state, whatever the kernel has notified us of."""
LOOK_SECONDS: Final = 5.0
"""How often we check what the kernel sends no notification of."""
STRAYS_SECONDS: Final = 600.0
STRAYS_AGAIN_SECONDS: Final = 15.0
REPAIR_SECONDS: Final = 12.0
"""For which an operator who asks for a repair waits for its end."""

_REPAIR_POLL_SECONDS: Final = 0.2
_MOST_FAILING: Final = 50


class Agent:
    """The parts of one host's agent; made and run on one event loop."""

    def __init__(
        self,
        parts: Subsystems,
        store: Store,
        host: HostView,
        dialling: Dialling,
        *,
        habits: Habits | None = None,
        threads: concurrent.futures.ThreadPoolExecutor | None = None,
        question_threads: concurrent.futures.ThreadPoolExecutor | None = None,
        measure_seconds: float = measuring.SECONDS,
        forget_former: Callable[[bytes], None] = lambda _authorities: None,
    ) -> None:
        """Load the desired state; without threads (simulated hosts, which never block) all runs on the event loop.

        `forget_former` is called again and again with the authorities of a controller that all have joined.
        """
        self._loop = asyncio.get_running_loop()
        self._parts = parts
        self._store = store
        self._threads = threads
        self._drift = asyncio.Event()
        self._touched = Touched()  # changes since the last check
        news = asyncio.Event()
        self.reconciler = Reconciler(parts, store, habits=habits, news=news.set)
        traced = TracedChanges(self.reconciler.unit_of)
        if traces.is_on():
            self.reconciler.watch(traced.worked)
        self.measurements = Outgoing()
        self._measure_seconds = measure_seconds
        self._forget_former = forget_former
        self._metadata_uses = MetadataUses()
        self._gateways = GatewayMeasuring()
        self._traffic = TrafficTelling()
        self.link = Link(
            dialling,
            self.reconciler,
            host,
            news,
            self.measurements,
            threads=question_threads,
            repair=self.repair,
            renew_uses=self._renew_uses,
            traced=traced,
        )

    async def run(self) -> None:
        """Work until cancelled; guests stay as they are."""
        self._parts.machines.subscribe(self._notice_machine)
        self._parts.reachability.subscribe(self._notice_machine)
        self._parts.credits.subscribe(self._notice_machine)
        self._parts.exports.subscribe(self._notice_volume)
        self._parts.snapshots.subscribe(self._notice_snapshot)
        with contextlib.ExitStack() as ends:
            ends.callback(self._parts.network.subscribe(self._notice_drift))
            await self._work()

    async def _work(self) -> None:
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self.reconciler.run(self._threads))
            tasks.create_task(self.link.run())
            tasks.create_task(self._empty_trash() if self._threads is None else self._mend())
            tasks.create_task(self._look_for_strays())
            tasks.create_task(self._measure())
            tasks.create_task(self._measure_closely())

    def close(self) -> None:
        """Release what `run` used."""
        self._store.close()

    def _notice_machine(self, machine_id: str) -> None:
        """Called by a thread of `machines`, `reachability` or `credits` when something may have happened."""
        try:
            self._loop.call_soon_threadsafe(self.reconciler.notice_machine, machine_id)
        except RuntimeError:
            _log.debug("event_after_the_end", machine=machine_id)  # the loop is closed: the next agent will see it

    def _notice_volume(self, volume_id: str) -> None:
        """Called by a thread of `exports` when a process has ended."""
        try:
            self._loop.call_soon_threadsafe(self.reconciler.notice_volume, volume_id)
        except RuntimeError:
            _log.debug("event_after_the_end", volume=volume_id)  # the loop is closed: the next agent will see it

    def _notice_snapshot(self, snapshot_id: str) -> None:
        """Called by a thread of `snapshots` when a snapshot has made progress."""
        try:
            self._loop.call_soon_threadsafe(self.reconciler.notice_snapshot, snapshot_id)
        except RuntimeError:
            _log.debug("event_after_the_end", snapshot=snapshot_id)  # the loop is closed: the next agent continues

    def _renew_uses(self, authorities: bytes) -> bool:
        """Have processes that share volumes, and guests, use the host's certificate of now; tell whether all do."""
        if self.link.connected.is_set():  # else the controller has not said yet what it knows
            try:
                self._loop.call_soon_threadsafe(self.reconciler.confirm, authorities)
            except RuntimeError:
                return False  # the loop is closed: the next agent asks again
        outdated = self._parts.exports.outdated()
        for volume_id in outdated:
            self._notice_volume(volume_id)
        # Guests after the homes: only then do these let them in.
        return not outdated and self._parts.machines.renew_credentials(authorities)

    # -- periodic tasks

    async def _mend(self) -> None:
        """Repair foreign changes: at once where the kernel notifies us, soon where it does not, all each minute."""
        everything = self._loop.time() + AUDIT_SECONDS
        look = self._loop.time() + LOOK_SECONDS
        while True:
            with contextlib.suppress(TimeoutError):  # then the next check is due
                async with asyncio.timeout_at(min(everything, look)):
                    await self._drift.wait()
            self._drift.clear()
            touched, self._touched = self._touched, Touched()
            if self._loop.time() >= everything:
                await self._audit(None)
                await self._look_at_certificates()
                everything = self._loop.time() + AUDIT_SECONDS
                look = self._loop.time() + LOOK_SECONDS
                continue
            if self._loop.time() >= look:
                unsettled = await self._loop.run_in_executor(self._threads, look_closer, self._parts)
                touched |= Touched(unsettled)
                look = self._loop.time() + LOOK_SECONDS
            if touched != Touched():
                await self._audit(touched)

    async def _look_at_certificates(self) -> None:
        """Have what uses an old certificate use the new one; forget that of before the last enrolment in the end."""
        outdated = await self._ask(self._parts.exports.outdated)
        for volume_id in outdated:
            self.reconciler.notice_volume(volume_id)
        known_by = self.reconciler.known_by
        if known_by and not outdated:
            await self._ask(partial(self._forget_former, known_by))

    async def repair(self, seconds: float = REPAIR_SECONDS) -> host_pb2.Repaired:
        """Do at once what is done again and again: repair foreign changes, remove strays, try again what failed.

        Returns when nothing is left to do, or after so many seconds.
        """
        answer = host_pb2.Repaired()
        strays: dict[Key, None] = {}
        deadline = self._loop.time() + seconds
        answer.repairs.extend(await self._ask(partial(repairs, self._parts, None)))
        await self._look_at_certificates()
        self.reconciler.look_at_everything()
        while True:
            present = await self._ask(partial(_list_safely, self._parts))
            found = self.reconciler.strays(present)
            strays |= dict.fromkeys(found)
            answer.settled = self.reconciler.is_quiet and not found
            if answer.settled or self._loop.time() > deadline:
                break
            self.reconciler.remove_strays(present)
            await asyncio.sleep(_REPAIR_POLL_SECONDS)
        answer.removed.extend(_words(key) for key in strays if key not in found)
        answer.left.extend(_words(key) for key in found)
        failing = islice(self.reconciler.failing(), _MOST_FAILING)
        answer.failing.extend(f"{_words(key)}: {reason}" for key, reason in failing)
        return answer

    async def _ask[T](self, ask: Callable[[], T]) -> T:
        return ask() if self._threads is None else await self._loop.run_in_executor(self._threads, ask)

    async def _empty_trash(self) -> None:
        """Empty the trash of a simulated host, where nobody else changes anything."""
        while True:
            await asyncio.sleep(AUDIT_SECONDS)
            empty_trash(self._parts)

    async def _audit(self, touched: Touched | None) -> None:
        if await self._loop.run_in_executor(self._threads, audit, self._parts, touched):
            self.reconciler.look_at_networks()

    def _notice_drift(self, touched: Touched) -> None:
        """Called by a thread of `network` with what another program may have changed."""
        try:
            self._loop.call_soon_threadsafe(self._note_drift, touched)
        except RuntimeError:
            _log.debug("event_after_the_end", drift=",".join(touched.links | touched.rules))  # the next agent checks

    def _note_drift(self, touched: Touched) -> None:
        self._touched |= touched
        self._drift.set()
        self.reconciler.notice_taps(touched.taps)

    async def _measure(self) -> None:
        """Measure all guests after each period of the clock."""
        seconds = self._measure_seconds
        late = random.uniform(0.0, seconds / 10)
        measured = measuring.Measuring(self._parts.credits.balance, seconds=seconds)
        while True:
            end = (time.time() - late) // seconds * seconds + seconds
            await asyncio.sleep(end + late - time.time())
            try:
                await self._measure_once(measured, round(end * 1000))
            except Exception as error:  # a guest that cannot be measured must not end the agent
                _log.error("not_measured", error=error)

    async def _measure_closely(self) -> None:
        """Measure the processors of some guests after each period of ten seconds; without any, read nothing."""
        seconds = self._measure_seconds * measuring.CLOSE_SECONDS / measuring.SECONDS
        measured = measuring.CloseMeasuring(seconds=seconds)
        while True:
            end = time.time() // seconds * seconds + seconds
            await asyncio.sleep(end - time.time())
            try:
                await self._measure_close(measured, round(end * 1000))
            except Exception as error:  # a guest that cannot be measured must not end the agent
                _log.error("not_measured_closely", error=error)

    async def _measure_close(self, measured: measuring.CloseMeasuring, end: int) -> None:
        machines = measuring.to_be_measured(self.reconciler.wanted, closely=True)
        read = partial(self._parts.counters.read, tuple(machines))
        readings: Mapping[str, Reading] = {}
        if machines:
            readings = read() if self._threads is None else await self._loop.run_in_executor(self._threads, read)
        message = measured.note(machines, readings, end)
        if message.measured:
            self.measurements.put(message)

    async def _measure_once(self, measured: measuring.Measuring, end: int) -> None:
        machines = measuring.to_be_measured(self.reconciler.wanted)
        gateways = gateways_of(self.reconciler.wanted)
        stored = self._traffic.stored(all_is=not len(self.measurements))
        read = partial(_read, self._parts, tuple(machines), gateways, stored)
        found = read() if self._threads is None else await self._loop.run_in_executor(self._threads, read)
        readings, uses, passed, sums = found
        asked = {} if uses is None else self._metadata_uses.since_before(uses)
        message = measured.note(machines, readings, end, asked)
        message.measured.extend(self._gateways.note(gateways, passed, end - round(self._measure_seconds * 1000)))
        message.passed.extend(self._traffic.tell(sums))
        message.epoch = sums.epoch
        if message.measured or message.passed:
            self.measurements.put(message)

    async def _look_for_strays(self) -> None:
        """Look for strays: after each full state and periodically; only while a controller is connected."""
        while True:
            await self.link.connected.wait()
            if self._threads is None:
                present = _list_safely(self._parts)
            else:
                present = await self._loop.run_in_executor(self._threads, _list_safely, self._parts)
            found = self.reconciler.remove_strays(present)
            try:
                async with asyncio.timeout(STRAYS_AGAIN_SECONDS if found else STRAYS_SECONDS):
                    await self.reconciler.full_state_came()
            except TimeoutError:
                continue  # the next check is due


def _read(
    parts: Subsystems, machine_ids: tuple[str, ...], gateway_ids: tuple[str, ...], stored: Sums
) -> tuple[Mapping[str, Reading], Mapping[str, Uses] | None, Mapping[str, GatewayCounters], Sums]:
    """Read the counters of machines, how guests used the metadata service, the counters of NAT gateways, and traffic.

    The second is None where it is not known now. What is `stored` of traffic need not be remembered.
    """
    parts.traffic.told(stored)
    sums = parts.traffic.read()
    readings = parts.counters.read(machine_ids)
    passed = parts.network.gateway_counters(gateway_ids)
    try:
        return readings, parts.metadata.uses() if machine_ids else None, passed, sums
    except MetadataError as error:
        _log.warning("metadata_not_measured", reason=str(error))
        return readings, None, passed, sums


def _words(key: Key) -> str:
    return f"{desired_pb2.Kind.Name(key.kind).removeprefix('KIND_').lower()} {key.id}"


def audit(parts: Subsystems, touched: Touched | None = None) -> bool:
    """Do what `repairs` does; tell whether anything was repaired."""
    return bool(repairs(parts, touched))


def repairs(parts: Subsystems, touched: Touched | None) -> list[str]:
    """Have each subsystem repair foreign changes; return what they were.

    Checks everything and empties the trash, or checks only what was touched. What cannot be repaired now is tried again
    with the next check of everything. A recreated namespace has no rules yet, so the rules are checked after the links.
    """
    rules = None if touched is None else touched.links | touched.rules
    audits: dict[str, Callable[[], tuple[str, ...]]] = {
        "network": partial(parts.network.audit, rules),  # of the rules of a VPC the counters are its part
        "firewall": partial(parts.firewall.audit, rules),
    }
    if touched is None:
        audits["dhcp"] = parts.dhcp.audit
    elif not rules:
        del audits["network"]
    if "network" in audits:  # it may have recreated namespaces
        audits["endpoints"] = parts.endpoints.audit
    found = [f"{name}: {repair}" for name, audit_one in audits.items() for repair in _repair(name, audit_one)]
    if touched is None:
        empty_trash(parts)
    return found


def empty_trash(parts: Subsystems) -> None:
    """Delete what was removed; what cannot be deleted now stays until the next time."""
    for purge in (parts.volumes.purge, parts.bases.purge):
        try:
            purge()
        except EXPECTED_ERRORS as error:
            _log.warning("trash_not_emptied", reason=str(error))


def _repair(subsystem: str, audit_one: Callable[[], tuple[str, ...]]) -> tuple[str, ...]:
    try:
        found = audit_one()
    except EXPECTED_ERRORS as error:
        _log.warning("audit_failed", subsystem=subsystem, reason=str(error))
        return ()
    for repair in found:
        _log.warning("repaired", subsystem=subsystem, what=repair)
    return found


def look_closer(parts: Subsystems) -> frozenset[str]:
    """Check what sends no notification: restart DHCP servers that ended, return the VPCs whose sysctls were changed."""
    _repair("dhcp", parts.dhcp.audit)
    try:
        return frozenset(parts.network.unsettled())
    except EXPECTED_ERRORS as error:
        _log.warning("audit_failed", subsystem="network", reason=str(error))
        return frozenset()


def list_present(parts: Subsystems) -> Iterator[Key]:
    """List everything that exists on the host under an id of ours."""
    served = parts.metadata.present()
    vpcs = {*parts.network.present(), *parts.firewall.present(), *parts.dhcp.present(), *served}
    yield from (Key(desired_pb2.KIND_VPC, each) for each in vpcs)
    yield from (Key(desired_pb2.KIND_BASE, each) for each in parts.bases.present())
    volumes = {*parts.volumes.present(), *parts.exports.present()}
    yield from (Key(desired_pb2.KIND_VOLUME, each) for each in volumes)
    yield from (Key(desired_pb2.KIND_SNAPSHOT, each) for each in parts.snapshots.present())
    machines = parts.machines.present().union(
        parts.volumes.instance_stores(), parts.credits.present(), *served.values()
    )
    yield from (Key(desired_pb2.KIND_MACHINE, each) for each in machines)


def _list_safely(parts: Subsystems) -> frozenset[Key]:
    """List what exists; nothing when a subsystem cannot be asked now."""
    try:
        return frozenset(list_present(parts))
    except EXPECTED_ERRORS as error:
        _log.warning("strays_unknown", reason=str(error))
        return frozenset()
