"""What can be used at a price, as products with the attributes that AWS's price list has; pure.

Attributes: https://docs.aws.amazon.com/awsaccountbilling/latest/aboutv2/reading-service-price-list-file-for-services.html
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Final

from stead_controller.catalog import volume_types
from stead_controller.catalog.instance_type import InstanceType
from stead_controller.metering import bills, skus, uses
from stead_controller.metering.bills import Size
from stead_controller.metering.ledger import Use
from stead_controller.metering.price_book import PriceBook
from stead_controller.metering.price_tiers import Tiers

FAMILY, TERM_TYPE, ON_DEMAND = "productFamily", "termType", "OnDemand"
_ABSENT: Final = "NA"
_UNUSED: Final = "UnusedCapacityReservation"
_TENANCIES: Final = {"default": "Shared", "dedicated": "Dedicated", "host": "Host"}
_MEDIA: Final = {
    "gp2": ("General Purpose", "SSD-backed"),
    "gp3": ("General Purpose", "SSD-backed"),
    "io1": ("Provisioned IOPS", "SSD-backed"),
    "io2": ("Provisioned IOPS", "SSD-backed"),
    "st1": ("Throughput Optimized HDD", "HDD-backed"),
    "sc1": ("Cold HDD", "HDD-backed"),
    "standard": ("Magnetic", "HDD-backed"),
}
_ADDRESS_GROUP: Final = "VPCPublicIPv4Address"


@dataclass(frozen=True, slots=True)
class Place:
    """A region: its code, and its name as the price list's `location` has it."""

    code: str
    name: str


@dataclass(frozen=True, slots=True)
class Product:
    """A use with its price for one `unit`; `words` say of what that is, and `family` may be empty.

    `fields` are what filters may ask for: values by names in lower case.
    """

    sku: str
    service: str
    family: str
    attributes: Mapping[str, str]
    unit: str
    price: Tiers
    words: str
    fields: Mapping[str, str] = field(repr=False, compare=False)


@dataclass(frozen=True, slots=True)
class _Offer:
    """A use that may have a price."""

    use: Use
    family: str
    attributes: Mapping[str, str]
    words: str


def everything(book: PriceBook, types: Iterable[InstanceType], place: Place) -> tuple[Product, ...]:
    """Return what has a price, sorted by sku."""
    known = {kind.name: kind for kind in types}

    def size_of(name: str) -> Size:
        return Size(known[name].vcpus, known[name].memory)

    found = []
    for offer in _offers(known.values()):
        price = bills.price_of(offer.use.usage, book, size_of)
        if price is not None:
            found.append(_product(offer, price, place))
    return tuple(sorted(found, key=lambda product: product.sku))


def field_names(types: Iterable[InstanceType], place: Place) -> frozenset[str]:
    """Return what filters may ask for, in lower case, whatever has a price."""
    return frozenset(name for offer in _offers(types) for name in _fields(offer, _attributes(offer, place)))


def _offers(types: Iterable[InstanceType]) -> Iterator[_Offer]:
    known = tuple(types)
    yield from _instances(known)
    yield from _hosts(known)
    yield from _credits(known)
    yield from _volumes()
    yield from _others()


def _attributes(offer: _Offer, place: Place) -> dict[str, str]:
    code = skus.service_of(offer.use.usage, offer.use.operation)
    return {
        "servicecode": code,
        "servicename": bills.SERVICES[code],
        "location": place.name,
        "locationType": "AWS Region",
        "regionCode": place.code,
        **offer.attributes,
        "usagetype": offer.use.usage,
        "operation": offer.use.operation,
    }


def _fields(offer: _Offer, attributes: Mapping[str, str]) -> dict[str, str]:
    asked = {**attributes, TERM_TYPE: ON_DEMAND, **({FAMILY: offer.family} if offer.family else {})}
    return {name.lower(): value for name, value in asked.items()}


def _product(offer: _Offer, price: Tiers, place: Place) -> Product:
    attributes = _attributes(offer, place)
    return Product(
        skus.sku_of(place.code, offer.use.usage, offer.use.operation),
        attributes["servicecode"],
        offer.family,
        attributes,
        uses.unit_of(offer.use.usage),
        price,
        offer.words,
        _fields(offer, attributes),
    )


