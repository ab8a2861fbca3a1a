"""Cost Explorer's part of `base_requests.py`: good requests about what is billed."""

from typing import Any, Final

Named = dict[str, Any]
COSTS: Final[dict[str, Named]] = {
    "UpdateCostAllocationTagsStatus": {"CostAllocationTagsStatus": [{"TagKey": "a", "Status": "Active"}]},
}
COSTS_OF: Final[dict[tuple[str, str], Any]] = {
    ("ListCostAllocationTags", "TagKeys"): ["a"],
    ("ListCostAllocationTags", "Status"): "Active",
    ("ListCostAllocationTags", "Type"): "UserDefined",
    ("UpdateCostAllocationTagsStatus", "CostAllocationTagsStatus.Status"): "Active",
}
