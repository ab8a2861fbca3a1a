"""What all units of work have in common: prepared on the event loop, done in any thread, they give an outcome."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Protocol

from stead_agent.desired import StoreError
from stead_agent.dhcp.interface import DhcpError
from stead_agent.disks.bases.interface import BaseError
from stead_agent.disks.exports.interface import ExportError
from stead_agent.disks.snapshots.interface import SnapshotError
from stead_agent.disks.volumes.interface import VolumeError
from stead_agent.endpoints.interface import EndpointError
from stead_agent.firewall.interface import FirewallError
from stead_agent.machines.interface import MachineError
from stead_agent.metadata.interface import MetadataError
from stead_agent.network.interface import NetworkError
from stead_agent.reconcile.translate import Untranslatable
from stead_agent.wanted import Key
from stead_proto.v1.host_pb2 import ResourceStatus

EXPECTED_ERRORS = (
    BaseError,
    DhcpError,
    EndpointError,
    ExportError,
    FirewallError,
    MachineError,
    MetadataError,
    NetworkError,
    SnapshotError,
    StoreError,
    Untranslatable,
    VolumeError,
)
"""What subsystems raise when the host refuses; anything else is a mistake of ours and is logged with its stack."""


@dataclass(slots=True)
class Outcome:
    """What became of a unit that did not fail: settled, or waiting when `wait_on` or `wait_seconds` is given."""

    statuses: list[ResourceStatus] = field(default_factory=list)
    gone: list[Key] = field(default_factory=list)  # nothing of these is left
    wait_on: frozenset[Key] = frozenset()
    wait_seconds: float | None = None
    looked_at: frozenset[Key] = frozenset()  # units of which there is something new to be told

    @property
    def is_settled(self) -> bool:
        """Tell whether there is nothing to wait for."""
        return not self.wait_on and self.wait_seconds is None


class Work(Protocol):
    """A unit that was prepared: it has copies of all it needs."""

    unit: Key

    def run(self) -> Outcome:
        """Make the unit as it must be, in any thread; one of EXPECTED_ERRORS when the host refuses."""

    def subjects(self) -> Iterable[tuple[Key, int]]:
        """List what a failure of this unit is a failure of, each with its revision."""


@dataclass(frozen=True, slots=True)
class Unmet:
    """What a unit needs and has not: the units to wait for, a sentence, and whether it failed."""

    units: frozenset[Key] = frozenset()
    reason: str = ""
    failed: bool = False

    def __bool__(self) -> bool:
        """Tell whether anything is missing."""
        return bool(self.units)
