"""What an instance type promises; see https://docs.aws.amazon.com/ec2/latest/instancetypes/.

Every type is a KVM guest here, so all are `nitro`, whatever EC2 itself runs them on; there is no bare metal.
"""

from dataclasses import dataclass
from typing import Final

from stead_controller.catalog import boot_modes
from stead_proto.limits import EBS_BURST_SECONDS

_MIB: Final = 1024 * 1024
_MOST_SAVED: Final = 150 * 1024 * _MIB
EVERYWHERE: Final = "x86_64"
"""The architecture whose types are offered whatever hosts there are; others are where a host runs them."""


@dataclass(frozen=True, slots=True)
class InstanceStore:
    """The instance store of a type: `count` disks of `size` GB each, there always or as block devices name them."""

    count: int
    size: int
    medium: str  # ssd, hdd
    only_if_mapped: bool = False

    @property
    def total_size(self) -> int:
        """The total size of all disks in GB."""
        return self.count * self.size


@dataclass(frozen=True, slots=True)
class Credits:
    """The CPU credits of a burstable type; one credit is a vCPU for a minute.

    `per_hour` are earned, at most `most` are saved, and `baseline_percent` of each vCPU is what the earned ones pay.
    """

    per_hour: float
    most: float
    baseline_percent: float


@dataclass(frozen=True, slots=True)
class DeviceCount:
    """So many PCI devices of a model, `vendor:device`, that an instance has alone."""

    model: str
    count: int


@dataclass(frozen=True, slots=True)
class EbsLimit:
    """What all EBS volumes of an instance together may do, in megabits and in operations of up to 256 KiB per second.

    What an instance does not use of its baseline it saves, at most so much as half an hour at the maximum spends.
    """

    baseline_mbps: int
    max_mbps: int
    baseline_iops: int
    max_iops: int

    def earned(self, seconds: float) -> tuple[float, float]:
        """Return which parts of all that can be saved, of bandwidth and of operations, are saved in some idle time."""
        return (
            _part(self.baseline_mbps, self.max_mbps, seconds),
            _part(self.baseline_iops, self.max_iops, seconds),
        )


def _part(baseline: int, most: int, seconds: float) -> float:
    """Return the part of all that can be saved that is saved in some time."""
    return min(1.0, baseline * seconds / ((most - baseline) * EBS_BURST_SECONDS)) if most > baseline else 1.0


@dataclass(frozen=True, slots=True)
class Gpus:
    """The GPUs of a type: `count` of one kind, with `memory` MiB each."""

    count: int
    name: str
    manufacturer: str
    memory: int


@dataclass(frozen=True, slots=True)
class InstanceType:
    """What a guest of this type gets: `memory` in bytes, `max_interfaces` with `max_addresses` of each IP version.

    Bandwidths are in megabits per second. `ebs` is None where EC2 says nothing, and then only each volume is limited.
    """

    name: str
    vcpus: int
    memory: int
    threads_per_core: int
    valid_cores: tuple[int, ...]
    max_interfaces: int
    max_addresses: int
    network_performance: str
    network_baseline_mbps: int
    network_burst_mbps: int
    manufacturer: str
    architecture: str
    clock_speed: float | None
    current_generation: bool
    free_tier: bool
    ebs_optimized: str  # unsupported, default
    ebs: EbsLimit | None = None
    instance_store: InstanceStore | None = None
    credits: Credits | None = None
    gpus: Gpus | None = None
    devices: tuple[DeviceCount, ...] = ()  # those of the GPUs as well
    whole_cores: bool = False  # an instance has its cores alone
    huge_pages: bool = False  # and its memory is made of pages of 2 MiB

    hypervisor = "nitro"
    root_device_types = ("ebs",)
    max_volumes = 28

    @property
    def boot_modes(self) -> tuple[str, ...]:
        """The firmware that its images may ask for."""
        return boot_modes.OF_ARCHITECTURE[self.architecture]

    @property
    def family(self) -> str:
        """The part of the name before the dot."""
        return self.name.partition(".")[0]

    @property
    def cores(self) -> int:
        """The number of cores that its vCPUs are threads of."""
        return self.vcpus // self.threads_per_core

    @property
    def valid_threads_per_core(self) -> tuple[int, ...]:
        """How many threads of each core an instance may have."""
        return tuple(range(1, self.threads_per_core + 1))

    @property
    def burstable(self) -> bool:
        """Whether its vCPUs are paid with CPU credits."""
        return self.credits is not None

    @property
    def offered(self) -> bool:
        """Whether instances of it can run here whatever hosts there are; if not, it depends on what these have."""
        return self.architecture == EVERYWHERE and not self.devices and not self.whole_cores

    @property
    def auto_recovery(self) -> bool:
        """Whether instances are recovered when their VM's process fails: not with an instance store, which is lost."""
        return self.instance_store is None

    @property
    def hibernation(self) -> bool:
        """Whether instances may hibernate: with a BIOS, no instance store, no parts of the host, at most 150 GiB."""
        has_parts = bool(self.devices) or self.whole_cores
        by_bios = boot_modes.LEGACY_BIOS in self.boot_modes
        return by_bios and self.instance_store is None and not has_parts and self.memory <= _MOST_SAVED

    @property
    def memory_mib(self) -> int:
        """The memory as EC2 counts it."""
        return self.memory // _MIB
