"""Priced uses as rows of the tables that can be exported; pure.

Numbers are exact, or have 28 digits; an empty text is NULL. The columns of FOCUS are defined by
https://focus.finops.org/focus-specification/, those of Cost and Usage Reports by
https://docs.aws.amazon.com/cur/latest/userguide/table-dictionary-cur2.html.
"""

import hashlib
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from fractions import Fraction
from typing import Final

from stead_controller.metering import skus, uses
from stead_controller.metering.bills import BillLine
from stead_controller.metering.priced_uses import PricedUse
from stead_proto.focus_words import CATEGORIES, METERS, UNITS

_PROVIDER: Final = "Stead"
_SPOT: Final = "SpotUsage:"
_UNUSED: Final = "UnusedBox:"


@dataclass(frozen=True, slots=True)
class Charge:
    """What an account pays for one use of one resource, in one part of the time, at one rate."""

    priced: PricedUse
    account_name: str
    region: str
    tag_keys: tuple[str, ...] = ()

    @property
    def line(self) -> BillLine:
        """The line of the bill."""
        return self.priced.line

    @property
    def usage(self) -> str:
        """The name of the use."""
        return self.line.used.usage

    @property
    def month(self) -> tuple[datetime, datetime]:
        """When the month of the charge begins and ends."""
        begin = datetime.fromtimestamp(self.priced.period.begin, UTC).replace(day=1, hour=0, minute=0, second=0)
        return begin, (begin + timedelta(days=31)).replace(day=1)

    @property
    def sku(self) -> str:
        """The name of the price list for it."""
        return skus.sku_of(self.region, self.usage, self.line.used.operation)

    @property
    def rate_code(self) -> str:
        """The price list's name of the price."""
        return skus.price_id_of(self.sku, self.line.rate.tier)

    @property
    def service_code(self) -> str:
        """The code of its service."""
        return skus.service_of(self.usage, self.line.used.operation)

    @property
    def unit(self) -> str:
        """The unit in FOCUS's words."""
        return UNITS.get(self.line.unit, self.line.unit)

    @property
    def resource_type(self) -> str:
        """Of what kind the resource is; empty for one that is not known."""
        return next((found for start, (found, _) in METERS.items() if self.usage.startswith(start)), "")

    @property
    def description(self) -> str:
        """What is charged, and at what price."""
        price = _price(self.line.rate.contracted)
        return f"{self.usage}: {_number(self.line.quantity)} {self.unit} at {price} {self.priced.currency}"

    @property
    def instance_type(self) -> str:
        """The instance type that it is of, if any."""
        return self.usage.partition(":")[2] if self.usage.startswith(uses.OF_TYPES) else ""

    @property
    def id(self) -> str:
        """The same for the same charge whenever it is exported, and for no other of the same time."""
        used = self.line.used
        when = (self.priced.period.begin, self.line.rate.tier, self.priced.currency)
        return hashlib.sha256(json.dumps([*used[:5], used.tags, *when]).encode()).hexdigest()[:40]

    @property
    def category(self) -> tuple[str, str]:
        """The category of its service, and its part of that."""
        return CATEGORIES[self.line.service]

    @property
    def tags(self) -> str:
        """The cost allocation tags, as JSON."""
        found = {key: value for key, value in zip(self.tag_keys, self.line.used.tags, strict=True) if value is not None}
        return json.dumps(found, ensure_ascii=False, sort_keys=True) if found else ""

    @property
    def reservation(self) -> tuple[str, str]:
        """The capacity reservation that is not used, and that it is not."""
        return (self.line.used.resource_id, "Unused") if self.usage.startswith(_UNUSED) else ("", "")


def _number(number: Fraction) -> str:
    return f"{Decimal(number.numerator) / number.denominator:f}"


def _price(price: Decimal | None) -> str:
    return f"{price or Decimal(0):f}"


def _moment(moment: datetime) -> str:
    return f"{moment:%Y-%m-%dT%H:%M:%S.000Z}"


def _seconds(moment: int) -> str:
    return _moment(datetime.fromtimestamp(moment, UTC))


def _empty(_: Charge) -> str:
    return ""


def _always(text: str) -> Callable[[Charge], str]:
    return lambda _: text


def _interval(charge: Charge) -> str:
    begin, end = (datetime.fromtimestamp(one, UTC) for one in (charge.priced.period.begin, charge.priced.period.end))
    return f"{begin:%Y-%m-%dT%H:%M:%SZ}/{end:%Y-%m-%dT%H:%M:%SZ}"


def _normalized(charge: Charge) -> Fraction:
    return charge.line.quantity * uses.normalization(charge.usage)


