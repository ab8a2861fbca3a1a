"""A Budget as a request gives it."""

from collections.abc import Mapping
from typing import Any, Final

from stead_controller.aws.budgets import cost_filters
from stead_controller.aws.budgets.budget_lookup import require_word, seconds
from stead_controller.aws.ce import cost_filter
from stead_controller.errors import InvalidCombination, InvalidParameter, MissingParameter, Unsupported
from stead_controller.metering.cost_filter import Filter, keys_of
from stead_controller.metering.cost_sums import COSTS, QUANTITY
from stead_controller.metering.usage_sums import MOST_TAGS
from stead_controller.resources.budgets import periods, spending
from stead_controller.resources.budgets.budgets import BudgetRequest
from stead_controller.resources.budgets.periods import Limits

COST_TYPES: Final = {
    "IncludeTax": True,
    "IncludeSubscription": True,
    "UseBlended": False,
    "IncludeRefund": True,
    "IncludeCredit": True,
    "IncludeUpfront": True,
    "IncludeRecurring": True,
    "IncludeOtherSubscription": True,
    "IncludeSupport": True,
    "IncludeDiscount": True,
    "UseAmortized": False,
}
"""The members of CostTypes, and what they are unless they are given."""
BLENDED, AMORTIZED, UNBLENDED = "BlendedCost", "AmortizedCost", "UnblendedCost"

_TOLD: Final = ("CalculatedSpend", "LastUpdatedTime", "HealthStatus")
_UNBUILT: Final = ("AutoAdjustData", "BillingViewArn")
_PLANNED: Final = (periods.MONTHLY, periods.QUARTERLY)


def read(given: Mapping[str, Any]) -> BudgetRequest:
    """Read a budget; raises InvalidParameter, InvalidCombination, or Unsupported for what there is not here."""
    kind = require_word(given["BudgetType"], "BudgetType")
    if kind not in (spending.COST, spending.USAGE):
        raise Unsupported(f"Budgets of the type {kind} are not supported by this cloud: there are no reservations.")
    for name in _TOLD:
        if given.get(name) is not None:
            raise Unsupported(f"{name} is told of a budget; to give it is not supported.")
    for name in _UNBUILT:
        if given.get(name) is not None:
            raise Unsupported(f"{name} is not supported by this cloud.")
    time_unit = require_word(given["TimeUnit"], "TimeUnit")
    limits, unit, planned = _limits(given, time_unit)
    metric, chosen, named = _counted(given, kind)
    period = given.get("TimePeriod") or {}
    return BudgetRequest(
        name=given["BudgetName"],
        kind=kind,
        time_unit=time_unit,
        begins=seconds(period.get("Start")),
        ends=seconds(period.get("End")),
        unit=unit,
        limits=limits,
        planned=planned,
        metric=metric,
        filter=chosen,
        named=named,
    )


def _limits(given: Mapping[str, Any], time_unit: str) -> tuple[Limits, str, bool]:
    """Return the amounts of a limit, each with the time from which it is valid, their unit, and if they are planned."""
    one, planned = given.get("BudgetLimit"), given.get("PlannedBudgetLimits")
    if one is not None and planned:
        raise InvalidCombination("Only one of BudgetLimit and PlannedBudgetLimits can be given.")
    if not planned:
        if one is None:
            raise MissingParameter("BudgetLimit")
        return [(0, one["Amount"])], one["Unit"], False
    if time_unit not in _PLANNED:
        raise InvalidParameter(f"PlannedBudgetLimits is for budgets that are {' or '.join(_PLANNED)}.")
    if not all(since.isdecimal() and len(since) <= 12 for since in planned):
        raise InvalidParameter("The keys of PlannedBudgetLimits are seconds since 1970.")
    units = {limit["Unit"] for limit in planned.values()}
    if len(units) > 1:
        raise InvalidParameter("All limits of PlannedBudgetLimits must have the same unit.")
    return sorted((int(since), limit["Amount"]) for since, limit in planned.items()), units.pop(), True


def _counted(given: Mapping[str, Any], kind: str) -> tuple[str, Filter | None, bool]:
    """Return the metric, the filter, and whether these were given by old names."""
    expression, metrics = given.get("FilterExpression"), given.get("Metrics")
    old_filters, types = given.get("CostFilters"), given.get("CostTypes")
    if expression is None and not metrics:
        return _metric_of(types, kind), cost_filters.read(old_filters or {}), True
    if old_filters or types is not None:
        raise InvalidCombination("FilterExpression and Metrics cannot be given with CostFilters or CostTypes.")
    chosen = None if expression is None else _filter(expression)
    valid = COSTS if kind == spending.COST else (QUANTITY,)
    metric = (metrics or [UNBLENDED if kind == spending.COST else QUANTITY])[0]
    require_word(metric, "Metric")
    if metric not in valid:
        raise Unsupported(
            f"The metric {metric} is not supported for budgets of the type {kind}; valid are {', '.join(valid)}."
        )
    return metric, chosen, False


def _filter(expression: Mapping[str, Any]) -> Filter:
    chosen = cost_filter.read(expression)
    if "RESOURCE_ID" in keys_of([chosen], "DIMENSION"):
        raise Unsupported("The dimension RESOURCE_ID is not supported for budgets.")
    if len(keys_of([chosen], "TAG")) > MOST_TAGS:
        raise Unsupported(f"More than {MOST_TAGS} tag keys in one budget are not supported by this cloud.")
    return chosen


def _metric_of(types: Mapping[str, Any] | None, kind: str) -> str:
    """Return the metric that CostTypes chooses; raises Unsupported for what costs here have not."""
    if kind != spending.COST:
        if types is not None:
            raise InvalidParameter("CostTypes is for budgets of the type COST.")
        return QUANTITY
    found = {name: (types or {}).get(name) for name in COST_TYPES}
    for name, value in found.items():
        if name.startswith("Include") and value is False:
            raise Unsupported(f"{name} false is not supported by this cloud, which has no such costs.")
    if found["UseBlended"] and found["UseAmortized"]:
        raise InvalidCombination("Only one of UseBlended and UseAmortized can be true.")
    return BLENDED if found["UseBlended"] else AMORTIZED if found["UseAmortized"] else UNBLENDED
