"""The tables that exports can read, with AWS's columns in AWS's order; pure.

See https://docs.aws.amazon.com/cur/latest/userguide/table-dictionary-focus-1-2-aws-columns.html and its neighbours.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

from stead_controller.errors import InvalidParameter, Unsupported

GRANULARITY: Final = "TIME_GRANULARITY"
HOURLY, DAILY, MONTHLY = "HOURLY", "DAILY", "MONTHLY"
RESOURCES: Final = "INCLUDE_RESOURCES"
TRUE, FALSE = "TRUE", "FALSE"
_STRING, _DOUBLE, _TIME, _MAP = "string", "double", "timestamp_milliseconds", "map"
_FOCUS_1_0: Final = [
    "AvailabilityZone",
    "BilledCost",
    "BillingAccountId",
    "BillingAccountName",
    "BillingCurrency",
    "BillingPeriodEnd",
    "BillingPeriodStart",
    "ChargeCategory",
    "ChargeClass",
    "ChargeDescription",
    "ChargeFrequency",
    "ChargePeriodEnd",
    "ChargePeriodStart",
    "CommitmentDiscountCategory",
    "CommitmentDiscountId",
    "CommitmentDiscountName",
    "CommitmentDiscountStatus",
    "CommitmentDiscountType",
    "ConsumedQuantity",
    "ConsumedUnit",
    "ContractedCost",
    "ContractedUnitPrice",
    "EffectiveCost",
    "InvoiceIssuerName",
    "ListCost",
    "ListUnitPrice",
    "PricingCategory",
    "PricingQuantity",
    "PricingUnit",
    "ProviderName",
    "PublisherName",
    "RegionId",
    "RegionName",
    "ResourceId",
    "ResourceName",
    "ResourceType",
    "ServiceCategory",
    "ServiceName",
    "SkuId",
    "SkuPriceId",
    "SubAccountId",
    "SubAccountName",
    "Tags",
    "x_CostCategories",
    "x_Discounts",
    "x_Operation",
    "x_ServiceCode",
    "x_UsageType",
]
_FOCUS_1_2: Final = [
    "AvailabilityZone",
    "BilledCost",
    "BillingAccountId",
    "BillingAccountName",
    "BillingAccountType",
    "BillingCurrency",
    "BillingPeriodEnd",
    "BillingPeriodStart",
    "CapacityReservationId",
    "CapacityReservationStatus",
    "ChargeCategory",
    "ChargeClass",
    "ChargeDescription",
    "ChargeFrequency",
    "ChargePeriodEnd",
    "ChargePeriodStart",
    "CommitmentDiscountCategory",
    "CommitmentDiscountId",
    "CommitmentDiscountName",
    "CommitmentDiscountQuantity",
    "CommitmentDiscountStatus",
    "CommitmentDiscountType",
    "CommitmentDiscountUnit",
    "ConsumedQuantity",
    "ConsumedUnit",
    "ContractedCost",
    "ContractedUnitPrice",
    "EffectiveCost",
    "InvoiceId",
    "InvoiceIssuerName",
    "ListCost",
    "ListUnitPrice",
    "PricingCategory",
    "PricingCurrency",
    "PricingCurrencyContractedUnitPrice",
    "PricingCurrencyEffectiveCost",
    "PricingCurrencyListUnitPrice",
    "PricingQuantity",
    "PricingUnit",
    "ProviderName",
    "PublisherName",
    "RegionId",
    "RegionName",
    "ResourceId",
    "ResourceName",
    "ResourceType",
    "ServiceCategory",
    "ServiceName",
    "ServiceSubcategory",
    "SkuId",
    "SkuMeter",
    "SkuPriceDetails",
    "SkuPriceId",
    "SubAccountId",
    "SubAccountName",
    "SubAccountType",
    "Tags",
    "x_Discounts",
    "x_Operation",
    "x_ServiceCode",
]
_CUR: Final = [
    "bill_bill_type",
    "bill_billing_entity",
    "bill_billing_period_end_date",
    "bill_billing_period_start_date",
    "bill_payer_account_id",
    "bill_payer_account_name",
    "identity_line_item_id",
    "identity_time_interval",
    "line_item_availability_zone",
    "line_item_blended_cost",
    "line_item_blended_rate",
    "line_item_currency_code",
    "line_item_line_item_description",
    "line_item_line_item_type",
    "line_item_normalization_factor",
    "line_item_normalized_usage_amount",
    "line_item_operation",
    "line_item_product_code",
    "line_item_resource_id",
    "line_item_unblended_cost",
    "line_item_unblended_rate",
    "line_item_usage_account_id",
    "line_item_usage_account_name",
    "line_item_usage_amount",
    "line_item_usage_end_date",
    "line_item_usage_start_date",
    "line_item_usage_type",
    "pricing_currency",
    "pricing_public_on_demand_cost",
    "pricing_public_on_demand_rate",
    "pricing_rate_code",
    "pricing_term",
    "pricing_unit",
    "product_instance_type",
    "product_region_code",
    "product_servicecode",
    "product_sku",
    "product_usagetype",
    "resource_tags",
]
_DOUBLES: Final = ("Cost", "Quantity", "UnitPrice", "_cost", "_rate", "_amount", "_factor")
_TIMES: Final = ("PeriodEnd", "PeriodStart", "_date")
_MAPS: Final = frozenset({"Tags", "SkuPriceDetails", "x_CostCategories", "x_Discounts", "resource_tags"})


@dataclass(frozen=True, slots=True)
class Property:
    """What may be asked of a table: one of `values`, the first of which counts where none is given."""

    values: tuple[str, ...]
    words: str


@dataclass(frozen=True, slots=True)
class Table:
    """A table: its columns in order, and its properties by name."""

    name: str
    words: str
    columns: tuple[str, ...]
    properties: Mapping[str, Property] = field(default_factory=dict)

    def read(self, given: Mapping[str, str]) -> dict[str, str]:
        """Return all properties, with the values that count; raises InvalidParameter, Unsupported."""
        if unknown := sorted(set(given) - set(self.properties)):
            raise InvalidParameter(f"The table {self.name} has no property {unknown[0]}.")
        for name, value in given.items():
            if value not in self.properties[name].values:
                raise Unsupported(
                    f"{name}={value[:100]} of {self.name} is not supported by this cloud; there are "
                    f"{', '.join(self.properties[name].values)}."
                )
        return {name: given.get(name, known.values[0]) for name, known in self.properties.items()}


_BY_TIME: Final = Property((HOURLY, DAILY, MONTHLY), "The time of a row.")
_NOT: Final = (FALSE,)
TABLES: Final = {
    table.name: table
    for table in (
        Table(
            "COST_AND_USAGE_REPORT",
            "Costs and use by resource, as in Cost and Usage Reports 2.0.",
            tuple(_CUR),
            {
                GRANULARITY: _BY_TIME,
                RESOURCES: Property((FALSE, TRUE), "Whether rows are apart by resource."),
                "INCLUDE_MANUAL_DISCOUNT_COMPATIBILITY": Property(_NOT, "Whether discounts are shown in old columns."),
                "INCLUDE_SPLIT_COST_ALLOCATION_DATA": Property(_NOT, "Whether costs of containers are apart."),
            },
        ),
        Table("FOCUS_1_0_AWS", "Costs and use by FOCUS 1.0, with AWS's columns.", tuple(_FOCUS_1_0)),
        Table(
            "FOCUS_1_2_AWS",
            "Costs and use by FOCUS 1.2, with AWS's columns.",
            tuple(_FOCUS_1_2),
            {GRANULARITY: _BY_TIME},
        ),
    )
}


def find(name: str) -> Table:
    """Return a table; raises InvalidParameter."""
    if name not in TABLES:
        raise InvalidParameter(f"There is no table {name[:100]} here; there are {', '.join(TABLES)}.")
    return TABLES[name]


def type_of(column: str) -> str:
    """Return the type of a column, as AWS's table dictionary calls it."""
    if column in _MAPS:
        return _MAP
    if column.endswith(_TIMES):
        return _TIME
    return _DOUBLE if column.endswith(_DOUBLES) else _STRING
