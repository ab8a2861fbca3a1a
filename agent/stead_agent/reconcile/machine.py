"""Work on one machine: observed and desired state are compared, and steps taken until nothing is left to do."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Final

from stead_agent.credits.interface import Balance
from stead_agent.desired import Store
from stead_agent.disks.volumes.interface import VolumeError, VolumeSource
from stead_agent.logs import Log
from stead_agent.machines.interface import (
    FirmwareState,
    MachineError,
    MachineSpec,
    MachineStatus,
    MachinesUnavailableError,
    OffReason,
    Power,
)
from stead_agent.metadata.interface import Guest
from stead_agent.reachability.interface import Answers, Finding
from stead_agent.reconcile import translate
from stead_agent.reconcile.metadata_guests import GuestBook
from stead_agent.reconcile.plan import MachinePlan, MachineView, Step, Then, plan_machine, plan_removal
from stead_agent.reconcile.reading import LOOK_SECONDS, Reading, waits_for
from stead_agent.reconcile.reports import status
from stead_agent.reconcile.subsystems import Subsystems
from stead_agent.reconcile.work import Outcome, Unmet
from stead_agent.wanted import Held, Key
from stead_proto.v1 import desired_pb2, host_pb2
from stead_proto.v1.desired_pb2 import Resource
from stead_proto.v1.host_pb2 import ResourceStatus

_log = Log(__name__)

_MOST_ROUNDS: Final = 6
_UNCERTAIN_SECONDS: Final = 2.0
_END_SECONDS: Final = 30.0
_ROOM_SECONDS: Final = 5.0
_ASK_AGAIN_SECONDS: Final = 5.0  # a guest that was still booting has ignored the request to release a device


@dataclass(slots=True)
class MachineMemory:
    """What is remembered of a machine between runs of its work; only the running work uses it."""

    spec: MachineSpec | None = None  # what the running guest is known to have
    releasing: frozenset[str] = frozenset()  # what the guest was asked to release, and has not released yet
    asked_at: float = -1.0  # time of the run in which it was asked
    resumed_at: float = -1.0  # time of the run in which a guest that waited for room was resumed
    reading: Reading = field(default_factory=Reading)
    impaired: frozenset[tuple[str, str]] = frozenset()  # volumes, and what was wrong with each at the last check
    started: int = 0  # the start that this agent has seen
    reboot_asked: int = 0
    hastened: int = 0  # the start whose stop was hastened
    unsaved: int = 0  # the start whose guest could not be hibernated
    removal_asked: bool = False
    grace_ends: float = 0.0


@dataclass(slots=True)
class MachineWork:
    """A machine, desired or (with `resource` None) to be removed."""

    unit: Key
    resource: Resource | None
    force: bool  # remove without a grace period
    grace_seconds: float
    now: float
    look_only: bool
    unmet: Unmet  # disks and interfaces
    known: dict[str, Resource]  # its volumes, interfaces, subnets and VPCs by id
    order: int
    to_snapshot: frozenset[str]  # its volumes with a snapshot whose work has not run yet
    has_store: bool  # it has an instance store, or may have one
    held: Held  # what the guest may have in use, as recorded
    may_hold: Held  # the same, with all that this run may add
    memory: MachineMemory
    parts: Subsystems
    store: Store
    book: GuestBook
    last_seen: host_pb2.MachineStatus | None = None  # as it was before the first step
    being_read: frozenset[str] = frozenset()  # disks that the guest does not get yet, since snapshots need them

    def run(self) -> Outcome:
        """Take the steps that are due."""
        seen = self.parts.machines.status(self.unit.id)
        self.last_seen = translate.machine_status(seen)
        plan = self._plan(seen)
        rounds = 0
        while plan.steps and not self.look_only and rounds < _MOST_ROUNDS:
            rounds += 1
            for step in plan.steps:
                seen = self._take(step, seen)
            if plan.then is Then.GONE:
                break
            plan = self._plan(seen)
        if self.has_store and not self.look_only and _has_ended(plan, seen):
            self.parts.volumes.remove_instance_store(self.unit.id)
        if not self.look_only and _needs_no_devices(plan, seen):
            self.parts.pci.release(self.unit.id)
        return self._outcome(plan, seen)

    def subjects(self) -> Iterable[tuple[Key, int]]:
        """Return the machine."""
        return [(self.unit, self.resource.revision)] if self.resource is not None else []

    # -- deciding

    def _plan(self, seen: MachineStatus | None) -> MachinePlan:
        if self.resource is None:
            over = self.memory.removal_asked and self.now >= self.memory.grace_ends
            return plan_removal(seen, force=self.force, asked=self.memory.removal_asked, grace_over=over)
        self.being_read = frozenset()
        plan = plan_machine(self.resource.machine, self._view(seen))
        self.being_read = self._being_read(plan, seen)
        return plan_machine(self.resource.machine, self._view(seen)) if self.being_read else plan

    def _view(self, seen: MachineStatus | None) -> MachineView:
        """Collect what is known of a machine that is desired."""
        assert self.resource is not None
        runs = seen is not None and seen.power not in {Power.OFF, Power.UNKNOWN}
        runs &= self.resource.machine.power == desired_pb2.POWER_RUNNING  # else nothing is to be attached any more
        guest = self._guest()
        return MachineView(
            status=seen,
            needs_met=not self.unmet and not self.being_read,
            can_update=self._can_update(),
            up_to_date=not runs or seen is None or self._is_up_to_date(seen),
            has_room=seen is not None and self._has_room(seen),
            releasing=bool(self.memory.releasing) and self.memory.asked_at == self.now,
            metadata_current=self.book.is_current(guest),
            reboot_asked=self.memory.reboot_asked >= self.resource.machine.reboot_count,
            can_hibernate=seen is None or self.memory.unsaved != seen.start_count,
            hastened=seen is not None and self.memory.hastened == seen.start_count,
        )

    def _being_read(self, plan: MachinePlan, seen: MachineStatus | None) -> frozenset[str]:
        """List the disks that a plan gives to the guest and that a snapshot needs as they are, for a bounded time."""
        if not {Step.START, Step.UPDATE} & {*plan.steps}:
            if plan.then is Then.SETTLED:  # else it goes on with what was held up
                self.memory.reading = Reading()
            return frozenset()
        assert self.resource is not None
        has = seen.volume_ids if seen is not None else frozenset()
        given = frozenset(each.volume_id for each in self.resource.machine.disks) - has
        found = self.parts.snapshots.being_read(given) | (self.to_snapshot & given)
        if found and self.memory.reading == Reading():
            _log.info("machine_waits_for_snapshots", machine=self.unit.id, volumes=",".join(sorted(found)))
        return self.memory.reading.kept(found, self.now)

    def _can_update(self) -> bool:
        """Tell whether only disks are missing, all of them known: these can be left out."""
        return all(unit.kind == desired_pb2.KIND_VOLUME and unit.id in self.known for unit in self.unmet.units)

    def _is_up_to_date(self, seen: MachineStatus) -> bool:
        """Tell whether a running guest has all that it can have now.

        What libvirt shows counts as well: a disk may be missing that was being detached when it was desired again.
        """
        if not self._can_update():
            return True
        spec = self._spec(seen)
        volumes = {disk.id for disk in spec.disks if disk.id in self.known}
        return self.memory.spec == spec and seen.volume_ids == volumes and not seen.dead_nics

    def _has_room(self, seen: MachineStatus) -> bool:
        """Tell whether a guest that waits for room on its disks can be resumed; tried once in a run."""
        return self.memory.resumed_at != self.now and all(self.parts.volumes.has_room(each) for each in seen.full)

    def _guest(self) -> Guest:
        assert self.resource is not None
        return translate.guest(self.resource, self.known)

    def _spec(self, seen: MachineStatus | None = None) -> MachineSpec:
        """Return the desired machine, without disks that are not ready, except those that `seen` has."""
        assert self.resource is not None
        sources = {}
        has = seen.volume_ids if seen is not None else frozenset()
        for disk in self.resource.machine.disks:
            if disk.HasField("instance_store"):
                store_id = translate.disk_id(self.unit.id, disk)
                if (store := self.parts.volumes.source(store_id)) is not None:
                    sources[store_id] = store
                continue
            is_ready = Key(desired_pb2.KIND_VOLUME, disk.volume_id) not in self.unmet.units
            if disk.volume_id not in has and (not is_ready or disk.volume_id in self.being_read):
                continue
            sources[disk.volume_id] = self._source(self.known[disk.volume_id])
        return translate.machine_spec(self.resource, self.known, sources)

    def _source(self, volume: Resource) -> VolumeSource:
        """Return how the guest opens a volume, of this host or of another."""
        if volume.volume.HasField("export"):
            raise VolumeError(f"{volume.id} is another host's to use")
        if volume.volume.HasField("remote"):
            proxy = self.parts.exports.source(volume.id)
            source = VolumeSource(proxy, "raw", None) if proxy is not None else None
        else:
            source = self.parts.volumes.source(volume.id)
        if source is None:
            raise VolumeError(f"{volume.id} is not on this host any more")
        return source

    # -- acting

    def _take(self, step: Step, seen: MachineStatus | None) -> MachineStatus | None:
        """Take one step and return the status observed after it."""
        machines, machine_id = self.parts.machines, self.unit.id
        match step:
            case Step.PUT_METADATA:
                self.book.put(self.order, self._guest())
            case Step.START:
                return self._start(seen)
            case Step.UPDATE:
                spec = self._spec(seen)
                self._note_holding(self.may_hold)
                self._release(spec, seen)
                self.memory.spec = None  # if it fails halfway, it is unknown what the guest has
                self.memory.releasing = machines.update(spec)
                self._settle(spec)
                self.memory.asked_at = self.now
                if not self.memory.releasing:
                    self.memory.spec = spec
                seen = machines.status(machine_id)
            case Step.RESUME:
                machines.resume(machine_id)
                self.memory.resumed_at = self.now
                _log.info("machine_resumed", machine=machine_id)
                seen = machines.status(machine_id)
            case Step.REBOOT:
                assert self.resource is not None
                seen = machines.reboot(machine_id, self.resource.machine.reboot_count)
                self.memory.reboot_asked = self.resource.machine.reboot_count
                _log.info("machine_rebooted", machine=machine_id, reboot=self.memory.reboot_asked)
            case Step.HIBERNATE:
                return self._hibernate(seen)
            case Step.ASK_TO_STOP | Step.HASTEN_STOP | Step.PULL_PLUG:
                hastened, forced = step is Step.HASTEN_STOP, step is Step.PULL_PLUG
                seen = machines.stop(machine_id, force=forced, hasten=hastened)
                self.memory.hastened = seen.start_count if hastened else self.memory.hastened
                _log.info("machine_stopped", machine=machine_id, hastened=hastened, forced=forced)
                if self.resource is None:
                    self.memory.removal_asked = True
                    self.memory.grace_ends = self.now + self.grace_seconds
            case Step.REMOVE:
                machines.remove(machine_id)
                self.parts.firmware.remove(machine_id)
                if seen is not None:
                    _log.info("machine_removed", machine=machine_id)
                seen = None
            case Step.REMOVE_METADATA:
                self.book.remove(machine_id)
        return seen

    def _start(self, seen: MachineStatus | None) -> MachineStatus:
        assert self.resource is not None
        wanted = self.resource.machine
        # Else the host went down during this start, or the start is one that leaves the instance store as it is.
        is_new = seen is None or seen.start_count < (wanted.stores_since or wanted.start_count)
        for disk in wanted.disks:
            if disk.HasField("instance_store"):
                disk_id = translate.disk_id(self.unit.id, disk)
                self.parts.volumes.ensure_instance_store(disk_id, disk.instance_store.size, fresh=is_new)
        spec = self._spec()
        self._note_holding(self.may_hold)
        self._release(spec, None)
        self.parts.pci.assign(self.unit.id, spec.devices)
        self._lay_firmware(seen)
        self.memory.spec = None
        started = self.parts.machines.start(spec, wanted.start_count, wanted.reboot_count)
        if seen is None or not seen.hibernated:  # else it has the devices and limits that it had before: see `UPDATE`
            self._settle(spec)
            self.memory.spec = spec
        self.memory.started = started.start_count
        self.memory.reboot_asked = max(self.memory.reboot_asked, wanted.reboot_count)
        _log.info("machine_started", machine=self.unit.id, start=wanted.start_count)
        return started

    def _lay_firmware(self, seen: MachineStatus | None) -> None:
        """Lay what a guest had stored on another host, unless it has been started here since."""
        assert self.resource is not None
        kept = self.resource.machine.firmware
        if self.resource.machine.HasField("firmware") and (seen is None or seen.start_count <= kept.start_count):
            self.parts.firmware.lay(self.unit.id, FirmwareState(kept.variables, kept.tpm))
            _log.info("firmware_laid", machine=self.unit.id, start=kept.start_count)

    def _settle(self, spec: MachineSpec) -> None:
        """Have the network limit the interfaces of a guest that has just got them; if it fails, it is updated again."""
        vpcs: dict[str, set[str]] = {}
        for nic in spec.nics:
            vpcs.setdefault(self.known[nic.interface_id].interface.vpc_id, set()).add(nic.interface_id)
        for vpc_id, interface_ids in vpcs.items():
            self.parts.network.settle(vpc_id, interface_ids)

    def _hibernate(self, seen: MachineStatus | None) -> MachineStatus | None:
        """Hibernate a guest; one that cannot be is stopped by the plan that follows."""
        assert self.resource is not None
        root = self.known.get(self.resource.machine.disks[0].volume_id)
        try:
            seen = self.parts.machines.hibernate(self.unit.id, root.volume.encryption_key if root else b"")
        except MachinesUnavailableError:
            raise
        except MachineError as error:
            _log.warning("machine_not_hibernated", machine=self.unit.id, reason=str(error))
            self.memory.unsaved = seen.start_count if seen is not None else 0
        else:
            _log.info("machine_hibernated", machine=self.unit.id)
        return seen

    def _release(self, spec: MachineSpec, seen: MachineStatus | None) -> None:
        """Stop reads of the volumes that the guest is about to get: no other process may have them open."""
        has = seen.volume_ids if seen is not None else frozenset()
        self.parts.snapshots.release(disk.id for disk in spec.disks if disk.id in self.known and disk.id not in has)

    def _note_holding(self, held: Held) -> None:
        """Record what the guest may have in use, before it gets that or after it has released it."""
        if held != self.held:
            self.store.hold(self.unit.id, held)
            self.held = held

    # -- reporting

    def _outcome(self, plan: MachinePlan, seen: MachineStatus | None) -> Outcome:
        if plan.then is Then.GONE and not self.look_only:
            self.parts.reachability.forget(self.unit.id)
            last = self.parts.credits.forget(self.unit.id)
            self._note_holding(Held())
            return Outcome(gone=[self.unit], last_words=translate.last_words(last))
        held = self._holding(seen)
        if held is not None:
            self._note_holding(held)
        self._reach_homes(seen)
        outcome = Outcome(looked_at=self._volumes_to_report(seen))
        if (word := self._status(plan, seen)) is not None:
            outcome.statuses.append(word)
        match plan.then:
            case Then.WAITING_FOR_NEEDS:
                outcome.wait_on = self.unmet.units
                outcome.wait_seconds = LOOK_SECONDS if self.being_read else None
            case Then.WAITING_FOR_GRACE:
                if not self.memory.removal_asked:
                    self.memory.removal_asked = True
                    self.memory.grace_ends = self.now + self.grace_seconds
                outcome.wait_seconds = max(0.0, self.memory.grace_ends - self.now)
            case Then.WAITING_FOR_GUEST:
                outcome.wait_seconds = _ASK_AGAIN_SECONDS
            case Then.WAITING_FOR_SPACE:
                outcome.wait_seconds = _ROOM_SECONDS
            case Then.WAITING_FOR_END:
                outcome.wait_seconds = _END_SECONDS
            case Then.UNCERTAIN:
                outcome.wait_seconds = _UNCERTAIN_SECONDS
            case Then.SETTLED | Then.GONE:
                pass
        return outcome

    def _volumes_to_report(self, seen: MachineStatus | None) -> frozenset[Key]:
        """List the volumes that are full or stalled, or are so no longer, since the last check of the guest."""
        full, stalled = (seen.full, seen.stalled) if seen is not None else (frozenset(), frozenset())
        impaired = frozenset({(each, "full") for each in full} | {(each, "stalled") for each in stalled})
        changed, self.memory.impaired = self.memory.impaired ^ impaired, impaired
        return frozenset(Key(desired_pb2.KIND_VOLUME, each) for each, _ in changed if each in self.known)

    def _reach_homes(self, seen: MachineStatus | None) -> None:
        """Connect a guest directly to the homes of the volumes of other hosts that it keeps, if their proxies work.

        One that is to stop is left alone: it would be asked, by who holds its lock, in the moment in which it ends.
        """
        if self.resource is None or seen is None or seen.power in {Power.OFF, Power.UNKNOWN, Power.STOPPING}:
            return
        wanted = (self.known[each.volume_id] for each in self.resource.machine.disks if each.volume_id in self.known)
        homes = [
            translate.disk_home(volume)
            for volume in wanted
            if volume.volume.HasField("remote")
            and volume.id in seen.volume_ids
            and Key(desired_pb2.KIND_VOLUME, volume.id) not in self.unmet.units
        ]
        self.parts.machines.reach_homes(self.unit.id, homes)

    def _holding(self, seen: MachineStatus | None) -> Held | None:
        """Return what the machine has in use now; None when that is as uncertain as before."""
        if seen is None or seen.power is Power.OFF:
            self.memory.spec = None
            return Held()
        spec = self.memory.spec
        if spec is None:
            return None
        return Held(frozenset(disk.id for disk in spec.disks), frozenset(nic.interface_id for nic in spec.nics))

    def _status(self, plan: MachinePlan, seen: MachineStatus | None) -> ResourceStatus | None:
        machine = translate.machine_status(seen, self._answers(seen), self._credits(seen), self._stored(seen))
        if self.resource is None or machine is None or self._has_devices_to_return(plan, seen):
            return None
        if plan.then is Then.SETTLED:
            return status(self.unit, self.resource.revision, host_pb2.CONDITION_READY, machine=machine)
        reason = self._lacks() if plan.then is Then.WAITING_FOR_NEEDS else ""
        if plan.then is Then.WAITING_FOR_GUEST:
            reason = f"the guest has not released {', '.join(sorted(self.memory.releasing))} yet"
        if plan.then is Then.WAITING_FOR_SPACE and seen is not None:
            reason = f"the guest is paused until there is room for what it wrote to {', '.join(sorted(seen.full))}"
        failed = plan.then is Then.WAITING_FOR_NEEDS and self.unmet.failed
        condition = host_pb2.CONDITION_FAILED if failed else host_pb2.CONDITION_PENDING
        return status(self.unit, self.resource.revision, condition, reason, machine=machine)

    def _lacks(self) -> str:
        """Say what the guest waits for."""
        read = [waits_for(each) for each in sorted(self.being_read)]
        return "; ".join([self.unmet.reason, *read] if self.unmet else read)

    def _has_devices_to_return(self, plan: MachinePlan, seen: MachineStatus | None) -> bool:
        """Tell whether a guest has ended whose devices are not back: until then its end is not reported."""
        assert self.resource is not None
        has_some = bool(self.resource.machine.devices) and _needs_no_devices(plan, seen)
        return has_some and self.unit.id in self.parts.pci.holders()

    def _answers(self, seen: MachineStatus | None) -> Finding | None:
        """Return what is known of whether a running guest answers, and keep checking; None if it cannot be checked."""
        nic = translate.asked_nic(self.resource, self.known) if self.resource is not None else None
        if seen is None or seen.power is Power.OFF or nic is None:
            self.parts.reachability.forget(self.unit.id)
            return None
        fresh = self.memory.started == seen.start_count
        found = self.parts.reachability.watch(self.unit.id, nic, seen.start_count, fresh=fresh)
        if found.answers is Answers.YES and seen.agent_silent_since:  # its kernel lives, and no more than that
            return Finding(Answers.NO, seen.agent_silent_since)
        return found

    def _stored(self, seen: MachineStatus | None) -> FirmwareState | None:
        """Return what a UEFI guest has stored when its start has ended, until the controller has it."""
        if self.resource is None or seen is None or seen.power is not Power.OFF or self._runs_again(seen):
            return None
        wanted = self.resource.machine
        if wanted.boot_mode != "uefi" or seen.start_count <= wanted.firmware_kept:
            return None
        return self.parts.firmware.read(self.unit.id, tpm=wanted.HasField("tpm"))

    def _runs_again(self, seen: MachineStatus) -> bool:
        """Tell whether a machine is off since the host went down, and continues its start."""
        assert self.resource is not None
        return seen.off_reason is OffReason.HOST and self.resource.machine.power == desired_pb2.POWER_RUNNING

    def _credits(self, seen: MachineStatus | None) -> Balance | None:
        """Return a burstable machine's CPU credits, and keep counting them; None when there is nothing to say."""
        if self.resource is None or seen is None or seen.power is Power.UNKNOWN:
            return None
        terms = translate.credit_terms(self.resource)
        if terms is None:
            self.parts.credits.forget(self.unit.id)
            return None
        # A start with another root volume is no new one, as it is none for the instance store.
        since = self.resource.machine.stores_since or seen.start_count
        if seen.power is not Power.OFF:
            return self.parts.credits.watch(self.unit.id, terms, since)
        goes_on = self._runs_again(seen) or self._gets_another_root(seen)
        return None if goes_on else self.parts.credits.rest(self.unit.id, terms)

    def _gets_another_root(self, seen: MachineStatus) -> bool:
        """Tell whether a machine is off only until it is started with another root volume."""
        assert self.resource is not None
        wanted = self.resource.machine
        runs_on = wanted.stores_since > 0 and wanted.power == desired_pb2.POWER_RUNNING
        return runs_on and seen.start_count < wanted.start_count


def _needs_no_devices(plan: MachinePlan, seen: MachineStatus | None) -> bool:
    """Tell whether no guest of a machine has devices of the host, and none is about to get them."""
    is_off = seen is None or seen.power is Power.OFF
    return plan.then is Then.GONE or (is_off and plan.then is Then.SETTLED)


def _has_ended(plan: MachinePlan, seen: MachineStatus | None) -> bool:
    """Tell whether a machine's start has finally ended, so that its instance store is lost."""
    if plan.then is Then.GONE:
        return True
    is_off = seen is not None and seen.power is Power.OFF and seen.off_reason is not OffReason.HOST
    return is_off and plan.then is Then.SETTLED
