"""Operations of budgets' actions, and what happened to these."""

from typing import Any

from stead_controller.aws.budgets import action_view
from stead_controller.aws.budgets.budget_lookup import find, page, read_tags, require_own, require_word
from stead_controller.aws.call import Call, Params, Result, operation
from stead_controller.resources.budgets import action_events, actions
from stead_controller.resources.budgets.action_events import ShownEvent
from stead_controller.resources.budgets.actions import ShownAction


@operation("CreateBudgetAction", service="budgets")
def create_budget_action(call: Call, params: Params) -> Result:
    """Make an action."""
    budget, tags = find(call, params), read_tags(params.get("ResourceTags"))
    action = actions.create(call.tx, budget, action_view.read(call, params), tags, call.now)
    return _about(action)


@operation("UpdateBudgetAction", service="budgets")
def update_budget_action(call: Call, params: Params) -> Result:
    """Give an action other facts."""
    budget = find(call, params)
    action = actions.find(call.tx, budget, params["ActionId"])
    old = action_view.view(call, action)
    actions.change(call.tx, budget, action, action_view.read_changed(call, action, params), call.now)
    new = action_view.view(call, action)
    return {"AccountId": action.account_id, "BudgetName": action.budget, "OldAction": old, "NewAction": new}


@operation("DeleteBudgetAction", service="budgets")
def delete_budget_action(call: Call, params: Params) -> Result:
    """Delete an action; what it did stays."""
    action = _find(call, params)
    shown = action_view.view(call, action)
    actions.delete(call.tx, action)
    return {"AccountId": params["AccountId"], "BudgetName": params["BudgetName"], "Action": shown}


@operation("ExecuteBudgetAction", service="budgets")
def execute_budget_action(call: Call, params: Params) -> Result:
    """Approve an action, or let it be tried again, reversed, or judged anew."""
    budget = find(call, params)
    action = actions.find(call.tx, budget, params["ActionId"])
    step = require_word(params["ExecutionType"], "ExecutionType")
    actions.execute(call.tx, budget, action, step, call.now)
    return {**_about(action), "ExecutionType": step}


@operation("DescribeBudgetAction", service="budgets", writes=False)
def describe_budget_action(call: Call, params: Params) -> Result:
    """Show an action."""
    action = _find(call, params)
    shown = action_view.view(call, action)
    return {"AccountId": action.account_id, "BudgetName": action.budget, "Action": shown}


@operation("DescribeBudgetActionsForAccount", service="budgets", writes=False)
def describe_budget_actions_for_account(call: Call, params: Params) -> Result:
    """List the account's actions."""
    require_own(call, params)
    asked = page(call, params, "DescribeBudgetActionsForAccount")
    after = (asked.after[0], asked.after[1]) if asked.after else ("", "")
    rows = actions.of_account(call.tx, call.caller, after=after, limit=asked.fetch or 0)
    shown, token = asked.cut(rows, lambda row: (row.budget, row.id))
    return {"Actions": [action_view.view(call, row) for row in shown], "NextToken": token}


@operation("DescribeBudgetActionsForBudget", service="budgets", writes=False)
def describe_budget_actions_for_budget(call: Call, params: Params) -> Result:
    """List the actions of a budget."""
    budget = find(call, params)
    asked = page(call, params, "DescribeBudgetActionsForBudget")
    after = asked.after[0] if asked.after else ""
    rows = actions.of_budget(call.tx, budget, after=after, limit=asked.fetch or 0)
    shown, token = asked.cut(rows, lambda row: (row.id,))
    return {"Actions": [action_view.view(call, row) for row in shown], "NextToken": token}


@operation("DescribeBudgetActionHistories", service="budgets", writes=False)
def describe_budget_action_histories(call: Call, params: Params) -> Result:
    """List what happened to an action, the newest first."""
    action = _find(call, params)
    asked = page(call, params, "DescribeBudgetActionHistories")
    period = params.get("TimePeriod") or {}
    before = int(asked.after[0]) if asked.after else None
    since, until = period.get("Start"), period.get("End")
    rows = action_events.page(call.tx, action, since, until, before=before, limit=asked.fetch or 0)
    shown, token = asked.cut(rows, lambda row: (str(row.number),))
    return {"ActionHistories": [_event(call, row) for row in shown], "NextToken": token}


def _find(call: Call, params: Params) -> ShownAction:
    return actions.find(call.tx, find(call, params), params["ActionId"])


def _about(action: ShownAction) -> dict[str, Any]:
    return {"AccountId": action.account_id, "BudgetName": action.budget, "ActionId": action.id}


def _event(call: Call, row: ShownEvent) -> dict[str, Any]:
    details = {"Message": row.message, "Action": action_view.view(call, action_events.was(row))}
    return {"Timestamp": row.at, "Status": row.status, "EventType": row.kind, "ActionHistoryDetails": details}
