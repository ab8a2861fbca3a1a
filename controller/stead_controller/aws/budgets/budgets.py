"""CreateBudget, UpdateBudget, DeleteBudget, DescribeBudget(s) and DescribeBudgetPerformanceHistory."""

from itertools import islice
from typing import Any, Final

from stead_controller.aws.budgets import budget_reading, budget_view
from stead_controller.aws.budgets.budget_lookup import (
    find,
    moment,
    only_topic,
    page,
    read_tags,
    read_threshold,
    require_own,
    seconds,
)
from stead_controller.aws.call import Call, Params, Result, operation
from stead_controller.errors import InvalidParameter
from stead_controller.resources.budgets import budget_notifications, budgets, periods, spending
from stead_controller.resources.budgets.budgets import ShownBudget

_PAST: Final = {periods.DAILY: 60, periods.MONTHLY: 13, periods.QUARTERLY: 5}


@operation("CreateBudget", service="budgets")
def create_budget(call: Call, params: Params) -> Result:
    """Make a budget, with notifications."""
    require_own(call, params)
    given = params["Budget"]
    asked, tags = budget_reading.read(given), read_tags(params.get("ResourceTags"))
    budget = budgets.create(call.tx, call.caller, asked, tags, call.now)
    for each in params.get("NotificationsWithSubscribers") or ():
        topic = only_topic(call, each["Subscribers"])
        budget_notifications.create(call.tx, budget, read_threshold(each["Notification"]), topic)
    return {}


@operation("UpdateBudget", service="budgets")
def update_budget(call: Call, params: Params) -> Result:
    """Give a budget other facts."""
    require_own(call, params)
    given = params["NewBudget"]
    budget = budgets.find(call.tx, call.caller, given["BudgetName"])
    budgets.change(call.tx, budget, budget_reading.read(given), call.now)
    return {}


@operation("DeleteBudget", service="budgets")
def delete_budget(call: Call, params: Params) -> Result:
    """Delete a budget with its notifications and actions."""
    budgets.delete(call.tx, find(call, params))
    return {}


@operation("DescribeBudget", service="budgets", writes=False)
def describe_budget(call: Call, params: Params) -> Result:
    """Show a budget."""
    return {"Budget": budget_view.view(call, find(call, params), with_filter=bool(params.get("ShowFilterExpression")))}


@operation("DescribeBudgets", service="budgets", writes=False)
def describe_budgets(call: Call, params: Params) -> Result:
    """List the account's budgets."""
    require_own(call, params)
    asked = page(call, params, "DescribeBudgets", most=1000)
    with_filter = bool(params.get("ShowFilterExpression"))
    after = asked.after[0] if asked.after else None
    rows = budgets.page(call.tx, call.caller, after=after, limit=asked.fetch or 0)
    shown, token = asked.cut(rows, lambda budget: (budget.name,))
    return {"Budgets": [budget_view.view(call, one, with_filter=with_filter) for one in shown], "NextToken": token}


@operation("DescribeBudgetPerformanceHistory", service="budgets", writes=False)
def describe_budget_performance_history(call: Call, params: Params) -> Result:
    """Tell what a budget's last periods amounted to, the present one included."""
    budget = find(call, params)
    if budget.time_unit not in _PAST:
        raise InvalidParameter(f"There is no history of budgets that are {budget.time_unit}.")
    asked = page(call, params, "DescribeBudgetPerformanceHistory")
    period = params.get("TimePeriod") or {}
    since, until = seconds(period.get("Start")), seconds(period.get("End"))
    now = int(call.now.timestamp())
    last = islice(periods.before(budget.time_unit, budget.begins, budget.ends, now), _PAST[budget.time_unit])
    ascending = sorted(one.begin for one in last)
    edges = [*ascending, spending.period_at(budget, call.now).end] if ascending else []
    found = spending.amounts(call.tx, call.cloud.region, budget, edges, call.now) if edges else []
    after = int(asked.after[0]) if asked.after else None
    rows = [
        (begin, _compared(budget, begin, end, spent))
        for begin, end, spent in zip(edges, edges[1:], found, strict=False)
        if (since is None or begin >= since) and (until is None or begin < until) and (after is None or begin < after)
    ]
    shown, token = asked.cut(rows[::-1], lambda row: (str(row[0]),))
    history = {
        "BudgetName": budget.name,
        "BudgetType": budget.kind,
        "TimeUnit": budget.time_unit,
        "BudgetedAndActualAmountsList": [row for _, row in shown],
        **budget_view.counted(budget, with_filter=True),
    }
    return {"BudgetPerformanceHistory": history, "NextToken": token}


def _compared(budget: ShownBudget, begin: int, end: int, spent: Any) -> dict[str, Any]:
    period = periods.at(budget.time_unit, budget.begins, budget.ends, begin)
    return {
        "BudgetedAmount": {"Amount": periods.limit(budgets.limits_of(budget), period), "Unit": budget.unit},
        "ActualAmount": budget_view.spend(spent, budget),
        "TimePeriod": {"Start": moment(begin), "End": moment(end)},
    }
