"""Work on volumes of other hosts that guests of this one use."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from stead_agent.disks.exports.interface import HomeAwayError
from stead_agent.reconcile import translate
from stead_agent.reconcile.disks import volume_status
from stead_agent.reconcile.reports import status
from stead_agent.reconcile.subsystems import Subsystems
from stead_agent.reconcile.work import Outcome
from stead_agent.wanted import Key
from stead_proto.v1 import host_pb2
from stead_proto.v1.desired_pb2 import Resource

_HOME_SECONDS: Final = 1.0  # between attempts to reach a home, which may get its desired state later than we do


@dataclass(slots=True)
class RemoteVolumeWork:
    """A desired volume of another host; its removal is done by `VolumeWork`, as with any volume."""

    unit: Key
    resource: Resource
    users: frozenset[Key]  # machines that may have it in use
    busy: frozenset[Key]  # those of them whose work is running
    parts: Subsystems

    def run(self) -> Outcome:
        """Run a proxy for it, show its size to the guest, and report whether a guest waits for room on it."""
        if self.busy:
            return Outcome(wait_on=self.busy)
        size = self.resource.volume.size
        try:
            self.parts.exports.connect(translate.remote_volume(self.resource))
        except HomeAwayError as error:
            seen_by_guest = volume_status(self.parts, self.unit, self.users, size)
            waiting = status(
                self.unit, self.resource.revision, host_pb2.CONDITION_PENDING, str(error), volume=seen_by_guest
            )
            return Outcome(statuses=[waiting], wait_seconds=_HOME_SECONDS)
        for user in self.users:
            seen = self.parts.machines.status(user.id)
            if seen is not None and self.unit.id in seen.volume_ids:
                self.parts.machines.resize_disk(user.id, self.unit.id, size)
        seen_by_guest = volume_status(self.parts, self.unit, self.users, size)
        ready = status(self.unit, self.resource.revision, host_pb2.CONDITION_READY, volume=seen_by_guest)
        # The guest's requests wait from when its home has a new certificate until the proxy has one, too.
        is_outdated = self.parts.exports.is_outdated(self.unit.id)
        return Outcome(statuses=[ready], wait_seconds=_HOME_SECONDS if is_outdated else None)

    def subjects(self) -> Iterable[tuple[Key, int]]:
        """Return the volume."""
        return [(self.unit, self.resource.revision)]
