"""GetInstanceTypesFromInstanceRequirements, and the same requirements in fleets and templates."""

from collections.abc import Mapping
from typing import Any, Final

from stead_controller.aws import describe
from stead_controller.aws.call import Call, Params, Result, operation
from stead_controller.aws.ec2 import selection
from stead_controller.resources.instances import offered_types
from stead_controller.resources.instances.instance_requirements import Range, Requirements

_NAME: Final = "GetInstanceTypesFromInstanceRequirements"


@operation("GetInstanceTypesFromInstanceRequirements", writes=False)
def types_from_requirements(call: Call, params: Params) -> Result:
    """List the names of the types that have what is asked for."""
    page = describe.page(call, params, _NAME, at_least=1, default=1000)
    after = page.after[0] if page.after else None
    asked = requirements(
        params["InstanceRequirements"], tuple(params["ArchitectureTypes"]), tuple(params["VirtualizationTypes"])
    )
    found = offered_types.with_requirements(call.tx, asked, after=after, limit=page.fetch)
    return selection.answered(
        "InstanceTypes", found, page, lambda kind: (kind.name,), lambda kind: {"InstanceType": kind.name}
    )


def requirements(
    given: Mapping[str, Any], architectures: tuple[str, ...], virtualization_types: tuple[str, ...] = ("hvm",)
) -> Requirements:
    """Parse InstanceRequirements; what no code reads of them is refused by name."""
    return Requirements(
        architectures=architectures,
        virtualization_types=virtualization_types,
        vcpus=_range(given, "VCpuCount"),
        memory_mib=_range(given, "MemoryMiB"),
        cpu_manufacturers=_texts(given, "CpuManufacturers"),
        memory_gib_per_vcpu=_range(given, "MemoryGiBPerVCpu"),
        excluded=_texts(given, "ExcludedInstanceTypes"),
        allowed=_texts(given, "AllowedInstanceTypes"),
        generations=_texts(given, "InstanceGenerations"),
        bare_metal=given.get("BareMetal", "excluded"),
        burstable=given.get("BurstablePerformance", "excluded"),
        hibernation=given.get("RequireHibernateSupport", False),
        interfaces=_range(given, "NetworkInterfaceCount"),
        local_storage=given.get("LocalStorage", "included"),
        local_storage_types=_texts(given, "LocalStorageTypes"),
        local_storage_gb=_range(given, "TotalLocalStorageGB"),
        accelerator_types=_texts(given, "AcceleratorTypes"),
        accelerators=_range(given, "AcceleratorCount"),
        accelerator_manufacturers=_texts(given, "AcceleratorManufacturers"),
        accelerator_names=_texts(given, "AcceleratorNames"),
        accelerator_memory_mib=_range(given, "AcceleratorTotalMemoryMiB"),
        network_gbps=_range(given, "NetworkBandwidthGbps"),
        ebs_mbps=_range(given, "BaselineEbsBandwidthMbps"),
        encryption_in_transit=given.get("RequireEncryptionInTransit", False),
    )


def _range(given: Mapping[str, Any], name: str) -> Range:
    limits = given.get(name, {})
    return Range(limits.get("Min"), limits.get("Max"))


def _texts(given: Mapping[str, Any], name: str) -> tuple[str, ...]:
    return tuple(given.get(name, ()))
