"""AWS Budgets: budgets and their actions by ARNs of no region, and the role that an action acts with.

See https://docs.aws.amazon.com/service-authorization/latest/reference/list_awsbudgetservice.html: few actions stand for
many operations.
"""

from collections.abc import Iterator
from typing import Final

from stead_controller.aws.authorization.rule import Asked, Check, Part, Rule, Target, rule
from stead_controller.resources.budgets import budgets

_KIND: Final = "budgets"
_VIEW: Final = "ViewBudget"
_MODIFY: Final = "ModifyBudget"


def _arn(asked: Asked, name: str) -> str:
    return budgets.arn_of(asked.call.cloud, asked.call.caller.account_id, name)


def _budget(path: str) -> Part:
    def part(asked: Asked) -> Iterator[Check]:
        for name in asked.values(path):
            arn = _arn(asked, name)
            yield Check(Target(arn, _KIND, arn, tags=_tags(asked)))

    return part


def _all(asked: Asked) -> Iterator[Check]:
    yield Check(Target(_arn(asked, "*")))


def _tagging(asked: Asked) -> Iterator[Check]:
    if _tags(asked):
        for name in asked.values("Budget.BudgetName") or asked.values("BudgetName"):
            yield Check(Target(_arn(asked, name), tags=_tags(asked)), "budgets:TagResource")


def _action(asked: Asked) -> Iterator[Check]:
    for name in asked.values("BudgetName"):
        for action_id in asked.values("ActionId") or ["*"]:
            arn = f"{_arn(asked, name)}/action/{action_id}"
            yield Check(Target(arn, _KIND, arn, tags=_tags(asked)))


def _all_actions(asked: Asked) -> Iterator[Check]:
    yield Check(Target(f"{_arn(asked, '*')}/action/*"))


def _by_arn(asked: Asked) -> Iterator[Check]:
    for arn in asked.values("ResourceARN"):
        yield Check(Target(arn, _KIND, arn, tags=_tags(asked)))


def _pass_role(asked: Asked) -> Iterator[Check]:
    for arn in asked.values("ExecutionRoleArn"):
        yield Check(Target(arn, context={"iam:PassedToService": "budgets.amazonaws.com"}), "iam:PassRole")


def _tags(asked: Asked) -> dict[str, str]:
    tags = {tag["Key"]: tag.get("Value", "") for tag in asked.params.get("ResourceTags") or () if "Key" in tag}
    return tags | dict.fromkeys(asked.params.get("ResourceTagKeys") or (), "")


_NAMED: Final = _budget("BudgetName")

RULES: Final[dict[str, Rule]] = {
    "CreateBudget": rule(_budget("Budget.BudgetName"), _tagging, action=_MODIFY),
    "CreateBudgetAction": rule(_action, _tagging, _pass_role),
    "CreateNotification": rule(_NAMED, action=_MODIFY),
    "CreateSubscriber": rule(_NAMED, action=_MODIFY),
    "DeleteBudget": rule(_NAMED, action=_MODIFY),
    "DeleteBudgetAction": rule(_action),
    "DeleteNotification": rule(_NAMED, action=_MODIFY),
    "DeleteSubscriber": rule(_NAMED, action=_MODIFY),
    "DescribeBudget": rule(_NAMED, action=_VIEW),
    "DescribeBudgetAction": rule(_action),
    "DescribeBudgetActionHistories": rule(_action),
    "DescribeBudgetActionsForAccount": rule(_all_actions),
    "DescribeBudgetActionsForBudget": rule(_action),
    "DescribeBudgetNotificationsForAccount": rule(_all, action=_VIEW),
    "DescribeBudgetPerformanceHistory": rule(_NAMED, action=_VIEW),
    "DescribeBudgets": rule(_all, action=_VIEW),
    "DescribeNotificationsForBudget": rule(_NAMED, action=_VIEW),
    "DescribeSubscribersForNotification": rule(_NAMED, action=_VIEW),
    "ExecuteBudgetAction": rule(_action),
    "ListTagsForResource": rule(_by_arn),
    "TagResource": rule(_by_arn),
    "UntagResource": rule(_by_arn),
    "UpdateBudget": rule(_budget("NewBudget.BudgetName"), action=_MODIFY),
    "UpdateBudgetAction": rule(_action, _pass_role),
    "UpdateNotification": rule(_NAMED, action=_MODIFY),
    "UpdateSubscriber": rule(_NAMED, action=_MODIFY),
}
