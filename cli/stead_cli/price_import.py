"""AWS's On-Demand prices of what Stead meters, as a price book; pure."""

import re
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal, InvalidOperation
from typing import Final

from stead_cli.errors import CliError
from stead_cli.offer_files import Origin, Rate, Sold

SERVICES: Final = ("AmazonEC2", "AmazonVPC", "AmazonCloudWatch", "AmazonS3")
"""The services whose files have such prices: addresses are in the second one."""
BOXES: Final = ("BoxUsage", "DedicatedUsage", "HostBoxUsage", "UnusedBox")
"""What AWS has a price for of instances: Spot prices are in no file."""
_OF_INSTANCES: Final = (*BOXES, "SpotUsage")
# Usage types of all regions but us-east-1 begin with a code of the region: EUC1-, APN1-, EU-.
_PREFIX: Final = re.compile(r"\A[A-Z]{2,4}[0-9]{0,2}-")
_NAME: Final = re.compile(r"[A-Za-z0-9:.-]{1,100}")
_CURRENCY: Final = re.compile(r"[A-Z]{3}")
# The unit in which Stead prices, by how the name of the use begins; all others are for an hour.
_NOT_OF_HOURS: Final = {
    "EBS:SnapshotUsage": "GB-Mo",
    "EBS:SnapshotArchiveRetrieval": "GB",
    "EBS:SnapshotArchive": "GB-Mo",
    "EBS:VolumeUsage": "GB-Mo",
    "EBS:VolumeP-IOPS": "IOPS-Mo",
    "EBS:VolumeP-Throughput": "MiBps-Mo",
    "EBS:directAPI.snapshot.List": "Requests",
    "EBS:directAPI.": "SnapshotAPIUnits",
    "CPUCredits:": "vCPU-Hours",
    "CW:MetricMonitorUsage": "Metrics",
    "CW:GMD-Metrics": "Metrics",
    "CW:Requests": "Requests",
    "CW:": "Alarms",
    "Requests-": "Requests",
    "TimedStorage-": "GB-Mo",
    "NatGateway-Bytes": "GB",
    "DataTransfer-": "GB",
}
# Units of AWS's files, in small letters: which of Stead's units, and how many.
_UNITS: Final = {
    "hrs": ("Hrs", 1),
    "hours": ("Hrs", 1),
    "gb-mo": ("GB-Mo", 1),
    "gb-month": ("GB-Mo", 1),
    "iops-mo": ("IOPS-Mo", 1),
    "mibps-mo": ("MiBps-Mo", 1),
    "vcpu-hours": ("vCPU-Hours", 1),
    "gb": ("GB", 1),
    "alarms": ("Alarms", 1),
    "metrics": ("Metrics", 1),
    "snapshotapiunits": ("SnapshotAPIUnits", 1),
    "requests": ("Requests", 1),
    "gibps-mo": ("MiBps-Mo", 1024),
}
_MOST: Final = 10**9
_PLACES: Final = 24
_NO_END: Final = "Inf"
# The attributes of a plain Linux instance that runs on demand.
_PLAIN: Final = {
    "operatingsystem": {"Linux"},
    "preinstalledsw": {"NA"},
    "operation": {"RunInstances"},
    "marketoption": {"OnDemand", ""},
}

type _Range = tuple[Decimal, Decimal | None]


@dataclass(slots=True)
class Chosen:
    """Which products count: of some regions, and of `uses`, Stead's names; `seen` are the regions that there are."""

    regions: Collection[str]
    uses: frozenset[str]
    seen: set[str] = field(default_factory=set)

    def usage_of(self, about: Mapping[str, str]) -> Sold | None:
        """Return what Stead calls a product, by its attributes, or None for one that it does not meter there."""
        place = about.get("regioncode", "")
        self.seen.add(place)
        if place not in self.regions or about.get("locationtype") != "AWS Region":
            return None
        usage = _PREFIX.sub("", about.get("usagetype", ""), count=1)
        kind = usage.partition(":")[0]
        status = "UnusedCapacityReservation" if kind == "UnusedBox" else "Used"
        plain = all(about.get(name, "") in values for name, values in _PLAIN.items())
        if kind in BOXES and plain and about.get("capacitystatus") == status:
            usage = f"{kind}:{about.get('instancetype', '')}"
        elif kind in _OF_INSTANCES:
            return None
        return Sold(usage, place) if usage in self.uses else None


