"""AWS's On-Demand prices of what Stead meters, as a price book; pure."""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from decimal import Decimal, InvalidOperation
from typing import Final

from stead_cli.errors import CliError
from stead_cli.offer_files import Origin, Rate

SERVICES: Final = ("AmazonEC2", "AmazonVPC")
"""The services whose files have such prices: addresses are in the second one."""
BOXES: Final = ("BoxUsage", "DedicatedUsage", "HostBoxUsage", "UnusedBox")
"""What AWS has a price for of instances: Spot prices are in no file."""
_OF_INSTANCES: Final = (*BOXES, "SpotUsage")
# Usage types of all regions but us-east-1 begin with a code of the region: EUC1-, APN1-, EU-.
_PREFIX: Final = re.compile(r"[A-Z]{2,4}[0-9]{0,2}-")
_NAME: Final = re.compile(r"[A-Za-z0-9:.-]{1,100}")
_CURRENCY: Final = re.compile(r"[A-Z]{3}")
# The unit in which Stead prices, by how the name of the use begins; all others are for an hour.
_OF_MONTHS: Final = {
    "EBS:SnapshotUsage": "GB-Mo",
    "EBS:VolumeUsage": "GB-Mo",
    "EBS:VolumeP-IOPS": "IOPS-Mo",
    "EBS:VolumeP-Throughput": "MiBps-Mo",
}
# Units of AWS's files, in small letters: which of Stead's units, and how many.
_UNITS: Final = {
    "hrs": ("Hrs", 1),
    "hours": ("Hrs", 1),
    "gb-mo": ("GB-Mo", 1),
    "gb-month": ("GB-Mo", 1),
    "iops-mo": ("IOPS-Mo", 1),
    "mibps-mo": ("MiBps-Mo", 1),
    "gibps-mo": ("MiBps-Mo", 1024),
}
_MOST: Final = 10**9
_PLACES: Final = 24
_WHOLE: Final = ("0", "Inf")
# The attributes of a plain Linux instance that runs on demand.
_PLAIN: Final = {
    "operatingsystem": {"Linux"},
    "preinstalledsw": {"NA"},
    "operation": {"RunInstances"},
    "marketoption": {"OnDemand", ""},
}


@dataclass(slots=True)
class Chosen:
    """Which products of a region count: of `uses`, Stead's names; `regions` are those that were seen."""

    region: str
    uses: frozenset[str]
    regions: set[str] = field(default_factory=set)

    def usage_of(self, about: Mapping[str, str]) -> str | None:
        """Return what Stead calls a product, by its attributes, or None for one that it does not meter there."""
        place = about.get("regioncode", "")
        self.regions.add(place)
        if place != self.region or about.get("locationtype") != "AWS Region":
            return None
        usage = _PREFIX.sub("", about.get("usagetype", ""), count=1)
        kind = usage.partition(":")[0]
        status = "UnusedCapacityReservation" if kind == "UnusedBox" else "Used"
        plain = all(about.get(name, "") in values for name, values in _PLAIN.items())
        if kind in BOXES and plain and about.get("capacitystatus") == status:
            usage = f"{kind}:{about.get('instancetype', '')}"
        elif kind in _OF_INSTANCES:
            return None
        return usage if usage in self.uses else None


def price_book(region: str, files: Iterable[tuple[Origin, Iterable[Rate]]]) -> str:
    """Write a price book; raises CliError unless all prices are clear, of one currency and do not depend on amounts."""
    prices: dict[str, Decimal] = {}
    currencies: set[str] = set()
    origins = []
    for origin, rates in files:
        if origin.service not in SERVICES:
            raise CliError(f"the file is of {origin.service or 'no service'}; of interest are {', '.join(SERVICES)}")
        origins.append(f"{origin.service} {origin.version}" if _NAME.fullmatch(origin.version) else origin.service)
        for rate in rates:
            price = _price(rate)
            if prices.setdefault(rate.usage, price) != price:
                raise CliError(f"{rate.usage} has two prices: {prices[rate.usage]:f} and {price:f}")
            currencies.add(rate.currency)
    if not prices:
        raise CliError(f"there is no price of what Stead meters in {region}")
    if len(currencies) > 1:
        raise CliError(f"there are prices in {' and '.join(sorted(currencies))}; a price book has one currency")
    lines = [
        f"# AWS's On-Demand prices of {region}, for Linux without other software, from {', '.join(origins)}.",
        '# There are no Spot prices in such files: add [[price]] with usage = "SpotUsage:*" if you have one.',
        "",
        f'currency = "{currencies.pop()}"',
    ]
    for usage, price in sorted(prices.items()):
        lines += ["", "[[price]]", f'usage = "{usage}"', f'price = "{price.normalize():f}"']
    return "\n".join([*lines, ""])


def _price(rate: Rate) -> Decimal:
    """Return the price of one of Stead's units."""
    if (rate.begin, rate.end) != _WHOLE:
        raise CliError(f"the price of {rate.usage} depends on the amount, which price books do not know")
    if not _CURRENCY.fullmatch(rate.currency):
        raise CliError(f"the price of {rate.usage} is in {rate.currency!r}, which is no currency")
    wanted = next((unit for start, unit in _OF_MONTHS.items() if rate.usage.startswith(start)), "Hrs")
    unit, parts = _UNITS.get(rate.unit.lower(), ("", 1))
    if unit != wanted:
        raise CliError(f"the price of {rate.usage} is for {rate.unit!r}; it should be for {wanted}")
    try:
        price = Decimal(rate.price)
    except InvalidOperation:
        price = Decimal(-1)
    if not price.is_finite() or not 0 <= price < _MOST or -int(price.as_tuple().exponent) > _PLACES:
        raise CliError(f"the price of {rate.usage} is {rate.price[:40]!r}, which is no plain number of 0 or more")
    return price / parts