def _instances(types: Iterable[InstanceType]) -> Iterator[_Offer]:
    """Yield each type in each tenancy; a Spot price is none of the price list's, neither here nor at AWS."""
    for kind in types:
        about = _about(kind)
        for tenancy, word in _TENANCIES.items():
            [use] = uses.of_instance(kind.name, tenancy, spot=False)
            sold = "On Demand" if word == "Shared" else word
            attributes = about | {"tenancy": word, "marketoption": ON_DEMAND}
            yield _Offer(use, "Compute Instance", attributes, f"{sold} Linux {kind.name} Instance Hour")
        [unused] = uses.of_unused_slots(kind.name, 1)
        attributes = about | {"tenancy": "Shared", "marketoption": ON_DEMAND, "capacitystatus": _UNUSED}
        yield _Offer(unused, "Compute Instance", attributes, f"Unused Reservation Linux {kind.name} Instance Hour")


def _hosts(types: Iterable[InstanceType]) -> Iterator[_Offer]:
    """Yield Dedicated Hosts for each family of types; those whose instances have cores alone have none."""
    for family in sorted({kind.family for kind in types if not kind.whole_cores}):
        [use] = uses.of_dedicated_host(family)
        attributes = {
            "instanceType": family,
            "tenancy": "Host",
            "capacitystatus": "AllocatedHost",
            "operatingSystem": "Linux",
            "licenseModel": "No License required",
            "preInstalledSw": _ABSENT,
            "normalizationSizeFactor": _ABSENT,
        }
        yield _Offer(use, "Dedicated Host", attributes, f"On Demand {family} Dedicated Host Hour")


def _credits(types: Iterable[InstanceType]) -> Iterator[_Offer]:
    """Yield the surplus credits of each burstable family."""
    for family in sorted({kind.family for kind in types if kind.burstable}):
        attributes = {"instance": family.upper(), "operatingSystem": "Linux"}
        words = f"vCPU-Hour of {family.upper()} CPU Credits"
        yield _Offer(uses.of_surplus_credits(family, 1), "CPU Credits", attributes, words)


def _about(kind: InstanceType) -> dict[str, str]:
    factor = uses.normalization(f"BoxUsage:{kind.name}")
    store = kind.instance_store
    found = {
        "instanceType": kind.name,
        "vcpu": str(kind.vcpus),
        "memory": f"{kind.memory_mib / 1024:.10g} GiB",
        "storage": f"{store.count} x {store.size} {store.medium.upper()}" if store else "EBS only",
        "networkPerformance": kind.network_performance,
        "currentGeneration": "Yes" if kind.current_generation else "No",
        "processorArchitecture": "64-bit",
        "normalizationSizeFactor": f"{float(factor):g}" if factor else _ABSENT,
        "operatingSystem": "Linux",
        "licenseModel": "No License required",
        "preInstalledSw": _ABSENT,
        "capacitystatus": "Used",
        "availabilityzone": _ABSENT,
    }
    if kind.clock_speed is not None:
        found["clockSpeed"] = f"{kind.clock_speed:g} GHz"
    if kind.gpus is not None:
        found["gpu"] = str(kind.gpus.count)
    return found


def _volumes() -> Iterator[_Offer]:
    for name, kind in volume_types.ALL.items():
        word, media = _MEDIA[name]
        about = {"volumeType": word, "volumeApiName": name, "storageMedia": media}
        most_iops = kind.iops[1] if kind.iops else None
        most_throughput = kind.throughput[1] if kind.throughput else None
        capacity, *speeds = uses.of_volume(name, 1, most_iops, most_throughput)
        limits = {"maxVolumeSize": f"{kind.most_size // 1024} TiB"}
        if most_iops:
            limits["maxIopsvolume"] = str(most_iops)
        if most_throughput:
            limits["maxThroughputvolume"] = f"{most_throughput} MiB/s"
        yield _Offer(capacity, "Storage", about | limits, f"GB-month of {word} ({name}) provisioned storage")
        for speed in speeds:
            if uses.unit_of(speed.usage) == uses.IOPS_MONTH:
                family, group, words = "System Operation", "EBS IOPS", "IOPS-month provisioned"
            else:
                family, group, words = "Provisioned Throughput", "EBS Throughput", "MiBps-month provisioned"
            yield _Offer(speed, family, about | {"group": group, "provisioned": "Yes"}, f"{words} ({name})")