def price_book(regions: Sequence[str], files: Iterable[tuple[Origin, Iterable[Rate]]]) -> str:
    """Write a price book; the prices of one region are for any cloud, those of several ones name theirs.

    Raises CliError unless all prices are clear, of one currency, and each unit has one.
    """
    prices: dict[Sold, dict[_Range, Decimal]] = {}
    currencies: set[str] = set()
    origins = []
    for origin, rates in files:
        if origin.service not in SERVICES:
            raise CliError(f"the file is of {origin.service or 'no service'}; of interest are {', '.join(SERVICES)}")
        origins.append(f"{origin.service} {origin.version}" if _NAME.fullmatch(origin.version) else origin.service)
        for rate in rates:
            units, price = _range(rate), _price(rate)
            if (known := prices.setdefault(rate.sold, {}).setdefault(units, price)) != price:
                raise CliError(f"{rate.sold} has two prices: {known:f} and {price:f}")
            currencies.add(rate.currency)
    for region in regions:
        if not any(sold.region == region for sold in prices):
            raise CliError(f"there is no price of what Stead meters in {region}")
    if len(currencies) > 1:
        raise CliError(f"there are prices in {' and '.join(sorted(currencies))}; a price book has one currency")
    where = " and ".join(regions)
    lines = [
        f"# AWS's On-Demand prices of {where}, for Linux without other software, from {', '.join(origins)}.",
        '# There are no Spot prices in such files: add [[price]] with usage = "SpotUsage:*" if you have one.',
        "",
        f'currency = "{currencies.pop()}"',
    ]
    for sold, tiers in sorted(prices.items()):
        named = [f'region = "{sold.region}"'] if len(regions) > 1 else []
        lines += ["", "[[price]]", f'usage = "{sold}"', *named, *_written(sold, tiers)]
    return "\n".join([*lines, ""])


def _written(usage: Sold, tiers: Mapping[_Range, Decimal]) -> list[str]:
    """Write the one price of a use, or its tiers; raises CliError for a gap or an overlap."""
    if [*tiers] == [(Decimal(0), None)]:
        return [f'price = "{_shown(tiers[Decimal(0), None])}"']
    found = []
    reached: Decimal | None = Decimal(0)
    for begin, end in sorted(tiers, key=lambda units: units[0]):
        if begin != reached or (end is not None and end <= begin):
            raise CliError(f"the tiers of {usage} have a gap or an overlap at {_shown(begin)}")
        price = _shown(tiers[begin, end])
        found.append(f'    {{ begin = "{_shown(begin)}", end = "{_shown(end)}", price = "{price}" }},')
        reached = end
    if reached is not None:
        raise CliError(f"the tiers of {usage} end at {_shown(reached)}")
    return ["tiers = [", *found, "]"]


def _shown(number: Decimal | None) -> str:
    return _NO_END if number is None else f"{number.normalize():f}"


def _range(rate: Rate) -> _Range:
    """Return of which of Stead's units a price is, from which to which; no end is None."""
    parts = _unit(rate)
    end = None if rate.end == _NO_END else _number(rate.end, f"the end of a tier of {rate.sold}") * parts
    return _number(rate.begin, f"the begin of a tier of {rate.sold}") * parts, end


def _price(rate: Rate) -> Decimal:
    """Return the price of one of Stead's units."""
    if not _CURRENCY.fullmatch(rate.currency):
        raise CliError(f"the price of {rate.sold} is in {rate.currency!r}, which is no currency")
    parts = _unit(rate)
    return _number(rate.price, f"the price of {rate.sold}") / parts


def _unit(rate: Rate) -> int:
    """Return how many of Stead's units a price is for."""
    wanted = next((unit for start, unit in _NOT_OF_HOURS.items() if rate.sold.usage.startswith(start)), "Hrs")
    unit, parts = _UNITS.get(rate.unit.lower(), ("", 1))
    if unit != wanted:
        raise CliError(f"the price of {rate.sold} is for {rate.unit!r}; it should be for {wanted}")
    return parts


def _number(text: str, what: str) -> Decimal:
    try:
        number = Decimal(text)
    except InvalidOperation:
        number = Decimal(-1)
    if not number.is_finite() or not 0 <= number < _MOST or -int(number.as_tuple().exponent) > _PLACES:
        raise CliError(f"{what} is {text[:40]!r}, which is no plain number of 0 or more")
    return number
