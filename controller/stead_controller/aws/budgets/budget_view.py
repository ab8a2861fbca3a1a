"""A Budget as answers show it."""

from fractions import Fraction
from typing import Any, Final

from stead_controller.aws.budgets import cost_filters
from stead_controller.aws.budgets.budget_lookup import moment
from stead_controller.aws.budgets.budget_reading import AMORTIZED, BLENDED, COST_TYPES
from stead_controller.aws.call import Call
from stead_controller.metering.cost_filter import Filter, Leaf
from stead_controller.metering.cost_sums import text_of
from stead_controller.resources.budgets import budgets, periods, spending
from stead_controller.resources.budgets.budgets import ShownBudget

_MEMBERS: Final = {"DIMENSION": "Dimensions", "TAG": "Tags", "COST_CATEGORY": "CostCategories"}


def view(call: Call, budget: ShownBudget, *, with_filter: bool) -> dict[str, Any]:
    """Show a budget and what it amounts to now; its filter expression is shown if it is asked for."""
    period = spending.period_at(budget, call.now)
    spent = spending.spent(call.tx, call.cloud.region, budget, period, call.now)
    forecast = spent.forecast if call.now.timestamp() < period.end else None
    limits = budgets.limits_of(budget)
    return {
        "BudgetName": budget.name,
        "BudgetType": budget.kind,
        "TimeUnit": budget.time_unit,
        "TimePeriod": {"Start": moment(budget.begins), "End": moment(budget.ends)},
        "BudgetLimit": {"Amount": periods.limit(limits, period), "Unit": budget.unit},
        "PlannedBudgetLimits": _planned(budget, limits),
        "CalculatedSpend": {
            "ActualSpend": spend(spent.actual, budget),
            "ForecastedSpend": None if forecast is None else spend(forecast, budget),
        },
        "LastUpdatedTime": budget.updated,
        **counted(budget, with_filter=with_filter),
    }


def counted(budget: ShownBudget, *, with_filter: bool) -> dict[str, Any]:
    """Show what counts, as it was given: by old names, or by a metric and an expression."""
    chosen = spending.filter_of(budget)
    if not budget.named:
        shown = None if chosen is None or not with_filter else expression(chosen)
        return {"Metrics": [budget.metric], "FilterExpression": shown}
    chosen_types = {"UseBlended": budget.metric == BLENDED, "UseAmortized": budget.metric == AMORTIZED}
    types = COST_TYPES | chosen_types if budget.kind == spending.COST else None
    return {"CostFilters": cost_filters.show(chosen), "CostTypes": types}


def spend(amount: Fraction, budget: ShownBudget) -> dict[str, str]:
    """Show an amount in a budget's unit."""
    return {"Amount": text_of(amount), "Unit": budget.unit}


def expression(found: Filter) -> dict[str, Any]:
    """Show a filter expression; values are sorted."""
    if isinstance(found, Leaf):
        if found.absent:
            return {_MEMBERS[found.kind]: {"Key": found.key, "MatchOptions": ["ABSENT"]}}
        return {_MEMBERS[found.kind]: {"Key": found.key, "Values": sorted(found.values)}}
    parts = [expression(part) for part in found.parts]
    return {found.kind: parts[0] if found.kind == "Not" else parts}


def _planned(budget: ShownBudget, limits: list[tuple[int, str]]) -> dict[str, Any] | None:
    if not budget.planned:
        return None
    begin = periods.first_begin(budget.time_unit, int(budget.updated.timestamp()))
    return {str(since): {"Amount": amount, "Unit": budget.unit} for since, amount in limits if since >= begin}
