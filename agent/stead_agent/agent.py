"""One agent, assembled: the desired state, the reconciler over some subsystems, the link, and the chores between."""

import asyncio
import concurrent.futures
from collections.abc import Iterator
from typing import Final

from stead_agent.desired import Store
from stead_agent.link import Dialling, HostView, Link
from stead_agent.logs import Log
from stead_agent.reconcile.loop import Reconciler
from stead_agent.reconcile.prepare import Habits
from stead_agent.reconcile.subsystems import Subsystems
from stead_agent.reconcile.work import EXPECTED_ERRORS
from stead_agent.wanted import Key
from stead_proto.v1 import desired_pb2

_log = Log(__name__)

AUDIT_SECONDS: Final = 60.0
STRAYS_SECONDS: Final = 600.0
STRAYS_AGAIN_SECONDS: Final = 15.0


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
    ) -> None:
        """Load the desired state; without threads (simulated hosts, which never block) all runs on the event loop."""
        self._loop = asyncio.get_running_loop()
        self._parts = parts
        self._store = store
        self._threads = threads
        news = asyncio.Event()
        self.reconciler = Reconciler(parts, store, habits=habits, news=news.set)
        self.link = Link(dialling, self.reconciler, host, news, threads=question_threads)

    async def run(self) -> None:
        """Work until cancelled; guests stay as they are."""
        self._parts.machines.subscribe(self._notice_machine)
        self._parts.exports.subscribe(self._notice_volume)
        self._parts.snapshots.subscribe(self._notice_snapshot)
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self.reconciler.run(self._threads))
            tasks.create_task(self.link.run())
            if self._threads is not None:
                tasks.create_task(self._audit())
            tasks.create_task(self._look_for_strays())

    def close(self) -> None:
        """Let go of what `run` used."""
        self._store.close()

    def _notice_machine(self, machine_id: str) -> None:
        """Hear from a thread of `machines` that something may have happened."""
        try:
            self._loop.call_soon_threadsafe(self.reconciler.notice_machine, machine_id)
        except RuntimeError:
            _log.debug("event_after_the_end", machine=machine_id)  # the loop is closed: the next agent will see it

    def _notice_volume(self, volume_id: str) -> None:
        """Hear from a thread of `exports` that a process has ended."""
        try:
            self._loop.call_soon_threadsafe(self.reconciler.notice_volume, volume_id)
        except RuntimeError:
            _log.debug("event_after_the_end", volume=volume_id)  # the loop is closed: the next agent will see it

    def _notice_snapshot(self, snapshot_id: str) -> None:
        """Hear from a thread of `snapshots` that there is news."""
        try:
            self._loop.call_soon_threadsafe(self.reconciler.notice_snapshot, snapshot_id)
        except RuntimeError:
            _log.debug("event_after_the_end", snapshot=snapshot_id)  # the loop is closed: the next agent goes on

    # -- chores

    async def _audit(self) -> None:
        """Compare the kernel with what was applied, and empty the trash, every minute."""
        while True:
            await asyncio.sleep(AUDIT_SECONDS)
            if await self._loop.run_in_executor(self._threads, audit, self._parts):
                self.reconciler.look_at_networks()
            for volume_id in await self._loop.run_in_executor(self._threads, self._parts.exports.outdated):
                self.reconciler.notice_volume(volume_id)

    async def _look_for_strays(self) -> None:
        """Look for what nobody wants: after each full state, and now and then; only while a controller is there."""
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
                continue  # it is time to look again


def audit(parts: Subsystems) -> bool:
    """Have each subsystem repair what somebody else changed, and empty the trash; tell whether anything was repaired.

    What cannot be repaired now is tried again the next time.
    """
    repaired = False
    audits = {"network": parts.network.audit, "firewall": parts.firewall.audit, "dhcp": parts.dhcp.audit}
    for name, audit_one in audits.items():
        try:
            for repair in audit_one():
                repaired = True
                _log.warning("repaired", subsystem=name, what=repair)
        except EXPECTED_ERRORS as error:
            _log.warning("audit_failed", subsystem=name, reason=str(error))
    for purge in (parts.volumes.purge, parts.bases.purge):
        try:
            purge()
        except EXPECTED_ERRORS as error:
            _log.warning("trash_not_emptied", reason=str(error))
    return repaired


def list_present(parts: Subsystems) -> Iterator[Key]:
    """List all that exists on the host and carries our ids."""
    served = parts.metadata.present()
    vpcs = {*parts.network.present(), *parts.firewall.present(), *parts.dhcp.present(), *served}
    yield from (Key(desired_pb2.KIND_VPC, each) for each in vpcs)
    yield from (Key(desired_pb2.KIND_BASE, each) for each in parts.bases.present())
    volumes = {*parts.volumes.present(), *parts.exports.present()}
    yield from (Key(desired_pb2.KIND_VOLUME, each) for each in volumes)
    yield from (Key(desired_pb2.KIND_SNAPSHOT, each) for each in parts.snapshots.present())
    machines = parts.machines.present().union(parts.volumes.instance_stores(), *served.values())
    yield from (Key(desired_pb2.KIND_MACHINE, each) for each in machines)


def _list_safely(parts: Subsystems) -> frozenset[Key]:
    """List what exists; nothing when a subsystem cannot tell now."""
    try:
        return frozenset(list_present(parts))
    except EXPECTED_ERRORS as error:
        _log.warning("strays_unknown", reason=str(error))
        return frozenset()
