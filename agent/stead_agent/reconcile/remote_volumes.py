"""Volumes of other hosts that guests of this one use."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from stead_agent.exports.interface import HomeAwayError
from stead_agent.reconcile import translate
from stead_agent.reconcile.reports import status
from stead_agent.reconcile.subsystems import Subsystems
from stead_agent.reconcile.work import Outcome
from stead_agent.wanted import Key
from stead_proto.v1 import host_pb2
from stead_proto.v1.desired_pb2 import Resource

_HOME_SECONDS: Final = 1.0  # between two attempts to reach a home, which may be told of this later than we are


@dataclass(slots=True)
class RemoteVolumeWork:
    """A volume of another host, wanted; that it must go is `VolumeWork`'s, as with any."""

    unit: Key
    resource: Resource
    parts: Subsystems

    def run(self) -> Outcome:
        """Have a proxy for it."""
        try:
            self.parts.exports.connect(translate.remote_volume(self.resource))
        except HomeAwayError as error:
            waiting = status(self.unit, self.resource.revision, host_pb2.CONDITION_PENDING, str(error))
            return Outcome(statuses=[waiting], wait_seconds=_HOME_SECONDS)
        return Outcome(statuses=[status(self.unit, self.resource.revision, host_pb2.CONDITION_READY)])

    def subjects(self) -> Iterable[tuple[Key, int]]:
        """Give the volume."""
        return [(self.unit, self.resource.revision)]
