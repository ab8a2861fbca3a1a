"""A bill as a Cost and Usage dataset of FOCUS 1.4, the FinOps Open Cost and Usage Specification; pure.

Columns and their rules: https://focus.finops.org/focus-specification/. Those are left out that are of what there is not
here: commitments, contracts, invoices, several currencies.
"""

import json
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Final

from stead_proto.focus_words import CATEGORIES, METERS, UNITS
from stead_proto.v1 import operator_pb2 as pb

type Row = dict[str, str]

_SPOT: Final = "SpotUsage:"
_UNUSED: Final = "UnusedBox:"
_CREDITS: Final = "CPUCredits"
_OF_TYPES: Final = frozenset({"Instance", "Capacity Reservation"})


@dataclass(frozen=True, slots=True)
class Charge:
    """A line of a bill, by resource and zone, with the region and the name of who makes the bill."""

    line: pb.BillLine
    region: str
    issuer: str

    @property
    def month(self) -> tuple[datetime, datetime]:
        """When the month of the charge begins and ends."""
        begin = datetime.fromtimestamp(self.line.begin, UTC).replace(day=1, hour=0, minute=0, second=0)
        return begin, (begin + timedelta(days=31)).replace(day=1)

    @property
    def meter(self) -> tuple[str, str]:
        """Of what kind its resource is, and what of it is measured."""
        return next(found for start, found in METERS.items() if self.line.usage.startswith(start))

    @property
    def price(self) -> str:
        """The price of a unit: what has none costs nothing."""
        return self.line.price or "0"

    @property
    def contracted_price(self) -> str:
        """The price of a unit for this account."""
        return self.line.contracted_price or self.price

    @property
    def description(self) -> str:
        """What is charged, and at what price."""
        unit = UNITS[self.line.unit]
        return f"{self.line.usage}: {self.line.quantity} {unit} at {self.contracted_price} {self.line.currency}"

    @property
    def reservation(self) -> tuple[str, str]:
        """The capacity reservation that is not used, and that it is not; what runs in one is not told apart."""
        return (self.line.resource_id, "Unused") if self.line.usage.startswith(_UNUSED) else ("", "")

    @property
    def price_details(self) -> str:
        """What is always so at this price; empty for none."""
        resource, _ = self.meter
        kind, _, name = self.line.usage.partition(":")
        return _json({"InstanceType": name}) if resource in _OF_TYPES and kind != _CREDITS else ""


def _json(found: dict[str, str]) -> str:
    return json.dumps(found, ensure_ascii=False, sort_keys=True) if found else ""


def _moment(seconds: int) -> str:
    return _written(datetime.fromtimestamp(seconds, UTC))


def _written(moment: datetime) -> str:
    return f"{moment:%Y-%m-%dT%H:%M:%SZ}"


# Empty stands for NULL. Columns that are not FOCUS's begin with x_.
_COLUMNS: Final[dict[str, Callable[[Charge], str]]] = {
    "AvailabilityZone": lambda charge: charge.line.zone,
    "BilledCost": lambda charge: charge.line.cost,
    "BillingAccountId": lambda charge: charge.line.account_id,
    "BillingAccountName": lambda charge: charge.line.account_name,
    "BillingCurrency": lambda charge: charge.line.currency,
    "BillingPeriodEnd": lambda charge: _written(charge.month[1]),
    "BillingPeriodStart": lambda charge: _written(charge.month[0]),
    "CapacityReservationId": lambda charge: charge.reservation[0],
    "CapacityReservationStatus": lambda charge: charge.reservation[1],
    "ChargeCategory": lambda _: "Usage",
    "ChargeClass": lambda _: "",
    "ChargeDescription": lambda charge: charge.description,
    "ChargeFrequency": lambda _: "Usage-Based",
    "ChargePeriodEnd": lambda charge: _moment(charge.line.end),
    "ChargePeriodStart": lambda charge: _moment(charge.line.begin),
    "ConsumedQuantity": lambda charge: charge.line.quantity,
    "ConsumedUnit": lambda charge: UNITS[charge.line.unit],
    "ContractedCost": lambda charge: charge.line.cost,
    "ContractedUnitPrice": lambda charge: charge.contracted_price,
    "EffectiveCost": lambda charge: charge.line.cost,
    "HostProviderName": lambda charge: charge.issuer,
    "InvoiceIssuerName": lambda charge: charge.issuer,
    "ListCost": lambda charge: charge.line.list_cost or charge.line.cost,
    "ListUnitPrice": lambda charge: charge.price,
    "PricingCategory": lambda charge: "Dynamic" if charge.line.usage.startswith(_SPOT) else "Standard",
    "PricingQuantity": lambda charge: charge.line.quantity,
    "PricingUnit": lambda charge: UNITS[charge.line.unit],
    "RegionId": lambda charge: charge.region,
    "RegionName": lambda charge: charge.region,
    "ResourceId": lambda charge: charge.line.resource_id,
    "ResourceName": lambda _: "",
    "ResourceType": lambda charge: charge.meter[0],
    "ServiceCategory": lambda charge: CATEGORIES[charge.line.service][0],
    "ServiceName": lambda charge: charge.line.service,
    "ServiceProviderName": lambda charge: charge.issuer,
    "ServiceSubcategory": lambda charge: CATEGORIES[charge.line.service][1],
    "SkuId": lambda charge: charge.line.sku,
    "SkuMeter": lambda charge: charge.meter[1],
    "SkuPriceDetails": lambda charge: charge.price_details,
    "SkuPriceId": lambda charge: charge.line.sku_price,
    "SubAccountId": lambda charge: charge.line.account_id,
    "SubAccountName": lambda charge: charge.line.account_name,
    "Tags": lambda charge: _json(dict(charge.line.tags)),
    "x_Operation": lambda charge: charge.line.operation,
    "x_UsageType": lambda charge: charge.line.usage,
}
COLUMNS: Final = tuple(_COLUMNS)
"""The columns, in the order of the specification: FOCUS's own, then ours."""


def rows(lines: Iterable[pb.BillLine], region: str, issuer: str) -> Iterator[Row]:
    """Yield a row for each line of a bill by resource and zone, of at most a month."""
    for line in lines:
        charge = Charge(line, region, issuer)
        yield {name: of(charge) for name, of in _COLUMNS.items()}
