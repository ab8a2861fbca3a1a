"""Cost Explorer's operations, on an account as a whole."""

from typing import Final

from stead_controller.aws.authorization.rule import Rule, rule

RULES: Final[dict[str, Rule]] = {
    "GetCostAndUsage": rule(),
    "GetCostAndUsageWithResources": rule(),
    "GetCostCategories": rule(),
    "GetCostForecast": rule(),
    "GetDimensionValues": rule(),
    "GetTags": rule(),
    "GetUsageForecast": rule(),
    "ListCostAllocationTags": rule(),
    "ListCostCategoryDefinitions": rule(),
    "UpdateCostAllocationTagsStatus": rule(),
}
