"""Work on bases and volumes: fetch, create, grow and remove them."""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Final

from stead_agent.disks.volumes.interface import VolumeError, VolumeSpec
from stead_agent.logs import Log
from stead_agent.machines.interface import MachinesUnavailableError, Power
from stead_agent.reconcile import translate
from stead_agent.reconcile.plan import VolumeStep, plan_volume
from stead_agent.reconcile.reading import LOOK_SECONDS, Reading, waits_for
from stead_agent.reconcile.reports import status
from stead_agent.reconcile.subsystems import Subsystems
from stead_agent.reconcile.work import Outcome, Unmet
from stead_agent.wanted import Key
from stead_proto.v1 import host_pb2
from stead_proto.v1.desired_pb2 import Resource
from stead_proto.v1.host_pb2 import ResourceStatus

_log = Log(__name__)

_PATIENCE_SECONDS: Final = 15.0  # before a volume of another host is detached by force


@dataclass(slots=True)
class BaseWork:
    """A base, desired or (with `resource` None) to be removed."""

    unit: Key
    resource: Resource | None
    overlays: frozenset[Key]  # volumes over it that must be removed first
    parts: Subsystems

    def run(self) -> Outcome:
        """Make it ready to be read, or remove it."""
        if self.resource is not None:
            self.parts.bases.ensure(translate.base_spec(self.resource))
            return Outcome(statuses=[status(self.unit, self.resource.revision, host_pb2.CONDITION_READY)])
        if self.overlays:
            return Outcome(wait_on=self.overlays)
        self.parts.bases.remove(self.unit.id)
        _log.info("base_removed", base=self.unit.id)
        return Outcome(gone=[self.unit])

    def subjects(self) -> Iterable[tuple[Key, int]]:
        """Return the base."""
        return [(self.unit, self.resource.revision)] if self.resource is not None else []