def _traffic() -> Iterator[_Offer]:
    """Yield bytes: those that leave for the internet, between zones and through NAT gateways."""
    family = "Data Transfer"
    outward = {"transferType": "AWS Outbound", "fromLocationType": "AWS Region", "toLocation": "External"}
    for sender in ("RunInstances", "NatGateway"):
        yield _Offer(uses.of_bytes(uses.OUT, sender, 1), family, outward, "GB data transfer out to the internet")
    yield _Offer(uses.of_bytes(uses.OUT, "GetObject", 1), family, outward, "GB of objects out to the internet")
    regional = {"transferType": "IntraRegion", "fromLocationType": "AWS Region", "toLocationType": "AWS Region"}
    for operation in ("InterZone-Out", "InterZone-In", "VPCPeering-Out", "VPCPeering-In"):
        words = "GB data transferred between Availability Zones"
        yield _Offer(uses.of_bytes(uses.REGIONAL, operation, 1), family, regional, words)
    gateway = uses.of_bytes(uses.NAT_BYTES, "NatGateway", 1)
    yield _Offer(gateway, "NAT Gateway", {"group": "NGW:NatGateway"}, "GB data processed by NAT Gateways")


def _others() -> Iterator[_Offer]:
    [snapshot] = uses.of_snapshot(1)
    media = {"storageMedia": "Amazon S3"}
    yield _Offer(snapshot, "Storage Snapshot", media, "GB-month of snapshot data stored")
    [archived] = uses.of_archived_snapshot(1)
    for use, words in (
        (archived, "GB-month of archived snapshot data stored"),
        (uses.of_retrieval(1), "GB of snapshot data restored from the archive"),
        (uses.of_leaving_early(1, 3600), "GB-month of archived snapshot data deleted early"),
    ):
        yield _Offer(use, "Storage Snapshot", media | {"group": "EBS Snapshots Archive"}, words)
    for operation, usage in uses.DIRECT_CALLS.items():
        yield _Offer(Use(usage, operation), "EBS direct API Requests", {"group": "EBS direct API"}, f"{operation} call")
    yield from _traffic()
    for usage, group, words in (
        (uses.TIER_1, "S3-API-Tier1", "PUT, COPY, POST, or LIST requests"),
        (uses.TIER_2, "S3-API-Tier2", "GET and all other requests"),
    ):
        yield _Offer(Use(usage, ""), "API Request", {"group": group, "groupDescription": words}, words)
    about = {"storageClass": "General Purpose", "volumeType": "Standard"}
    yield _Offer(uses.of_bytes_kept(1), "Storage", about, "GB-month of objects")
    for name, [alarm] in (
        ("standard resolution", uses.of_metric_alarm(1, 60)),
        ("high resolution", uses.of_metric_alarm(1, 10)),
        ("composite", uses.of_composite_alarm()),
    ):
        yield _Offer(alarm, "Alarm", {"alarmType": name.title()}, f"alarm-month of a {name} alarm")
    yield _Offer(uses.of_own_metrics(1), "Metric", {"group": "Metric"}, "metric-month")
    yield _Offer(uses.of_detailed_monitoring(), "Metric", {"group": "Metric"}, "metric-month of detailed monitoring")
    for operation in sorted(uses.METRIC_CALLS):
        yield _Offer(Use(uses.METRIC_CALL, operation), "API Request", {"group": "CW-Requests"}, f"{operation} request")
    read = Use(uses.METRIC_READ, "GetMetricData")
    yield _Offer(read, "API Request", {"group": "CW-GMD-Metrics"}, "metric requested by GetMetricData")
    [gateway] = uses.of_nat_gateway()
    yield _Offer(gateway, "NAT Gateway", {"group": "NGW:NatGateway"}, "NAT Gateway Hour")
    for word, found in (
        ("Idle", uses.of_elastic_address(in_use=False)),
        ("In-use", uses.of_elastic_address(in_use=True)),
        ("In-use", uses.of_automatic_address()),
    ):
        [address] = found
        about = {"group": _ADDRESS_GROUP, "groupDescription": f"Hourly charge for {word} Public IPv4 Addresses"}
        yield _Offer(address, "", about, f"{word} public IPv4 address per hour")
