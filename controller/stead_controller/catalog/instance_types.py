"""The instance types: EC2's common families with the sizes that EC2 publishes, and Stead's own small ones.

Numbers: https://docs.aws.amazon.com/ec2/latest/instancetypes/. Every type is a KVM guest here, so all are `nitro`,
whatever EC2 itself runs them on; bare metal is left out.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final

_MIB: Final = 1024 * 1024
# Those of https://docs.aws.amazon.com/AWSEC2/latest/UserGuide/ec2-free-tier-usage.html that exist here.
_FREE_TIER: Final = frozenset({"t2.micro", "t3.micro", "t3.small"})
_GIB: Final = 1024 * _MIB


@dataclass(frozen=True, slots=True)
class InstanceStore:
    """The instance store of a type: `count` disks of `size` GB each."""

    count: int
    size: int
    medium: str  # ssd, hdd

    @property
    def total_size(self) -> int:
        """The total size of all disks in GB."""
        return self.count * self.size


@dataclass(frozen=True, slots=True)
class InstanceType:
    """What a guest of this type gets: `memory` in bytes, `max_interfaces` with `max_addresses` IPv4 addresses each."""

    name: str
    vcpus: int
    memory: int
    threads_per_core: int
    max_interfaces: int
    max_addresses: int
    network_performance: str
    manufacturer: str
    clock_speed: float | None
    burstable: bool
    current_generation: bool
    ebs_optimized: str
    instance_store: InstanceStore | None = None

    architectures = ("x86_64",)
    boot_modes = ("legacy-bios", "uefi")
    hypervisor = "nitro"
    root_device_types = ("ebs",)
    max_volumes = 28

    @property
    def family(self) -> str:
        """The part of the name before the dot."""
        return self.name.partition(".")[0]

    @property
    def free_tier(self) -> bool:
        """Whether it is shown as eligible for EC2's free tier, which some tools look for."""
        return self.name in _FREE_TIER

    @property
    def cores(self) -> int:
        """The number of cores that its vCPUs are threads of."""
        return max(1, self.vcpus // self.threads_per_core)

    @property
    def auto_recovery(self) -> bool:
        """Whether instances are recovered when their VM's process fails: not with an instance store, which is lost."""
        return self.instance_store is None

    @property
    def memory_mib(self) -> int:
        """The memory as EC2 counts it."""
        return self.memory // _MIB


def find(name: str) -> InstanceType | None:
    """The type of that exact name, if there is one."""
    return ALL.get(name)


# vCPUs, interfaces and addresses per interface of a size, the same in all but the burstable families and d3.
_SIZES: Final = {
    "large": (2, 3, 10),
    "xlarge": (4, 4, 15),
    "2xlarge": (8, 4, 15),
    "4xlarge": (16, 8, 30),
    "8xlarge": (32, 8, 30),
    "9xlarge": (36, 8, 30),
    "12xlarge": (48, 8, 30),
    "16xlarge": (64, 15, 50),
    "18xlarge": (72, 15, 50),
    "24xlarge": (96, 15, 50),
    "32xlarge": (128, 15, 50),
    "48xlarge": (192, 15, 50),
}

# Gigabits of the sizes with a figure of their own; the smaller ones share the generation's "up to" figure.
_GIGABITS: Final[dict[str, dict[str, str]]] = {
    "5": {"8xlarge": "10", "9xlarge": "12", "12xlarge": "12", "16xlarge": "20", "18xlarge": "25", "24xlarge": "25"},
    "6": {
        "8xlarge": "12.5",
        "12xlarge": "18.75",
        "16xlarge": "25",
        "24xlarge": "37.5",
        "32xlarge": "50",
        "48xlarge": "50",
    },
    "i3": {"8xlarge": "10", "16xlarge": "25"},
}
_UP_TO: Final = {"5": "10", "6": "12.5", "i3": "10"}

_FIFTH: Final = "large xlarge 2xlarge 4xlarge 8xlarge 12xlarge 16xlarge 24xlarge"
_FIFTH_COMPUTE: Final = "large xlarge 2xlarge 4xlarge 9xlarge 12xlarge 18xlarge 24xlarge"

# Family, network generation, MiB of memory per vCPU, GHz, current generation?, sizes.
_FAMILIES: Final = (
    ("m5", "5", 4096, 3.1, False, _FIFTH),
    ("c5", "5", 2048, 3.4, False, _FIFTH_COMPUTE),
    ("r5", "5", 8192, 3.1, False, _FIFTH),
    ("m5d", "5", 4096, 3.1, True, _FIFTH),
    ("c5d", "5", 2048, 3.4, True, _FIFTH_COMPUTE),
    ("r5d", "5", 8192, 3.1, True, _FIFTH),
    ("m6i", "6", 4096, 3.5, False, f"{_FIFTH} 32xlarge"),
    ("c6i", "6", 2048, 3.5, True, f"{_FIFTH} 32xlarge"),
    ("r6i", "6", 8192, 3.5, False, f"{_FIFTH} 32xlarge"),
    ("m7i", "6", 4096, 3.2, True, f"{_FIFTH} 48xlarge"),
    ("c7i", "6", 2048, 3.2, True, f"{_FIFTH} 48xlarge"),
    ("r7i", "6", 8192, 3.2, True, f"{_FIFTH} 48xlarge"),
    ("i3", "i3", 7808, 2.3, True, "large xlarge 2xlarge 4xlarge 8xlarge 16xlarge"),
)

# GHz where a size differs from its family.
_CLOCK_SPEEDS: Final = {"c5.12xlarge": 3.6, "c5.24xlarge": 3.6, "c5d.12xlarge": 3.6, "c5d.24xlarge": 3.6}

# Count and GB of scratch disks.
_FIFTH_STORES: Final = {
    "large": (1, 75),
    "xlarge": (1, 150),
    "2xlarge": (1, 300),
    "4xlarge": (2, 300),
    "8xlarge": (2, 600),
    "12xlarge": (2, 900),
    "16xlarge": (4, 600),
    "24xlarge": (4, 900),
}
_STORES: Final = {
    "m5d": _FIFTH_STORES,
    "r5d": _FIFTH_STORES,
    "c5d": {
        "large": (1, 50),
        "xlarge": (1, 100),
        "2xlarge": (1, 200),
        "4xlarge": (1, 400),
        "9xlarge": (1, 900),
        "12xlarge": (2, 900),
        "18xlarge": (2, 900),
        "24xlarge": (4, 900),
    },
    "i3": {
        "large": (1, 475),
        "xlarge": (1, 950),
        "2xlarge": (1, 1900),
        "4xlarge": (2, 1900),
        "8xlarge": (4, 1900),
        "16xlarge": (8, 1900),
    },
}

# Size, vCPUs, MiB, interfaces, addresses per interface, GHz.
_T2: Final = (
    ("nano", 1, 512, 2, 2, 2.4),
    ("micro", 1, 1024, 2, 2, 2.5),
    ("small", 1, 2048, 3, 4, 2.5),
    ("medium", 2, 4096, 3, 6, 2.3),
    ("large", 2, 8192, 3, 12, 2.3),
    ("xlarge", 4, 16384, 3, 15, 2.3),
    ("2xlarge", 8, 32768, 3, 15, 2.3),
)
# Size, vCPUs, MiB, interfaces, addresses per interface.
_T3: Final[tuple[tuple[str, int, int, int, int], ...]] = (
    ("nano", 2, 512, 2, 2),
    ("micro", 2, 1024, 2, 2),
    ("small", 2, 2048, 3, 4),
    ("medium", 2, 4096, 3, 6),
    ("large", 2, 8192, 3, 12),
    ("xlarge", 4, 16384, 4, 15),
    ("2xlarge", 8, 32768, 4, 15),
)
_T3A: Final = tuple(("small", 2, 2048, 2, 4) if row[0] == "small" else row for row in _T3)

# Size, vCPUs, interfaces, addresses per interface, gigabits, scratch disks of 1,980 GB.
_D3: Final = (
    ("xlarge", 4, 4, 3, "Up to 15 Gigabit", 3),
    ("2xlarge", 8, 4, 5, "Up to 15 Gigabit", 6),
    ("4xlarge", 16, 4, 10, "Up to 15 Gigabit", 12),
    ("8xlarge", 32, 3, 20, "25 Gigabit", 24),
)

# Size, MiB: for small machines, for emulation and for tests.
_STEAD: Final = (("tiny", 128), ("mini", 256), ("small", 512))


def _stead() -> Iterator[InstanceType]:
    for size, mib in _STEAD:
        yield InstanceType(
            f"stead.{size}", 1, mib * _MIB, 1, 2, 4, "Up to 5 Gigabit", "Stead", None, False, True, "default"
        )


def _burstable() -> Iterator[InstanceType]:
    for size, vcpus, mib, interfaces, addresses, clock_speed in _T2:
        network = "Moderate" if "xlarge" in size else "Low to Moderate"
        yield InstanceType(
            f"t2.{size}",
            vcpus,
            mib * _MIB,
            1,
            interfaces,
            addresses,
            network,
            "Intel",
            clock_speed,
            True,
            True,
            "unsupported",
        )
    for family, manufacturer, ghz, rows in (("t3", "Intel", 2.5, _T3), ("t3a", "AMD", 2.2, _T3A)):
        for size, vcpus, mib, interfaces, addresses in rows:
            yield InstanceType(
                f"{family}.{size}",
                vcpus,
                mib * _MIB,
                2,
                interfaces,
                addresses,
                "Up to 5 Gigabit",
                manufacturer,
                ghz,
                True,
                True,
                "default",
            )


def _regular() -> Iterator[InstanceType]:
    for family, generation, mib_per_vcpu, clock_speed, current, sizes in _FAMILIES:
        for size in sizes.split():
            vcpus, interfaces, addresses = _SIZES[size]
            gigabits = _GIGABITS[generation].get(size)
            store = _STORES.get(family, {}).get(size)
            yield InstanceType(
                f"{family}.{size}",
                vcpus,
                vcpus * mib_per_vcpu * _MIB,
                2,
                interfaces,
                addresses,
                f"{gigabits} Gigabit" if gigabits else f"Up to {_UP_TO[generation]} Gigabit",
                "Intel",
                _CLOCK_SPEEDS.get(f"{family}.{size}", clock_speed),
                False,
                current,
                "default",
                InstanceStore(*store, "ssd") if store else None,
            )


def _dense_storage() -> Iterator[InstanceType]:
    for size, vcpus, interfaces, addresses, network, disks in _D3:
        yield InstanceType(
            f"d3.{size}",
            vcpus,
            vcpus * 8 * _GIB,
            2,
            interfaces,
            addresses,
            network,
            "Intel",
            3.1,
            False,
            True,
            "default",
            InstanceStore(disks, 1980, "hdd"),
        )


ALL: Final = MappingProxyType(
    {found.name: found for source in (_stead, _burstable, _regular, _dense_storage) for found in source()}
)
"""Every type by its name."""