@dataclass(slots=True)
class VolumeWork:
    """A volume, desired or (with `resource` None) to be removed."""

    unit: Key
    resource: Resource | None
    unmet: Unmet  # its base
    users: frozenset[Key]  # machines that may have it in use
    busy: frozenset[Key]  # those of them whose work is running
    snapshots: frozenset[Key]  # snapshots of it still being taken
    confirmed_by: bytes  # the authorities of the controller that has named it, which its users have, too; empty: none
    by_former: bool  # it is served by the host's former certificate, if there is one: its users may know that alone
    parts: Subsystems
    now: float
    reading: Reading
    waits_since: float | None = None  # for its users to release it, before it is detached by force

    def run(self) -> Outcome:
        """Create, grow, export or remove it."""
        if self.resource is None:
            return self._remove()
        if self.unmet:
            condition = host_pb2.CONDITION_FAILED if self.unmet.failed else host_pb2.CONDITION_PENDING
            waiting = status(self.unit, self.resource.revision, condition, self.unmet.reason)
            return Outcome(statuses=[waiting], wait_on=self.unmet.units)
        spec = translate.volume_spec(self.resource)
        if self.resource.volume.HasField("export"):
            return self._share(self.resource, spec)
        self.parts.exports.end(spec.id)
        size = self.parts.volumes.size(spec.id)
        if size is not None and size < spec.size and self.busy:
            return Outcome(wait_on=self.busy)
        runs_in = self._runs_in() if size is not None and size < spec.size else None
        if plan_volume(spec.size, size, guest_runs=runs_in is not None) is VolumeStep.GROW_LIVE and runs_in:
            self.parts.volumes.make_room(spec.id, spec.size)
            self.parts.machines.resize_disk(runs_in, spec.id, spec.size)
            _log.info("volume_grown_live", volume=spec.id, machine=runs_in, size=spec.size)
        else:
            self.parts.volumes.ensure(spec)
            if size is None:
                _log.info("volume_made", volume=spec.id, size=spec.size, base=spec.base_id)
        return Outcome(statuses=[self._ready()])

    def _share(self, resource: Resource, spec: VolumeSpec) -> Outcome:
        """Serve it to another host, once no guest of this one may have it in use, and grow it while it is served."""
        if self.users:
            reason = f"{', '.join(sorted(user.id for user in self.users))} may still have it"
            waiting = status(self.unit, resource.revision, host_pb2.CONDITION_PENDING, reason)
            return Outcome(statuses=[waiting], wait_on=self.users)
        if self.parts.exports.generation(spec.id) != resource.volume.export.generation:
            if self.reading.kept(self.parts.snapshots.being_read([spec.id]), self.now):
                reason = waits_for(spec.id)
                waiting = status(self.unit, resource.revision, host_pb2.CONDITION_PENDING, reason)
                return Outcome(statuses=[waiting], wait_seconds=LOOK_SECONDS)
            self.parts.exports.end(spec.id)
            self.parts.snapshots.release([spec.id])
            self.parts.volumes.ensure(spec)
        elif (size := self.parts.volumes.size(spec.id)) is not None and size < spec.size:
            self.parts.volumes.make_room(spec.id, spec.size)
            self.parts.exports.grow(spec.id, spec.size)
        source = self.parts.volumes.source(spec.id)
        if source is None:
            raise VolumeError(f"{spec.id} is not on this host any more")
        export = translate.volume_export(resource, source)
        self.parts.exports.serve(replace(export, confirmed_by=self.confirmed_by, by_former=self.by_former))
        return Outcome(statuses=[self._ready()])

    def _ready(self) -> ResourceStatus:
        """Return the ready status, with what a guest sees of it."""
        assert self.resource is not None
        size = self.parts.volumes.size(self.unit.id) or 0
        seen_by_guest = volume_status(self.parts, self.unit, self.users, size)
        return status(self.unit, self.resource.revision, host_pb2.CONDITION_READY, volume=seen_by_guest)

    def _remove(self) -> Outcome:
        if self.users or self.snapshots:
            if self.waits_since is None or self.parts.exports.source(self.unit.id) is None:
                return Outcome(wait_on=self.users | self.snapshots)
            left = self.waits_since + _PATIENCE_SECONDS - self.now
            if left <= 0:
                self.parts.exports.refuse(self.unit.id)
                for user in self.users:
                    self.parts.machines.cut_off(user.id, self.unit.id)
            return Outcome(wait_on=self.users | self.snapshots, wait_seconds=left if left > 0 else None)
        self.parts.exports.end(self.unit.id)
        self.parts.volumes.remove(self.unit.id)
        _log.info("volume_removed", volume=self.unit.id)
        return Outcome(gone=[self.unit])

    def _runs_in(self) -> str | None:
        """Return the machine whose running guest uses the volume, if there is one."""
        for user in self.users:
            seen = self.parts.machines.status(user.id)
            if seen is not None and seen.power is Power.UNKNOWN:
                raise VolumeError(f"{user.id} may use it, and libvirt cannot be asked")
            if seen is not None and self.unit.id in seen.volume_ids:
                return user.id
        return None

    def subjects(self) -> Iterable[tuple[Key, int]]:
        """Return the volume."""
        return [(self.unit, self.resource.revision)] if self.resource is not None else []


def volume_status(parts: Subsystems, unit: Key, users: Iterable[Key], size: int) -> host_pb2.VolumeStatus:
    """Return what these guests see of a volume of this size.

    It is full when one of them is paused because there was no room for its writes, and stalled when the requests of one
    are not done.
    """
    is_full = is_stalled = False
    for user in users:
        try:
            seen = parts.machines.status(user.id)
        except MachinesUnavailableError:
            continue  # unknown now; when libvirt is back, all machines are reconciled, and then this
        if seen is not None:
            is_full |= unit.id in seen.full
            is_stalled |= unit.id in seen.stalled
    return host_pb2.VolumeStatus(size=size, full=is_full, stalled=is_stalled)
