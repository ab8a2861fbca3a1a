"""Notifications of budgets, and their subscribers: of each one topic, without which there is no notification."""

from typing import Any

from stead_controller.aws.budgets.budget_lookup import (
    find,
    only_topic,
    page,
    read_address,
    read_threshold,
    read_topic,
    require_own,
    subscriber,
)
from stead_controller.aws.call import Call, Params, Result, operation
from stead_controller.resources.budgets import budget_notifications, budgets
from stead_controller.resources.budgets.budget_notifications import ShownNotification


@operation("CreateNotification", service="budgets")
def create_notification(call: Call, params: Params) -> Result:
    """Add a notification to a budget."""
    budget, topic = find(call, params), only_topic(call, params["Subscribers"])
    budget_notifications.create(call.tx, budget, read_threshold(params["Notification"]), topic)
    budgets.touch(budget, call.now)
    return {}


@operation("UpdateNotification", service="budgets")
def update_notification(call: Call, params: Params) -> Result:
    """Give a notification another threshold."""
    budget = find(call, params)
    old, new = (read_threshold(params[name]) for name in ("OldNotification", "NewNotification"))
    budget_notifications.change(call.tx, budget, old, new)
    budgets.touch(budget, call.now)
    return {}


@operation("DeleteNotification", service="budgets")
def delete_notification(call: Call, params: Params) -> Result:
    """Delete a notification."""
    budget_notifications.delete(call.tx, find(call, params), read_threshold(params["Notification"]))
    return {}


@operation("DescribeNotificationsForBudget", service="budgets", writes=False)
def describe_notifications_for_budget(call: Call, params: Params) -> Result:
    """List the notifications of a budget."""
    budget = find(call, params)
    asked = page(call, params, "DescribeNotificationsForBudget")
    after = asked.after[0] if asked.after else ""
    rows = budget_notifications.of_budget(call.tx, budget, after=after, limit=asked.fetch or 0)
    shown, token = asked.cut(rows, lambda row: (row.id,))
    return {"Notifications": [_view(row) for row in shown], "NextToken": token}


@operation("DescribeBudgetNotificationsForAccount", service="budgets", writes=False)
def describe_budget_notifications_for_account(call: Call, params: Params) -> Result:
    """List the account's budgets that have notifications, with these."""
    require_own(call, params)
    asked = page(call, params, "DescribeBudgetNotificationsForAccount", most=1000, default=50)
    after = asked.after[0] if asked.after else None
    rows = budget_notifications.of_account(call.tx, call.caller, after=after, limit=asked.fetch or 0)
    shown, token = asked.cut(rows, lambda row: (row[0],))
    found = [{"BudgetName": name, "Notifications": [_view(row) for row in of_budget]} for name, of_budget in shown]
    return {"BudgetNotificationsForAccount": found, "NextToken": token}


@operation("CreateSubscriber", service="budgets")
def create_subscriber(call: Call, params: Params) -> Result:
    """Refuse a further subscriber: each notification has the one topic that there can be."""
    budget_notifications.subscribe(_notification(call, params), read_topic(call, params["Subscriber"]))
    return {}


@operation("UpdateSubscriber", service="budgets")
def update_subscriber(call: Call, params: Params) -> Result:
    """Let another topic be told."""
    old, new = read_address(params["OldSubscriber"]), read_topic(call, params["NewSubscriber"])
    budget_notifications.touch_subscriber(_notification(call, params), old, new)
    return {}


@operation("DeleteSubscriber", service="budgets")
def delete_subscriber(call: Call, params: Params) -> Result:
    """Delete the subscriber of a notification, which is deleted with its last one, as in AWS."""
    budget_notifications.require_subscriber(_notification(call, params), read_address(params["Subscriber"]))
    budget_notifications.delete(call.tx, find(call, params), read_threshold(params["Notification"]))
    return {}


@operation("DescribeSubscribersForNotification", service="budgets", writes=False)
def describe_subscribers_for_notification(call: Call, params: Params) -> Result:
    """List the subscribers of a notification."""
    page(call, params, "DescribeSubscribersForNotification")
    return {"Subscribers": [subscriber(_notification(call, params).topic)]}


def _notification(call: Call, params: Params) -> ShownNotification:
    return budget_notifications.find(call.tx, find(call, params), read_threshold(params["Notification"]))


def _view(row: ShownNotification) -> dict[str, Any]:
    return {
        "NotificationType": row.kind,
        "ComparisonOperator": row.comparison,
        "Threshold": row.threshold,
        "ThresholdType": row.threshold_type,
        "NotificationState": row.state,
    }
