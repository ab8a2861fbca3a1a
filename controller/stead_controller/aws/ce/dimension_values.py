"""GetDimensionValues and GetTags; GetCostCategories and ListCostCategoryDefinitions, of which there are none."""

from collections.abc import Iterable
from fractions import Fraction
from typing import Final

from stead_controller.aws import describe
from stead_controller.aws.call import Call, Params, Result, operation
from stead_controller.aws.ce import cost_filter, cost_query, time_periods, words
from stead_controller.aws.ce.pages import Pages
from stead_controller.errors import InvalidParameter, Unsupported
from stead_controller.metering import cost_sums, cost_tags, dimensions
from stead_controller.metering.cost_sums import Group, Query, Sums

_MOST: Final = 1000
_DESCENDING: Final = "DESCENDING"


@operation("GetDimensionValues", service="ce", writes=False)
def get_dimension_values(call: Call, params: Params) -> Result:
    """List the values that what was used in some time has of a dimension."""
    if words.require(params.get("Context", "COST_AND_USAGE"), "Context", "context") != "COST_AND_USAGE":
        raise Unsupported("Only the context COST_AND_USAGE is supported by this cloud.")
    dimension = dimensions.require(words.require(params["Dimension"], "Dimension", "dimension"))
    found, answer = _page(call, params, "GetDimensionValues", Group("DIMENSION", dimension))
    return {"DimensionValues": [{"Value": value, "Attributes": {}} for value in found], **answer}


@operation("GetTags", service="ce", writes=False)
def get_tags(call: Call, params: Params) -> Result:
    """List the keys of cost allocation tags that were used in some time, or the values of one of them."""
    key = params.get("TagKey")
    for name in ("Filter", "SortBy"):
        if key is None and params.get(name):
            raise Unsupported(f"{name} without TagKey is not supported by this cloud: it would choose among all keys.")
    group = None if key is None else Group("TAG", key)
    found, answer = _page(call, params, "GetTags", group)
    return {"Tags": list(found), **answer}


@operation("GetCostCategories", service="ce", writes=False)
def get_cost_categories(call: Call, params: Params) -> Result:
    """List no cost category: none can be created."""
    Pages.read(call, params, "GetCostCategories")
    time_periods.require_past(*time_periods.bounds(params["TimePeriod"], hours=True), call.now)
    if (given := params.get("Filter")) is not None:
        cost_filter.read(given)
    cost_query.read_metrics([one["Key"] for one in params.get("SortBy") or []] or ["UnblendedCost"])
    if params.get("CostCategoryName") is not None:
        return {"CostCategoryValues": [], "ReturnSize": 0, "TotalSize": 0}
    return {"CostCategoryNames": [], "ReturnSize": 0, "TotalSize": 0}


@operation("ListCostCategoryDefinitions", service="ce", writes=False)
def list_cost_category_definitions(call: Call, params: Params) -> Result:
    """List no definition of a cost category: none can be created."""
    describe.page(call, params, "ListCostCategoryDefinitions", at_least=1, at_most=100)
    return {"CostCategoryReferences": []}


def _page(call: Call, params: Params, name: str, group: Group | None) -> tuple[Iterable[str], Result]:
    """List values of a group, or keys of tags, in order, and what all such answers have."""
    pages = Pages.read(call, params, name)
    begin, end = time_periods.bounds(params["TimePeriod"], hours=True)
    times = time_periods.require_past(begin, end, pages.now)
    given, search, sort = params.get("Filter"), params.get("SearchString", ""), params.get("SortBy") or []
    chosen = None if given is None else cost_filter.read(given)
    limit = params.get("MaxResults", _MOST)
    if limit > _MOST:
        raise InvalidParameter(f"MaxResults can be {_MOST} at most.")
    if len(sort) > 1 or (sort and (search or params.get("NextPageToken"))):
        raise InvalidParameter("SortBy has one key, and excludes SearchString and NextPageToken.")
    by = [(cost_query.read_metrics([one["Key"]])[0], one.get("SortOrder", "ASCENDING")) for one in sort]
    query = Query(call.caller.account_id, call.cloud.region, times, () if group is None else (group,), chosen)
    if group is None:
        keys = cost_tags.keys_within(call.tx, query.account_id, begin, end)
        sums = {key: Sums() for key in keys}
    else:
        [of_all] = cost_sums.run(call.tx, query, pages.now)
        prefix = "" if group.kind == "DIMENSION" else f"{group.key}$"
        sums = {which.removeprefix(prefix): found for (which,), found in of_all.items()}
    values = sorted(value for value in sums if search.casefold() in value.casefold())
    for metric, order in by:
        reverse = words.require(order, "SortOrder", "sortOrder") == _DESCENDING
        values.sort(key=lambda value: _amount(sums[value], metric), reverse=reverse)
    shown, token = pages.cut(values, limit)
    return shown, {"ReturnSize": len(shown), "TotalSize": len(values), "NextPageToken": token}


def _amount(sums: Sums, metric: str) -> Fraction:
    return sums.amount(metric, "")[0]
