"""AWS Budgets' part of `base_requests.py`: budgets with a notification and actions, and good requests about them."""

from datetime import UTC, datetime
from typing import Any, Final

from stead_controller.db.tables import BudgetAction
from tests.api.conftest import Api
from tests.api.identity import trust

Named = dict[str, Any]
_OWN: Final = "111111111111"
_TOPIC: Final = f"arn:aws:sns:us-east-1:{_OWN}:told"
_OTHER_TOPIC: Final = f"arn:aws:sns:us-east-1:{_OWN}:told-too"
_ROLE: Final = f"arn:aws:iam::{_OWN}:role/saver"
_LIMIT: Final = {"Amount": "10", "Unit": "USD"}
_BUDGET: Final[Named] = {"BudgetName": "own", "BudgetType": "COST", "TimeUnit": "MONTHLY", "BudgetLimit": _LIMIT}
_OVER: Final[Named] = {"NotificationType": "ACTUAL", "ComparisonOperator": "GREATER_THAN", "Threshold": 80.0}
_TOLD: Final = {"SubscriptionType": "SNS", "Address": _TOPIC}
_INSTANCES: Final = {
    "ActionSubType": "STOP_EC2_INSTANCES",
    "Region": "us-east-1",
    "InstanceIds": ["i-0123456789abcdef0"],
}
_POLICY: Final[Named] = {"PolicyArn": "arn:aws:iam::aws:policy/ReadOnlyAccess", "Users": ["eve"]}
_ACTION: Final[Named] = {
    "AccountId": _OWN,
    "BudgetName": "own",
    "NotificationType": "ACTUAL",
    "ActionType": "RUN_SSM_DOCUMENTS",
    "ActionThreshold": {"ActionThresholdValue": 90.0, "ActionThresholdType": "PERCENTAGE"},
    "Definition": {"SsmActionDefinition": _INSTANCES},
    "ExecutionRoleArn": _ROLE,
    "ApprovalModel": "MANUAL",
    "Subscribers": [_TOLD],
}
_NEXT: Final = datetime(datetime.now(UTC).year + 1, 1, 1, tzinfo=UTC)


def build(api: Api) -> Named:
    """Make two budgets, one with a notification and an action that waits for approval."""
    client = api.client(api.world.one, "budgets")
    sns, iam = api.client(api.world.one, "sns"), api.client(api.world.one, "iam")
    for name in ("told", "told-too"):
        sns.create_topic(Name=name)
    trusted = trust({"Service": "budgets.amazonaws.com"})
    iam.create_role(RoleName="saver", AssumeRolePolicyDocument=trusted)
    notified = [{"Notification": _OVER, "Subscribers": [_TOLD]}]
    client.create_budget(AccountId=_OWN, Budget=_BUDGET, NotificationsWithSubscribers=notified)
    action = client.create_budget_action(**_ACTION)["ActionId"]

    def wait(tx: Any) -> None:
        tx.session.get_one(BudgetAction, action).status = "PENDING"

    api.run(wait)
    return {"budget_action": action}


_NEW: Final = _BUDGET | {"BudgetName": "new"}
_OF_BUDGET: Final = {"AccountId": _OWN, "BudgetName": "own"}
_OF_ACTION: Final = _OF_BUDGET | {"ActionId": "{budget_action}"}
_OF_NOTIFICATION: Final = _OF_BUDGET | {"Notification": _OVER}
_ARN: Final = f"arn:aws:budgets::{_OWN}:budget/own"

BASES: Final[dict[str, Named]] = {
    "CreateBudget": {"AccountId": _OWN, "Budget": _NEW},
    "CreateBudgetAction": _ACTION,
    "CreateSubscriber": _OF_NOTIFICATION | {"Subscriber": _TOLD},
    "CreateNotification": _OF_BUDGET | {"Notification": _OVER | {"Threshold": 70.0}, "Subscribers": [_TOLD]},
    "DeleteBudget": _OF_BUDGET,
    "DeleteBudgetAction": _OF_ACTION,
    "DeleteNotification": _OF_NOTIFICATION,
    "DeleteSubscriber": _OF_NOTIFICATION | {"Subscriber": _TOLD},
    "DescribeBudget": _OF_BUDGET,
    "DescribeBudgetAction": _OF_ACTION,
    "DescribeBudgetActionHistories": _OF_ACTION,
    "DescribeBudgetActionsForAccount": {"AccountId": _OWN},
    "DescribeBudgetActionsForBudget": _OF_BUDGET,
    "DescribeBudgetNotificationsForAccount": {"AccountId": _OWN},
    "DescribeBudgetPerformanceHistory": _OF_BUDGET,
    "DescribeBudgets": {"AccountId": _OWN},
    "DescribeNotificationsForBudget": _OF_BUDGET,
    "DescribeSubscribersForNotification": _OF_NOTIFICATION,
    "ExecuteBudgetAction": _OF_ACTION | {"ExecutionType": "APPROVE_BUDGET_ACTION"},
    "UpdateBudget": {"AccountId": _OWN, "NewBudget": _BUDGET},
    "UpdateBudgetAction": _OF_ACTION,
    "UpdateNotification": _OF_BUDGET | {"OldNotification": _OVER, "NewNotification": _OVER | {"Threshold": 70.0}},
    "UpdateSubscriber": _OF_NOTIFICATION
    | {"OldSubscriber": _TOLD, "NewSubscriber": {"SubscriptionType": "SNS", "Address": _OTHER_TOPIC}},
    "budgets:ListTagsForResource": {"ResourceARN": _ARN},
    "budgets:TagResource": {"ResourceARN": _ARN, "ResourceTags": [{"Key": "a", "Value": "b"}]},
    "budgets:UntagResource": {"ResourceARN": _ARN, "ResourceTagKeys": ["a"]},
}
_GIVEN: Final = {"CreateBudget": "Budget", "UpdateBudget": "NewBudget"}
_LEAVES: Final[dict[str, Named]] = {
    "Dimensions": {"Key": "SERVICE", "Values": ["x"]},
    "Tags": {"Key": "team", "Values": ["x"]},
    "CostCategories": {"Key": "c", "Values": ["x"]},
}
COMPANIONS: Final[dict[str, Named]] = {
    "UpdateBudgetAction Definition.SsmActionDefinition": _INSTANCES,
    **{
        f"{operation} {member}.FilterExpression.{leaf}": needed
        for operation, member in _GIVEN.items()
        for leaf, needed in _LEAVES.items()
    },
}
VALUES_OF: Final[dict[tuple[str, str], Any]] = {
    ("CreateBudget", "NotificationsWithSubscribers.Subscribers.Address"): _TOPIC,
    **{(name, f"{member}.TimePeriod.End"): _NEXT for name, member in _GIVEN.items()},
    **{(name, f"{member}.PlannedBudgetLimits"): {"1": _LIMIT} for name, member in _GIVEN.items()},
    **{(name, f"{member}.CostFilters"): {"Service": ["x"]} for name, member in _GIVEN.items()},
    **{(name, f"{member}.FilterExpression.Dimensions.Key"): "SERVICE" for name, member in _GIVEN.items()},
    **{
        (name, f"{member}.FilterExpression.{leaf}.MatchOptions"): ["EQUALS"]
        for name, member in _GIVEN.items()
        for leaf in _LEAVES
    },
}
