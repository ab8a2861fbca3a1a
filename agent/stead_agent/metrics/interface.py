"""What is measured of this host's guests: counters that only grow while a guest's process runs."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Protocol


@dataclass(frozen=True, slots=True)
class DiskCounters:
    """What a guest has done with one of its disks since it has it.

    Times are in nanoseconds: the sum of what each request took.
    """

    read_bytes: int = 0
    written_bytes: int = 0
    reads: int = 0
    writes: int = 0
    read_time: int = 0
    write_time: int = 0


@dataclass(frozen=True, slots=True)
class NicCounters:
    """What has passed one of a guest's network interfaces since it has it, as the guest sees it."""

    received_bytes: int = 0
    sent_bytes: int = 0
    received_packets: int = 0
    sent_packets: int = 0


@dataclass(frozen=True, slots=True)
class Devices:
    """The counters of a guest's devices: volumes by their ids, instance store disks and nics by any name of theirs."""

    volumes: Mapping[str, DiskCounters]
    stores: Mapping[str, DiskCounters]
    nics: Mapping[str, NicCounters]


@dataclass(frozen=True, slots=True)
class VolumeBalance:
    """What a guest has saved of the rate of all its volumes together, in percent of all that it can save."""

    bytes: float
    operations: float


@dataclass(frozen=True, slots=True)
class Reading:
    """The counters of a running guest at one moment.

    `process` names the process that runs it: no other of this boot has this name. It began at `began`, `at` is the
    moment; both are in nanoseconds since the host's boot. `cpu_time` is what its vCPUs have used, in nanoseconds.
    Without `devices` those could not be read now; without `balance` there is nothing that it could save. `memory` is
    what its process has of the host's, in bytes.
    """

    process: str
    began: int
    at: int
    cpu_time: int
    devices: Devices | None
    balance: VolumeBalance | None = None
    memory: int = 0


class Counters(Protocol):
    """Reads the counters of this host's guests."""

    def read(self, machine_ids: Collection[str]) -> Mapping[str, Reading]:
        """Return the counters of those of these machines that run; may block for some seconds, raises nothing."""
