"""Cost Explorer's part of `base_requests.py`: good requests about what is billed."""

from datetime import UTC, datetime, timedelta
from typing import Any, Final

Named = dict[str, Any]
_TODAY: Final = datetime.now(UTC)
_PERIOD: Final = {"Start": f"{_TODAY - timedelta(days=2):%Y-%m-%d}", "End": f"{_TODAY:%Y-%m-%d}"}
_TO_COME: Final = {"Start": f"{_TODAY + timedelta(days=1):%Y-%m-%d}", "End": f"{_TODAY + timedelta(days=3):%Y-%m-%d}"}
_COMPUTE: Final = {"Dimensions": {"Key": "SERVICE", "Values": ["Amazon Elastic Compute Cloud - Compute"]}}
_OF_RESOURCE: Final = {"Dimensions": {"Key": "RESOURCE_ID", "Values": ["i-1"]}}
_ASKED: Final = {"TimePeriod": _PERIOD, "Granularity": "DAILY"}
COSTS: Final[dict[str, Named]] = {
    "GetCostAndUsage": {**_ASKED, "Metrics": ["UnblendedCost"]},
    "GetCostAndUsageWithResources": {**_ASKED, "Filter": _OF_RESOURCE},
    "GetCostCategories": {"TimePeriod": _PERIOD},
    "GetCostForecast": {"TimePeriod": _TO_COME, "Granularity": "DAILY", "Metric": "UNBLENDED_COST"},
    "GetDimensionValues": {"TimePeriod": _PERIOD, "Dimension": "SERVICE"},
    "GetTags": {"TimePeriod": _PERIOD},
    "GetUsageForecast": {"TimePeriod": _TO_COME, "Granularity": "DAILY", "Metric": "NORMALIZED_USAGE_AMOUNT"},
    "UpdateCostAllocationTagsStatus": {"CostAllocationTagsStatus": [{"TagKey": "a", "Status": "Active"}]},
}
COSTS_OF: Final[dict[tuple[str, str], Any]] = {
    ("ListCostAllocationTags", "TagKeys"): ["a"],
    ("ListCostAllocationTags", "Status"): "Active",
    ("ListCostAllocationTags", "Type"): "UserDefined",
    ("UpdateCostAllocationTagsStatus", "CostAllocationTagsStatus.Status"): "Active",
}
