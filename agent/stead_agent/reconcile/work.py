"""The interface of all units of work: prepared on the event loop, run in any thread, with an outcome."""

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
from stead_agent.pci.interface import PciError
from stead_agent.reconcile.translate import Untranslatable
from stead_agent.wanted import Key
from stead_proto.v1 import host_pb2
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
    PciError,
    SnapshotError,
    StoreError,
    Untranslatable,
    VolumeError,
)
"""What subsystems raise when the host refuses; any other exception is a bug and is logged with its stack."""


@dataclass(slots=True)
class Outcome:
    """The result of a unit that did not fail: settled, or waiting if `wait_on` or `wait_seconds` is given."""

    statuses: list[ResourceStatus] = field(default_factory=list)
    ready: tuple[tuple[Key, int], ...] = ()  # places that are known, with their revisions; most are not told of
    gone: list[Key] = field(default_factory=list)  # nothing of these is left
    last_words: host_pb2.MachineStatus | None = None  # what is to be known of a machine that is gone
    wait_on: frozenset[Key] = frozenset()
    wait_seconds: float | None = None
    looked_at: frozenset[Key] = frozenset()  # units that have something new to report

    @property
    def is_settled(self) -> bool:
        """Tell whether there is nothing to wait for."""
        return not self.wait_on and self.wait_seconds is None


class Work(Protocol):
    """A prepared unit: it has copies of all it needs."""

    unit: Key

    def run(self) -> Outcome:
        """Apply the unit's desired state, in any thread; raises one of EXPECTED_ERRORS when the host refuses."""

    def subjects(self) -> Iterable[tuple[Key, int]]:
        """List the resources that fail if this unit fails, each with its revision."""


@dataclass(frozen=True, slots=True)
class Unmet:
    """What a unit needs and lacks: the units to wait for, a message, and whether one failed."""

    units: frozenset[Key] = frozenset()
    reason: str = ""
    failed: bool = False

    def __bool__(self) -> bool:
        """Tell whether anything is missing."""
        return bool(self.units)
