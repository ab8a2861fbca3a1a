"""The part of Cost Explorer, the price list, budgets and exports of `base_requests.py`: good requests about what is billed."""

from datetime import UTC, datetime, timedelta
from typing import Any, Final

from stead_controller.db.tables import UsageLine
from tests.api import budget_requests, export_requests
from tests.api.conftest import Api

Named = dict[str, Any]
_TODAY: Final = datetime.now(UTC)
_PERIOD: Final = {"Start": f"{_TODAY - timedelta(days=2):%Y-%m-%d}", "End": f"{_TODAY:%Y-%m-%d}"}
_TO_COME: Final = {"Start": f"{_TODAY + timedelta(days=1):%Y-%m-%d}", "End": f"{_TODAY + timedelta(days=3):%Y-%m-%d}"}
_OF_RESOURCE: Final = {"Dimensions": {"Key": "RESOURCE_ID", "Values": ["i-1"]}}
_BY_RESOURCE: Final = [{"Type": "DIMENSION", "Key": "RESOURCE_ID"}]
PRICE_LIST: Final = "arn:aws:pricing:::price-list/aws/AmazonEC2/USD/19700101000000/us-east-1"
_ASKED: Final = {"TimePeriod": _PERIOD, "Granularity": "DAILY"}


def add_costs(tx: Any, account_id: str) -> None:
    """Add what was used in the last five days."""
    began, ended = (int((_TODAY - timedelta(days=ago)).timestamp()) for ago in (5, 0))
    about = {"account_id": account_id, "resource_id": "i-1", "usage": "BoxUsage:t3.micro", "operation": "RunInstances"}
    tx.session.add(UsageLine(**about, zone="us-east-1a", quantity=1, began=began, ended=ended))


def build_budgets(api: Api) -> Named:
    """Make budgets and exports."""
    return budget_requests.build(api) | export_requests.build(api)


COSTS: Final[dict[str, Named]] = {
    **budget_requests.BASES,
    **export_requests.BASES,
    "GetCostAndUsage": {**_ASKED, "Metrics": ["UnblendedCost"]},
    "GetCostAndUsageWithResources": {**_ASKED, "Filter": _OF_RESOURCE, "GroupBy": _BY_RESOURCE},
    "GetCostCategories": {"TimePeriod": _PERIOD},
    "GetCostForecast": {"TimePeriod": _TO_COME, "Granularity": "DAILY", "Metric": "UNBLENDED_COST"},
    "GetDimensionValues": {"TimePeriod": _PERIOD, "Dimension": "SERVICE"},
    "GetTags": {"TimePeriod": _PERIOD},
    "GetUsageForecast": {
        "TimePeriod": _TO_COME,
        "Granularity": "DAILY",
        "Metric": "USAGE_QUANTITY",
        # What the other requests make is measured in other units, and counts from midnight on.
        "Filter": {"Dimensions": {"Key": "USAGE_TYPE", "Values": ["BoxUsage:t3.micro"]}},
    },
    "DescribeServices": {},
    "GetAttributeValues": {"ServiceCode": "AmazonEC2", "AttributeName": "volumeType"},
    "GetPriceListFileUrl": {"PriceListArn": PRICE_LIST, "FileFormat": "csv"},
    "GetProducts": {"ServiceCode": "AmazonEC2"},
    "ListPriceLists": {"ServiceCode": "AmazonEC2", "EffectiveDate": _TODAY, "CurrencyCode": "USD"},
    "UpdateCostAllocationTagsStatus": {"CostAllocationTagsStatus": [{"TagKey": "a", "Status": "Active"}]},
}
_PRICES: Final = ("GetAttributeValues", "GetPriceListFileUrl", "GetProducts")
_FILTERED: Final = tuple(name for name in COSTS if name.startswith("Get") and name not in _PRICES)
_LEAVES: Final[dict[str, Named]] = {
    "Dimensions": {"Key": "SERVICE", "Values": ["x"]},
    "Tags": {"Key": "team", "Values": ["x"]},
    "CostCategories": {"Key": "c", "Values": ["x"]},
}
COSTS_BESIDE: Final[dict[str, Named]] = {
    "GetProducts Filters": {"Type": "TERM_MATCH", "Field": "volumeApiName", "Value": "gp3"},
    **budget_requests.COMPANIONS,
    **{f"{name} Filter.{leaf}": needed for name in _FILTERED for leaf, needed in _LEAVES.items()},
    **{f"{name} GroupBy": {"Type": "DIMENSION", "Key": "RESOURCE_ID"} for name in _FILTERED},
    "GetCostAndUsage GroupBy": {"Type": "DIMENSION", "Key": "SERVICE"},
    **{f"{name} SortBy": {"Key": "UnblendedCost"} for name in _FILTERED},
}
COSTS_OF: Final[dict[tuple[str, str], Any]] = {
    ("DescribeServices", "ServiceCode"): "AmazonEC2",
    ("DescribeServices", "FormatVersion"): "aws_v1",
    ("GetProducts", "FormatVersion"): "aws_v1",
    ("GetProducts", "Filters.Type"): "TERM_MATCH",
    ("GetProducts", "Filters.Field"): "volumeApiName",
    **budget_requests.VALUES_OF,
    **export_requests.VALUES_OF,
    **{(name, f"Filter.{leaf}.MatchOptions"): ["EQUALS"] for name in _FILTERED for leaf in _LEAVES},
    **{(name, "Filter.Dimensions.Key"): "SERVICE" for name in _FILTERED},
    **{(name, "SortBy.Key"): "UnblendedCost" for name in _FILTERED},
    **{(name, "SortBy.SortOrder"): "DESCENDING" for name in _FILTERED},
    **{(name, "TimePeriod.Start"): _PERIOD["Start"] for name in _FILTERED if "Forecast" not in name},
    **{(name, "TimePeriod.End"): _PERIOD["End"] for name in _FILTERED if "Forecast" not in name},
    ("GetCostAndUsage", "GroupBy.Key"): "SERVICE",
    ("GetCostAndUsage", "GroupBy.Type"): "DIMENSION",
    ("GetCostAndUsageWithResources", "GroupBy.Key"): "RESOURCE_ID",
    ("GetCostAndUsageWithResources", "GroupBy.Type"): "DIMENSION",
    ("GetCostAndUsage", "Metrics"): ["UsageQuantity"],
    ("GetCostAndUsageWithResources", "Metrics"): ["UsageQuantity"],
    ("ListCostAllocationTags", "TagKeys"): ["a"],
    ("ListCostAllocationTags", "Status"): "Active",
    ("ListCostAllocationTags", "Type"): "UserDefined",
    ("UpdateCostAllocationTagsStatus", "CostAllocationTagsStatus.Status"): "Active",
}
