"""Instance types by EC2's filters, and where each is offered: everywhere, or where hosts have its devices."""

from collections.abc import Callable, Iterable, Sequence
from functools import cache
from typing import Final, NamedTuple

from stead_controller.catalog.instance_type import InstanceType
from stead_controller.catalog.instance_types import ALL
from stead_controller.errors import InvalidParameter, MissingParameter
from stead_controller.request import instance_types
from stead_controller.request.caller import Caller
from stead_controller.request.cloud import Cloud
from stead_controller.request.conditions import holds
from stead_controller.request.filters import Filter
from stead_controller.request.transaction import Transaction
from stead_controller.request.zones import zone_ids
from stead_controller.resources.host_capacity import devices
from stead_controller.resources.images import image_parameters, images
from stead_controller.resources.instances.instance_requirements import Requirements, meets

# EC2's filters about what no type has here, or what is not promised of any.
_ABSENT: Final = (
    "network-info.bandwidth-weightings",
    "network-info.efa-info.maximum-efa-interfaces",
    "processor-info.supported-features",
)
_EBS: Final = (
    "baseline-bandwidth-in-mbps",
    "baseline-iops",
    "baseline-throughput-in-mbps",
    "maximum-bandwidth-in-mbps",
    "maximum-iops",
    "maximum-throughput-in-mbps",
)
OFFERING_FILTERS: Final = frozenset({"instance-type", "location"})
_LOCATION_TYPES: Final = ("region", "availability-zone", "availability-zone-id", "outpost")


class Offering(NamedTuple):
    """A place where a type is offered; `location_type` is EC2's word for the kind of place."""

    instance_type: str
    location_type: str
    location: str


def _word(value: bool) -> str:
    return "true" if value else "false"


def _number(value: float) -> tuple[str, ...]:
    """Write a number as answers have it, and as people do: 2375.0 and 2375."""
    return tuple(dict.fromkeys((str(value), f"{value:g}")))


@cache
def facts(kind: InstanceType) -> dict[str, tuple[str, ...]]:
    """Return what a type answers to each filter; all requests share it, so it must not be changed."""
    store = kind.instance_store
    nothing: tuple[str, ...] = ()
    return (
        dict.fromkeys(_ABSENT, nothing)
        | _ebs(kind)
        | {
            "auto-recovery-supported": (_word(kind.auto_recovery),),
            "bare-metal": ("false",),
            "burstable-performance-supported": (_word(kind.burstable),),
            "current-generation": (_word(kind.current_generation),),
            "dedicated-hosts-supported": (_word(not kind.whole_cores),),
            "ebs-info.attachment-limit-type": ("shared",),
            "ebs-info.ebs-optimized-support": (kind.ebs_optimized,),
            "ebs-info.encryption-support": ("supported",),
            "ebs-info.maximum-ebs-attachments": (str(kind.max_volumes),),
            "ebs-info.nvme-support": ("unsupported",),
            "free-tier-eligible": (_word(kind.free_tier),),
            "hibernation-supported": (_word(kind.hibernation),),
            "hypervisor": (kind.hypervisor,),
            "instance-storage-info.disk.count": (str(store.count),) if store else (),
            "instance-storage-info.disk.size-in-gb": (str(store.size),) if store else (),
            "instance-storage-info.disk.type": (store.medium,) if store else (),
            "instance-storage-info.encryption-support": ("unsupported",) if store else (),
            "instance-storage-info.nvme-support": ("unsupported",) if store else (),
            "instance-storage-info.total-size-in-gb": (str(store.total_size),) if store else (),
            "instance-storage-supported": (_word(store is not None),),
            "instance-type": (kind.name,),
            "memory-info.size-in-mib": (str(kind.memory_mib),),
            "network-info.efa-supported": ("false",),
            "network-info.ena-support": ("supported",),
            "network-info.encryption-in-transit-supported": ("false",),
            "network-info.flexible-ena-queues-support": ("unsupported",),
            "network-info.ipv4-addresses-per-interface": (str(kind.max_addresses),),
            "network-info.ipv6-addresses-per-interface": (str(kind.max_addresses),),
            "network-info.ipv6-supported": ("true",),
            "network-info.maximum-network-cards": ("1",),
            "network-info.maximum-network-interfaces": (str(kind.max_interfaces),),
            "network-info.network-performance": (kind.network_performance,),
            "nitro-enclaves-support": ("unsupported",),
            "nitro-tpm-info.supported-versions": ("2.0",),
            "nitro-tpm-support": ("supported",),
            "processor-info.supported-architecture": (kind.architecture,),
            "processor-info.sustained-clock-speed-in-ghz": _number(kind.clock_speed) if kind.clock_speed else (),
            "reboot-migration-support": ("unsupported",),
            "supported-boot-mode": kind.boot_modes,
            "supported-root-device-type": kind.root_device_types,
            "supported-usage-class": ("on-demand", "spot"),
            "supported-virtualization-type": ("hvm",),
            "vcpu-info.default-cores": (str(kind.cores),),
            "vcpu-info.default-threads-per-core": (str(kind.threads_per_core),),
            "vcpu-info.default-vcpus": (str(kind.vcpus),),
            "vcpu-info.valid-cores": tuple(map(str, kind.valid_cores)),
            "vcpu-info.valid-threads-per-core": tuple(map(str, kind.valid_threads_per_core)),
        }
    )


