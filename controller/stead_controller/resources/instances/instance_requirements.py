"""Which instance types have what is asked for, by attributes instead of by name.

See https://docs.aws.amazon.com/AWSEC2/latest/APIReference/API_InstanceRequirementsRequest.html. An attribute that is
not given excludes nothing, but for burstable types and bare metal, which must be asked for.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Final

from stead_controller.catalog.instance_type import InstanceType
from stead_controller.errors import InvalidCombination, InvalidParameter
from stead_controller.request.filters import Filter

_MANUFACTURERS: Final = {"aws": "amazon-web-services"}  # those with another name here than in lower case
_CHOICES: Final = ("included", "required", "excluded")
_MOST_PATTERNS: Final = 400
# EC2's words. Names and manufacturers of accelerators are not here: an operator's own type may have others.
_ARCHITECTURES: Final = ("i386", "x86_64", "arm64", "x86_64_mac", "arm64_mac")
_VIRTUALIZATION_TYPES: Final = ("hvm", "paravirtual")
_CPU_MANUFACTURERS: Final = ("intel", "amd", "amazon-web-services", "apple", "stead")  # the last is of our own types
_GENERATIONS: Final = ("current", "previous")
_MEDIA: Final = ("hdd", "ssd")
_ACCELERATOR_TYPES: Final = ("gpu", "fpga", "inference", "media")


@dataclass(frozen=True, slots=True)
class Range:
    """From `least` to `most`, both included; None means no limit."""

    least: float | None = None
    most: float | None = None

    def check(self, name: str) -> None:
        """Raise InvalidParameter for a range that begins below zero or after its end."""
        if (self.least or 0) < 0 or (self.most or 0) < 0:
            raise InvalidParameter(f"The range of {name} must not be negative.")
        if self.least is not None and self.most is not None and self.least > self.most:
            raise InvalidParameter(f"The minimum of {name}, {self.least:g}, is more than its maximum, {self.most:g}.")

    def has(self, value: float | None) -> bool:
        """Tell whether a value is in it; one that is not known only if there are no limits."""
        if value is None:
            return self.least is None and self.most is None
        return (self.least is None or value >= self.least) and (self.most is None or value <= self.most)


_ANY: Final = Range()


@dataclass(frozen=True, slots=True)
class Requirements:
    """What a type must have; an empty tuple means any. Sizes are in the unit that the name says."""

    architectures: tuple[str, ...]
    virtualization_types: tuple[str, ...]
    vcpus: Range
    memory_mib: Range
    cpu_manufacturers: tuple[str, ...] = ()
    memory_gib_per_vcpu: Range = _ANY
    excluded: tuple[str, ...] = ()
    allowed: tuple[str, ...] = ()
    generations: tuple[str, ...] = ()
    bare_metal: str = "excluded"
    burstable: str = "excluded"
    hibernation: bool = False
    interfaces: Range = _ANY
    local_storage: str = "included"
    local_storage_types: tuple[str, ...] = ()
    local_storage_gb: Range = _ANY
    accelerator_types: tuple[str, ...] = ()
    accelerators: Range = _ANY
    accelerator_manufacturers: tuple[str, ...] = ()
    accelerator_names: tuple[str, ...] = ()
    accelerator_memory_mib: Range = _ANY
    network_gbps: Range = _ANY
    ebs_mbps: Range = _ANY
    encryption_in_transit: bool = False

    def check(self) -> None:
        """Raise InvalidParameter or InvalidCombination for what nothing can have."""
        for word, chosen in (
            ("BareMetal", self.bare_metal),
            ("BurstablePerformance", self.burstable),
            ("LocalStorage", self.local_storage),
        ):
            if chosen not in _CHOICES:
                raise InvalidParameter(f"Value ({chosen}) for parameter {word} is invalid.")
        for word, given, known in self._words():
            unknown = next((one for one in given if one not in known), None)
            if unknown is not None:
                raise InvalidParameter(f"Value ({unknown}) for parameter {word} is invalid.")
        if self.allowed and self.excluded:
            raise InvalidCombination("AllowedInstanceTypes and ExcludedInstanceTypes cannot be used together.")
        if max(len(self.allowed), len(self.excluded)) > _MOST_PATTERNS:
            raise InvalidParameter(f"At most {_MOST_PATTERNS} instance types can be allowed or excluded.")
        for name, limits in self._ranges():
            limits.check(name)

    def _words(self) -> Iterator[tuple[str, tuple[str, ...], tuple[str, ...]]]:
        yield "ArchitectureTypes", self.architectures, _ARCHITECTURES
        yield "VirtualizationTypes", self.virtualization_types, _VIRTUALIZATION_TYPES
        yield "CpuManufacturers", self.cpu_manufacturers, _CPU_MANUFACTURERS
        yield "InstanceGenerations", self.generations, _GENERATIONS
        yield "LocalStorageTypes", self.local_storage_types, _MEDIA
        yield "AcceleratorTypes", self.accelerator_types, _ACCELERATOR_TYPES

    def _ranges(self) -> Iterator[tuple[str, Range]]:
        yield "VCpuCount", self.vcpus
        yield "MemoryMiB", self.memory_mib
        yield "MemoryGiBPerVCpu", self.memory_gib_per_vcpu
        yield "NetworkInterfaceCount", self.interfaces
        yield "TotalLocalStorageGB", self.local_storage_gb
        yield "AcceleratorCount", self.accelerators
        yield "AcceleratorTotalMemoryMiB", self.accelerator_memory_mib
        yield "NetworkBandwidthGbps", self.network_gbps
        yield "BaselineEbsBandwidthMbps", self.ebs_mbps


def _in(value: str, asked: tuple[str, ...]) -> bool:
    return not asked or value in asked


def _manufacturer(name: str) -> str:
    return _MANUFACTURERS.get(name.lower(), name.lower())


def _wanted(choice: str, *, has: bool) -> bool:
    """Tell whether a type that has something, or has it not, is wanted."""
    return choice == "included" or (choice == "required") is has


def _named(kind: InstanceType, patterns: tuple[str, ...]) -> bool:
    return Filter("instance-type", patterns).matches_any((kind.name,))


def _has_processor(kind: InstanceType, asked: Requirements) -> bool:
    return (
        kind.architecture in asked.architectures
        and "hvm" in asked.virtualization_types
        and _in(_manufacturer(kind.manufacturer), asked.cpu_manufacturers)
        and asked.vcpus.has(kind.vcpus)
    )


def _has_memory(kind: InstanceType, asked: Requirements) -> bool:
    return asked.memory_mib.has(kind.memory_mib) and asked.memory_gib_per_vcpu.has(kind.memory_mib / 1024 / kind.vcpus)


def _is_of_kind(kind: InstanceType, asked: Requirements) -> bool:
    return (
        _in("current" if kind.current_generation else "previous", asked.generations)
        and _wanted(asked.bare_metal, has=False)
        and _wanted(asked.burstable, has=kind.burstable)
        and (kind.hibernation or not asked.hibernation)
    )


def _has_name(kind: InstanceType, asked: Requirements) -> bool:
    return not _named(kind, asked.excluded) and (not asked.allowed or _named(kind, asked.allowed))


def _has_network(kind: InstanceType, asked: Requirements) -> bool:
    return (
        asked.interfaces.has(kind.max_interfaces)
        and asked.network_gbps.has(kind.network_baseline_mbps / 1000)
        and not asked.encryption_in_transit
    )


def _has_storage(kind: InstanceType, asked: Requirements) -> bool:
    store = kind.instance_store
    return (
        _wanted(asked.local_storage, has=store is not None)
        and (store is None or _in(store.medium, asked.local_storage_types))
        and asked.local_storage_gb.has(store.total_size if store else None)
        and asked.ebs_mbps.has(kind.ebs.baseline_mbps if kind.ebs else None)
    )


def _has_accelerators(kind: InstanceType, asked: Requirements) -> bool:
    gpus = kind.gpus
    if gpus is None:
        named = asked.accelerator_types or asked.accelerator_manufacturers or asked.accelerator_names
        return not named and asked.accelerators.has(0) and asked.accelerator_memory_mib.has(None)
    return (
        _in("gpu", asked.accelerator_types)
        and _in(_manufacturer(gpus.manufacturer), asked.accelerator_manufacturers)
        and _in(gpus.name.lower(), asked.accelerator_names)
        and asked.accelerators.has(gpus.count)
        and asked.accelerator_memory_mib.has(gpus.count * gpus.memory)
    )


_TESTS: Final[tuple[Callable[[InstanceType, Requirements], bool], ...]] = (
    _has_name,
    _has_processor,
    _has_memory,
    _is_of_kind,
    _has_network,
    _has_storage,
    _has_accelerators,
)


def meets(kind: InstanceType, asked: Requirements) -> bool:
    """Tell whether a type has all that is asked for."""
    return all(test(kind, asked) for test in _TESTS)
