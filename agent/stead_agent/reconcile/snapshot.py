"""Work on snapshots: take the instant where the disks are in use, and follow the progress of reading."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Final

from stead_agent.disks.snapshots.interface import QuietDisk, SnapshotError, SnapshotGroup
from stead_agent.logs import Log
from stead_agent.machines.interface import MachinesUnavailableError, Power
from stead_agent.reconcile import translate
from stead_agent.reconcile.reports import status
from stead_agent.reconcile.subsystems import Subsystems
from stead_agent.reconcile.work import Outcome
from stead_agent.wanted import Key
from stead_proto.v1 import desired_pb2, host_pb2
from stead_proto.v1.desired_pb2 import Resource

_log = Log(__name__)

_LOST: Final = "the instant is over at which other snapshots of its set were taken"
_LOOK_SECONDS: Final = 2.0  # a snapshot's progress event triggers a check sooner
# A guest's firmware takes about a second before another system begins to write to the disk.
_REBOOT_LOOK_SECONDS: Final = 0.1


@dataclass(slots=True)
class SnapshotWork:
    """A snapshot, desired or (with `resource` None) to be removed."""

    unit: Key
    resource: Resource | None
    parts: Subsystems
    group: tuple[Resource, ...] = ()  # all snapshots of its instant on this host, including itself
    absent: frozenset[str] = (
        frozenset()
    )  # volumes of its set that are on this host and whose snapshots are not known yet
    users: dict[str, frozenset[str]] = field(default_factory=dict)  # machines that may have each of the volumes in use
    volumes: dict[str, Resource] = field(default_factory=dict)  # as far as they are known
    busy: frozenset[Key] = frozenset()  # those of them whose work is running

    def run(self) -> Outcome:
        """Take it, and report its progress; or remove it."""
        if self.resource is None:
            self.parts.snapshots.remove(self.unit.id)
            return Outcome(gone=[self.unit])
        if self.absent and self.unit.id not in self.parts.snapshots.present():  # once begun, others may be complete
            return self._waiting(f"waiting for the snapshots of {', '.join(sorted(self.absent))}")
        if self.busy:
            return Outcome(wait_on=self.busy)
        if self.unit.id not in self.parts.snapshots.present() and self._awaits_reboot():
            return self._waiting("waiting for its machine's reboot", _REBOOT_LOOK_SECONDS)
        done = self.parts.snapshots.ensure(self._group())[self.unit.id]
        reported = translate.snapshot_status(done)
        if done.lost:
            word = status(self.unit, self.resource.revision, host_pb2.CONDITION_FAILED, _LOST, snapshot=reported)
            return Outcome([word])
        condition = host_pb2.CONDITION_READY if done.complete else host_pb2.CONDITION_PENDING
        word = status(self.unit, self.resource.revision, condition, snapshot=reported)
        return Outcome([word], wait_seconds=None if done.complete else _LOOK_SECONDS)

    def subjects(self) -> Iterable[tuple[Key, int]]:
        """Return the snapshot."""
        return [(self.unit, self.resource.revision)] if self.resource is not None else []

    def _waiting(self, reason: str, seconds: float = _LOOK_SECONDS) -> Outcome:
        assert self.resource is not None
        word = status(self.unit, self.resource.revision, host_pb2.CONDITION_PENDING, reason)
        return Outcome([word], wait_seconds=seconds)

    def _awaits_reboot(self) -> bool:
        """Tell whether the guest that has the volume must reboot first, so that all its writes are on the disk."""
        assert self.resource is not None
        wanted = self.resource.snapshot
        for machine_id in self.users[wanted.volume_id] if wanted.after_reboot else ():
            seen = self.parts.machines.status(machine_id)
            if seen is not None and seen.power is not Power.OFF and wanted.volume_id in seen.volume_ids:
                return seen.reboot_count < wanted.after_reboot
        return False

    def _group(self) -> SnapshotGroup:
        """Determine where the disks are now."""
        specs = tuple(translate.snapshot_spec(each) for each in self.group)
        name = self.group[0].snapshot.set_id or self.unit.id
        places = {each.volume_id: self._machine_of(each.volume_id) for each in specs}
        machines = {machine_id for machine_id in places.values() if machine_id}
        if len(machines) > 1:
            raise SnapshotError(f"{name}: its volumes are in several machines")
        quiet = tuple((each, self._quiet(each)) for each, machine_id in places.items() if not machine_id)
        return SnapshotGroup(name, specs, machines.pop() if machines else "", quiet)

    def _machine_of(self, volume_id: str) -> str:
        """Return the machine to whose running guest a volume is attached; empty if none."""
        for machine_id in self.users[volume_id]:
            seen = self.parts.machines.status(machine_id)
            if seen is not None and seen.power is Power.UNKNOWN:
                raise MachinesUnavailableError(f"{machine_id} may use {volume_id}, and libvirt cannot be asked")
            if seen is not None and seen.power is not Power.OFF and volume_id in seen.volume_ids:
                return machine_id
        return ""

    def _quiet(self, volume_id: str) -> QuietDisk:
        if self.parts.exports.generation(volume_id) is not None:
            raise SnapshotError(f"{volume_id} is in use on another host")
        volume = self.volumes[volume_id].volume if volume_id in self.volumes else desired_pb2.Volume()
        source = self.parts.volumes.source(volume_id)
        if source is None:
            brought = self.parts.exports.source(volume_id)
            if brought is None:
                raise SnapshotError(f"{volume_id} is not on this host")
            return translate.brought_disk(brought, volume.remote.generation)  # its home decrypts it
        if volume.encrypted and not volume.encryption_key:
            raise SnapshotError(f"{volume_id} is encrypted, and its key has not come")
        return translate.quiet_disk(source, volume.encryption_key)