def _ebs(kind: InstanceType) -> dict[str, tuple[str, ...]]:
    """Return what a type answers to filters of what all its volumes together may do; nothing if that is not limited."""
    ebs, figures = kind.ebs, {}
    if ebs is not None:
        figures = {
            "baseline-bandwidth-in-mbps": (str(ebs.baseline_mbps),),
            "baseline-iops": (str(ebs.baseline_iops),),
            "baseline-throughput-in-mbps": _number(ebs.baseline_mbps / 8),
            "maximum-bandwidth-in-mbps": (str(ebs.max_mbps),),
            "maximum-iops": (str(ebs.max_iops),),
            "maximum-throughput-in-mbps": _number(ebs.max_mbps / 8),
        }
    return {f"ebs-info.ebs-optimized-info.{name}": figures.get(name, ()) for name in _EBS}


FILTERS: Final = frozenset(facts(ALL["t3.micro"]))


def describe(
    tx: Transaction,
    names: Sequence[str],
    filters: Iterable[Filter],
    *,
    not_offered: bool = False,
    after: str | None = None,
    limit: int | None = None,
) -> list[InstanceType]:
    """List types, sorted by name; those that are not offered only if asked for.

    Raises InvalidParameter (InvalidInstanceType) for unknown names.
    """
    offer = devices.Offer(tx)
    listed = {kind.name: kind for kind in instance_types.everything(tx) if not_offered or offer.has(kind)}
    unknown = [name for name in names if name not in listed]
    if unknown:
        raise InvalidParameter(
            f"The following supplied instance types do not exist: [{', '.join(unknown)}]", code="InvalidInstanceType"
        )
    asked = tuple(filters)
    found = [
        kind
        for name, kind in listed.items()
        if (not names or name in names) and (after is None or name > after) and holds(asked, facts(kind))
    ]
    return found[:limit]


def with_requirements(
    tx: Transaction, asked: Requirements, *, after: str | None = None, limit: int | None = None
) -> list[InstanceType]:
    """List the offered types that have what is asked for, sorted by name.

    Raises InvalidParameter and InvalidCombination for what nothing can have.
    """
    asked.check()
    offer = devices.Offer(tx)
    found = [
        kind
        for kind in instance_types.everything(tx)
        if (after is None or kind.name > after) and meets(kind, asked) and offer.has(kind)
    ]
    return found[:limit]


def of_image(
    tx: Transaction, caller: Caller, image_id: str, requirements: Callable[[tuple[str, ...]], Requirements]
) -> list[InstanceType]:
    """List the offered types that can run an image and have what is asked for, given the image's architecture.

    Raises what `with_requirements` and `images.find_launchable` raise, MissingParameter for no image.
    """
    if not image_id:
        raise MissingParameter("ImageId")
    image = images.find_launchable(tx, caller, image_parameters.image_of(tx, image_id))
    return with_requirements(tx, requirements((image.architecture,)))


def offerings(
    tx: Transaction,
    cloud: Cloud,
    location_type: str,
    filters: Iterable[Filter],
    *,
    after: tuple[str, ...] | None = None,
    limit: int | None = None,
) -> list[Offering]:
    """List every offered type at every place of a kind, sorted; raises InvalidParameter for no such kind."""
    if location_type not in _LOCATION_TYPES:
        raise InvalidParameter(f"Value ({location_type}) for parameter locationType is invalid.")
    asked = tuple(filters)
    offer = devices.Offer(tx)
    found = [
        Offering(kind.name, location_type, place)
        for kind in instance_types.everything(tx)
        if offer.has(kind)
        for place in _places(cloud, location_type, None if kind.offered else offer.zones_of(kind))
        if (after is None or (kind.name, place) > after)
        and holds(asked, {"instance-type": (kind.name,), "location": (place,)})
    ]
    return found[:limit]


def _places(cloud: Cloud, location_type: str, zones: frozenset[str] | None) -> list[str]:
    """Return the places of a kind, sorted: those in some zones, or with None all."""
    ids = {zone: zone_id for zone, zone_id in zone_ids(cloud).items() if zones is None or zone in zones}
    places = {"region": [cloud.region], "availability-zone": list(ids), "availability-zone-id": list(ids.values())}
    return sorted(places.get(location_type, ()))
