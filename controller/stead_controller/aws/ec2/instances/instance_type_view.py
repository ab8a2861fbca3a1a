"""Instance types, and where they are offered, as EC2 shows them."""

from functools import cache
from typing import Final

from stead_controller.aws.call import Result
from stead_controller.catalog.instance_type import EbsLimit, Gpus, InstanceType
from stead_controller.resources.instances.instance_groups import STRATEGIES
from stead_controller.resources.instances.offered_types import Offering

# As hosts have them where an interface does not say otherwise.
_IDLE_SECONDS: Final = {
    "DefaultTcpEstablishedTimeout": 432_000,
    "DefaultUdpTimeout": 30,
    "DefaultUdpStreamTimeout": 180,
}


def offering_view(found: Offering) -> Result:
    """Show a place where a type is offered."""
    return {"InstanceType": found.instance_type, "LocationType": found.location_type, "Location": found.location}


@cache
def instance_type_view(kind: InstanceType, *, offered: bool = True) -> Result:
    """Show an instance type; all answers share what is shown, so it must not be changed."""
    shown = {
        "InstanceType": kind.name,
        "CurrentGeneration": kind.current_generation,
        "FreeTierEligible": kind.free_tier,
        "SupportedUsageClasses": ["on-demand", "spot"],
        "SupportedRootDeviceTypes": list(kind.root_device_types),
        "SupportedVirtualizationTypes": ["hvm"],
        "BareMetal": False,
        "Hypervisor": kind.hypervisor,
        "ProcessorInfo": {
            "SupportedArchitectures": [kind.architecture],
            "SustainedClockSpeedInGhz": kind.clock_speed,
            "Manufacturer": kind.manufacturer or None,
        },
        "VCpuInfo": {
            "DefaultVCpus": kind.vcpus,
            "DefaultCores": kind.cores,
            "DefaultThreadsPerCore": kind.threads_per_core,
            "ValidCores": list(kind.valid_cores),
            "ValidThreadsPerCore": list(kind.valid_threads_per_core),
        },
        "MemoryInfo": {"SizeInMiB": kind.memory_mib},
        **_storage(kind),
        "NetworkInfo": _network(kind),
        "PlacementGroupInfo": {
            "SupportedStrategies": [each for each in STRATEGIES if each != "cluster" or not kind.burstable]
        },
        "HibernationSupported": kind.hibernation,
        "BurstablePerformanceSupported": kind.burstable,
        "DedicatedHostsSupported": not kind.whole_cores,
        "AutoRecoverySupported": kind.auto_recovery,
        "SupportedBootModes": list(kind.boot_modes),
        "NitroEnclavesSupport": "unsupported",
        "NitroTpmSupport": "supported",
        "NitroTpmInfo": {"SupportedVersions": ["2.0"]},
        "PhcSupport": "unsupported",
        "RebootMigrationSupport": "unsupported",
        "SupportedInRegion": offered,
    }
    return shown if kind.gpus is None else {**shown, "GpuInfo": _gpus(kind.gpus)}


def _storage(kind: InstanceType) -> Result:
    store = kind.instance_store
    ebs: Result = {
        "EbsOptimizedSupport": kind.ebs_optimized,
        "EncryptionSupport": "supported",
        "NvmeSupport": "unsupported",
        "MaximumEbsAttachments": kind.max_volumes,
        "AttachmentLimitType": "shared",
    }
    if kind.ebs is not None:
        ebs["EbsOptimizedInfo"] = _ebs_optimized(kind.ebs)
    if store is None:
        return {"InstanceStorageSupported": False, "EbsInfo": ebs}
    disks = [{"SizeInGB": store.size, "Count": store.count, "Type": store.medium}]
    return {
        "InstanceStorageSupported": True,
        "InstanceStorageInfo": {
            "TotalSizeInGB": store.total_size,
            "Disks": disks,
            "NvmeSupport": "unsupported",
            "EncryptionSupport": "unsupported",
        },
        "EbsInfo": ebs,
    }


def _ebs_optimized(ebs: EbsLimit) -> Result:
    return {
        "BaselineBandwidthInMbps": ebs.baseline_mbps,
        "BaselineThroughputInMBps": ebs.baseline_mbps / 8,
        "BaselineIops": ebs.baseline_iops,
        "MaximumBandwidthInMbps": ebs.max_mbps,
        "MaximumThroughputInMBps": ebs.max_mbps / 8,
        "MaximumIops": ebs.max_iops,
    }


def _network(kind: InstanceType) -> Result:
    return {
        "NetworkPerformance": kind.network_performance,
        "MaximumNetworkInterfaces": kind.max_interfaces,
        "MaximumNetworkCards": 1,
        "DefaultNetworkCardIndex": 0,
        "NetworkCards": [
            {
                "NetworkCardIndex": 0,
                "NetworkPerformance": kind.network_performance,
                "MaximumNetworkInterfaces": kind.max_interfaces,
                "BaselineBandwidthInGbps": kind.network_baseline_mbps / 1000,
                "PeakBandwidthInGbps": kind.network_burst_mbps / 1000,
                "InterfaceTypes": ["interface"],
            }
        ],
        "Ipv4AddressesPerInterface": kind.max_addresses,
        "Ipv6AddressesPerInterface": kind.max_addresses,
        "Ipv6Supported": True,
        "EnaSupport": "supported",
        "EfaSupported": False,
        "EncryptionInTransitSupported": False,
        "EnaSrdSupported": False,
        "FlexibleEnaQueuesSupport": "unsupported",
        "ConnectionTrackingConfiguration": _IDLE_SECONDS,
        "SecondaryNetworkSupported": False,
        "MaximumSecondaryNetworkInterfaces": 0,
        "Ipv4AddressesPerSecondaryInterface": 0,
    }


def _gpus(gpus: Gpus) -> Result:
    one = {
        "Name": gpus.name,
        "Manufacturer": gpus.manufacturer,
        "Count": gpus.count,
        "MemoryInfo": {"SizeInMiB": gpus.memory},
    }
    return {"Gpus": [one], "TotalGpuMemoryInMiB": gpus.count * gpus.memory}