_VALUES: Final[Mapping[str, Callable[[Charge], str]]] = {
    "AvailabilityZone": lambda charge: charge.line.used.zone,
    "BilledCost": lambda charge: _number(charge.line.cost),
    "BillingAccountId": lambda charge: charge.line.used.account_id,
    "BillingAccountName": lambda charge: charge.account_name,
    "BillingAccountType": _always("Account"),
    "BillingCurrency": lambda charge: charge.priced.currency,
    "BillingPeriodEnd": lambda charge: _moment(charge.month[1]),
    "BillingPeriodStart": lambda charge: _moment(charge.month[0]),
    "CapacityReservationId": lambda charge: charge.reservation[0],
    "CapacityReservationStatus": lambda charge: charge.reservation[1],
    "ChargeCategory": _always("Usage"),
    "ChargeDescription": lambda charge: charge.description,
    "ChargeFrequency": _always("Usage-Based"),
    "ChargePeriodEnd": lambda charge: _seconds(charge.priced.period.end),
    "ChargePeriodStart": lambda charge: _seconds(charge.priced.period.begin),
    "ConsumedQuantity": lambda charge: _number(charge.line.quantity),
    "ConsumedUnit": lambda charge: charge.unit,
    "ContractedCost": lambda charge: _number(charge.line.cost),
    "ContractedUnitPrice": lambda charge: _price(charge.line.rate.contracted),
    "EffectiveCost": lambda charge: _number(charge.line.cost),
    "InvoiceIssuerName": _always(_PROVIDER),
    "ListCost": lambda charge: _number(charge.line.list_cost),
    "ListUnitPrice": lambda charge: _price(charge.line.rate.price),
    "PricingCategory": lambda charge: "Dynamic" if charge.usage.startswith(_SPOT) else "Standard",
    "PricingCurrency": lambda charge: charge.priced.currency,
    "PricingCurrencyContractedUnitPrice": lambda charge: _price(charge.line.rate.contracted),
    "PricingCurrencyEffectiveCost": lambda charge: _number(charge.line.cost),
    "PricingCurrencyListUnitPrice": lambda charge: _price(charge.line.rate.price),
    "PricingQuantity": lambda charge: _number(charge.line.quantity),
    "PricingUnit": lambda charge: charge.unit,
    "ProviderName": _always(_PROVIDER),
    "PublisherName": _always(_PROVIDER),
    "RegionId": lambda charge: charge.region,
    "RegionName": lambda charge: charge.region,
    "ResourceId": lambda charge: charge.line.used.resource_id,
    "ResourceType": lambda charge: charge.resource_type,
    "ServiceCategory": lambda charge: charge.category[0],
    "ServiceName": lambda charge: charge.line.service,
    "ServiceSubcategory": lambda charge: charge.category[1],
    "SkuId": lambda charge: charge.sku,
    "SkuMeter": lambda charge: charge.usage.partition(":")[0],
    "SkuPriceDetails": lambda charge: (
        json.dumps({"InstanceType": charge.instance_type}) if charge.instance_type else ""
    ),
    "SkuPriceId": lambda charge: charge.rate_code,
    "SubAccountId": lambda charge: charge.line.used.account_id,
    "SubAccountName": lambda charge: charge.account_name,
    "SubAccountType": _always("Account"),
    "Tags": lambda charge: charge.tags,
    "x_Operation": lambda charge: charge.line.used.operation,
    "x_ServiceCode": lambda charge: charge.service_code,
    "x_UsageType": lambda charge: charge.usage,
    "bill_bill_type": _always("Anniversary"),
    "bill_billing_entity": _always(_PROVIDER),
    "bill_billing_period_end_date": lambda charge: _moment(charge.month[1]),
    "bill_billing_period_start_date": lambda charge: _moment(charge.month[0]),
    "bill_payer_account_id": lambda charge: charge.line.used.account_id,
    "bill_payer_account_name": lambda charge: charge.account_name,
    "identity_line_item_id": lambda charge: charge.id,
    "identity_time_interval": _interval,
    "line_item_availability_zone": lambda charge: charge.line.used.zone,
    "line_item_blended_cost": lambda charge: _number(charge.line.cost),
    "line_item_blended_rate": lambda charge: _price(charge.line.rate.contracted),
    "line_item_currency_code": lambda charge: charge.priced.currency,
    "line_item_line_item_description": lambda charge: charge.description,
    "line_item_line_item_type": _always("Usage"),
    "line_item_normalization_factor": lambda charge: _number(uses.normalization(charge.usage)),
    "line_item_normalized_usage_amount": lambda charge: _number(_normalized(charge)),
    "line_item_operation": lambda charge: charge.line.used.operation,
    "line_item_product_code": lambda charge: charge.service_code,
    "line_item_resource_id": lambda charge: charge.line.used.resource_id,
    "line_item_unblended_cost": lambda charge: _number(charge.line.cost),
    "line_item_unblended_rate": lambda charge: _price(charge.line.rate.contracted),
    "line_item_usage_account_id": lambda charge: charge.line.used.account_id,
    "line_item_usage_account_name": lambda charge: charge.account_name,
    "line_item_usage_amount": lambda charge: _number(charge.line.quantity),
    "line_item_usage_end_date": lambda charge: _seconds(charge.priced.period.end),
    "line_item_usage_start_date": lambda charge: _seconds(charge.priced.period.begin),
    "line_item_usage_type": lambda charge: charge.usage,
    "pricing_currency": lambda charge: charge.priced.currency,
    "pricing_public_on_demand_cost": lambda charge: _number(charge.line.list_cost),
    "pricing_public_on_demand_rate": lambda charge: _price(charge.line.rate.price),
    "pricing_rate_code": lambda charge: charge.rate_code,
    "pricing_term": lambda charge: "Spot" if charge.usage.startswith(_SPOT) else "OnDemand",
    "pricing_unit": lambda charge: charge.line.unit,
    "product_instance_type": lambda charge: charge.instance_type,
    "product_region_code": lambda charge: charge.region,
    "product_servicecode": lambda charge: charge.service_code,
    "product_sku": lambda charge: charge.sku,
    "product_usagetype": lambda charge: charge.usage,
    "resource_tags": lambda charge: charge.tags,
}


def row(charge: Charge, columns: tuple[str, ...]) -> list[str]:
    """Return the values of columns; those of what there is not here (commitments, discounts of AWS's) are NULL."""
    return [_VALUES.get(column, _empty)(charge) for column in columns]
