"""GetCostAndUsage and GetCostAndUsageWithResources."""

from itertools import groupby
from typing import Final

from stead_controller.aws.call import Call, Params, Result, operation
from stead_controller.aws.ce import cost_filter, cost_query, time_periods
from stead_controller.aws.ce.pages import Pages
from stead_controller.errors import InvalidParameter
from stead_controller.metering import cost_sums
from stead_controller.metering.cost_filter import Filter, keys_of
from stead_controller.metering.cost_sums import Group, Query, Sums

_MOST_ROWS: Final = 2000  # groups of all parts of the time in one page
_RESOURCE: Final = "RESOURCE_ID"


@operation("GetCostAndUsage", service="ce", writes=False)
def get_cost_and_usage(call: Call, params: Params) -> Result:
    """Tell what the account used and what it costs, by hour, day or month."""
    return _answer(call, params, "GetCostAndUsage", with_resources=False)


@operation("GetCostAndUsageWithResources", service="ce", writes=False)
def get_cost_and_usage_with_resources(call: Call, params: Params) -> Result:
    """Do so by single resources, for the last 14 days."""
    return _answer(call, params, "GetCostAndUsageWithResources", with_resources=True)


def _answer(call: Call, params: Params, name: str, *, with_resources: bool) -> Result:
    pages = Pages.read(call, params, name)
    now = pages.now
    times = time_periods.read(params["TimePeriod"], params["Granularity"], now)
    groups = cost_query.read_groups(params.get("GroupBy") or [])
    given = params.get("Filter")
    chosen = None if given is None else cost_filter.read(given)
    metrics = cost_query.read_metrics(params.get("Metrics") or (["UnblendedCost"] if with_resources else []))
    if with_resources:
        time_periods.require_recent(times.edges[0], now)
    _require_resources(groups, chosen, with_resources=with_resources)
    query = Query(call.caller.account_id, call.cloud.region, times.edges, groups, chosen)
    found = cost_sums.run(call.tx, query, now)
    currencies = cost_sums.currencies(call.tx, times.edges)
    rows = [
        (part, keys, sums)
        for part, of_part in enumerate(found)
        for keys, sums in (sorted(of_part.items()) or [((), Sums())])
    ]
    shown, token = pages.cut(rows, _MOST_ROWS)
    results = [
        _result(
            times.shown(part),
            {keys: _metrics(sums, metrics, currencies[part]) for _, keys, sums in of_part},
            grouped=bool(groups),
            estimated=times.edges[part + 1] > now.timestamp(),
        )
        for part, of_part in groupby(shown, key=lambda row: row[0])
    ]
    definitions = [{"Type": group.kind, "Key": group.key} for group in groups]
    return {
        **({"GroupDefinitions": definitions} if groups else {}),
        "ResultsByTime": results,
        "DimensionValueAttributes": [],
        "NextPageToken": token,
    }


def _result(shown: Result, metrics: dict[tuple[str, ...], Result], *, grouped: bool, estimated: bool) -> Result:
    """Show one part of the time: its groups, or what all together is."""
    groups = [{"Keys": list(keys), "Metrics": found} for keys, found in metrics.items() if grouped and keys]
    total = {} if grouped else next(iter(metrics.values()))
    return {"TimePeriod": shown, "Total": total, "Groups": groups, "Estimated": estimated}


def _metrics(sums: Sums, names: tuple[str, ...], currency: str) -> Result:
    shown = {}
    for name in names:
        amount, unit = sums.amount(name, currency)
        shown[name] = {"Amount": cost_sums.text_of(amount), "Unit": unit}
    return shown


def _require_resources(groups: tuple[Group, ...], chosen: Filter | None, *, with_resources: bool) -> None:
    """Raise InvalidParameter unless resources are told apart exactly where they can be."""
    filters = () if chosen is None else (chosen,)
    named = {group.key for group in groups if group.kind == "DIMENSION"} | keys_of(filters, "DIMENSION")
    if with_resources and _RESOURCE not in named:
        raise InvalidParameter(f"The request must be grouped or filtered by {_RESOURCE}.")
    if not with_resources and _RESOURCE in named:
        raise InvalidParameter(f"{_RESOURCE} is a dimension of GetCostAndUsageWithResources only.")
