"""An agent without network and threads on a simulated host: a test drives it, and it can die at any step."""

from collections.abc import Callable, Iterable, Iterator

from stead_agent.agent import list_present
from stead_agent.desired import Store, without_key
from stead_agent.reconcile.loop import Reconciler, perform
from stead_agent.reconcile.prepare import Habits
from stead_agent.reconcile.work import Work
from stead_agent.simulated.clock import SteppedClock
from stead_agent.simulated.host import SimulatedHost
from stead_agent.simulated.machines import Durations
from stead_agent.wanted import Change, Held, Key, Tombstone, Wanted, key_of
from stead_proto.v1 import desired_pb2, host_pb2
from stead_proto.v1.desired_pb2 import Resource
from stead_proto.v1.host_pb2 import DesiredState, ResourceStatus


class Killed(BaseException):
    """The agent's process was killed here."""


class MemoryStore:
    """A store that outlives the agent, but not the test; `watcher` is called before and after each write."""

    on_disk = True  # as for the real one: code that waits for disk writes does so

    def __init__(self) -> None:
        self.watcher: Callable[[str, str, bool], None] | None = None
        self.revision = 0
        self.epoch = ""
        self.resources: dict[Key, bytes] = {}
        self.unknown: tuple[str, ...] = ()
        self.unclaimed: frozenset[Key] = frozenset()
        self.tombstones: dict[Key, tuple[int, bool, bytes | None, bool]] = {}
        self.held: dict[str, Held] = {}

    def load(self) -> Wanted:
        wanted = Wanted()
        buried = [
            Tombstone(key, revision, force, Resource.FromString(body) if body is not None else None, done)
            for key, (revision, force, body, done) in self.tombstones.items()
        ]
        put = [Resource.FromString(body) for body in self.resources.values()]
        wanted.install(
            Change(
                self.revision,
                self.epoch,
                full=True,
                put=tuple(put),
                buried=tuple(buried),
                unknown=self.unknown,
                unclaimed=self.unclaimed,
            )
        )
        for machine_id, held in self.held.items():
            wanted.hold(machine_id, held)
        return wanted

    def save(self, change: Change) -> None:
        self._notify("store.save", done=False)
        for key in change.forgotten:
            self.tombstones.pop(key, None)
        for each in change.buried:
            self.resources.pop(each.key, None)
            body = without_key(each.body).SerializeToString() if each.body is not None else None
            self.tombstones[each.key] = (each.revision, each.force, body, each.done)
        for resource in change.put:
            named = key_of(resource)
            assert named is not None
            self.tombstones.pop(named, None)
            self.resources[named] = resource.SerializeToString()
        self.revision, self.epoch = change.revision, change.epoch
        if change.full or change.unknown:
            self.unknown = change.unknown
        if change.unclaimed is not None:
            self.unclaimed = change.unclaimed
        self._notify("store.save", done=True)

    def done(self, key: Key, revision: int) -> None:
        self._notify("store.done", done=False)
        if key in self.tombstones and self.tombstones[key][0] == revision:
            self.tombstones[key] = (revision, self.tombstones[key][1], None, True)
        self._notify("store.done", done=True)

    def forget(self, revisions: Iterable[tuple[Key, int]]) -> None:
        self._notify("store.forget", done=False)
        for key, revision in revisions:
            if key in self.tombstones and self.tombstones[key][0] == revision:
                del self.tombstones[key]
        self._notify("store.forget", done=True)

    def hold(self, machine_id: str, held: Held) -> None:
        self._notify("store.hold", done=False)
        if held:
            self.held[machine_id] = held
        else:
            self.held.pop(machine_id, None)
        self._notify("store.hold", done=True)

    def close(self) -> None:
        pass

    def _notify(self, name: str, *, done: bool) -> None:
        if self.watcher is not None:
            self.watcher(name, "", done)


class Bench:
    """One simulated host with one agent, on a stepped clock."""

    def __init__(
        self, *, durations: Durations | None = None, store: Store | None = None, habits: Habits | None = None
    ) -> None:
        self.clock = SteppedClock()
        self.host = SimulatedHost(self.clock, durations=durations)
        self.store = store or MemoryStore()
        self.habits = habits
        self.reported: list[ResourceStatus] = []
        self.calls: list[tuple[str, str]] = []
        self._deaths: int | None = None
        self.host.world.watcher = self._watch
        if isinstance(self.store, MemoryStore):
            self.store.watcher = self._watch
        self.reconciler = self._new_agent()

    def _new_agent(self) -> Reconciler:
        reconciler = Reconciler(self.host.subsystems, self.store, habits=self.habits, clock=self.clock.now)
        self.host.machines.subscribe(reconciler.notice_machine)
        self.host.reachability.subscribe(reconciler.notice_machine)
        self.host.credits.subscribe(reconciler.notice_machine)
        return reconciler

    # -- restarts

    def restart(self) -> None:
        """Kill the agent's process at this instant, and start a new one."""
        self._deaths = None
        self.host.restart_agent()
        self.reconciler = self._new_agent()

    def reboot(self) -> None:
        """Reboot the host."""
        self._deaths = None
        self.host.reboot()
        self.reconciler = self._new_agent()

    def die_at(self, call: int) -> None:
        """Make the agent's process die before or after a later call: 0 = before the first, 1 = after it, and so on."""
        self._deaths = call

    def _watch(self, name: str, subject: str, done: bool) -> None:
        if not done:
            self.calls.append((name, subject))
        if self._deaths is not None:
            if self._deaths == 0:
                raise Killed
            self._deaths -= 1

    # -- time

    def tell(self, message: DesiredState) -> None:
        """Deliver a message of the controller to the agent."""
        self.reconciler.apply_now(message)

    def work(self, order: Iterator[int] | None = None) -> None:
        """Do all work that is possible now; `order` chooses among units of work that run concurrently."""
        begun: list[Work] = []
        while True:
            if order is None:
                work = self.reconciler.begin()
                if work is None:
                    return
            else:
                while len(begun) < 4 and (started := self.reconciler.begin()) is not None:
                    begun.append(started)
                if not begun:
                    return
                work = begun.pop(next(order, 0) % len(begun))
            self.reconciler.finish(work, perform(work, self.reconciler.requests.of(work.unit)))

    def settle(self, message: DesiredState | None = None, *, seconds: float = 600.0) -> None:
        """Deliver a message, then work and advance the clock until nothing is left to do."""
        if message is not None:
            self.tell(message)
        end = self.clock.now() + seconds
        while True:
            self.work()
            due = self.reconciler.next_time()
            if self.clock.now() >= end or (due is None and self.clock.is_quiet):
                return
            self.clock.step(max(0.0, min(end if due is None else due, end) - self.clock.now()))

    def sweep(self) -> None:
        """Remove all that is not part of the desired state."""
        while self.reconciler.remove_strays(frozenset(list_present(self.host.subsystems))):
            self.settle()

    # -- reports to the controller

    def report(self) -> dict[Key, ResourceStatus]:
        """Take what the agent would send now; return the latest reported status of each resource."""
        while self.reconciler.reports.has_news():
            self.reported += self.reconciler.reports.take()
        return {Key(each.kind, each.id): each for each in self.reported}

    def machine(self, machine_id: str) -> host_pb2.MachineStatus:
        """The last reported status of a machine."""
        return self.report()[Key(desired_pb2.KIND_MACHINE, machine_id)].machine

    @property
    def reached(self) -> int:
        """The revision that the agent reports as reached."""
        self.report()
        return self.reconciler.reports.reached(self.reconciler.wanted.revision)
