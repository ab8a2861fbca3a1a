"""Auto Scaling: what changes the size of groups and tells of it, by the ARN of the group.

Policies and scheduled actions have no type of their own in
https://docs.aws.amazon.com/service-authorization/latest/reference/list_amazonec2autoscaling.html.
"""

from collections.abc import Iterator
from typing import Final

from stead_controller.aws.authorization.rule import Asked, Check, Rule, rule
from stead_controller.aws.authorization.rules.autoscaling import groups_of, target
from stead_controller.resources.scaling import policies

_GROUP: Final = groups_of("AutoScalingGroupName")


def _of_policy(asked: Asked) -> Iterator[Check]:
    """Check the group of a policy that is named by its ARN, or in a group."""
    given = [*asked.values("AutoScalingGroupName")]
    named = [group for name in asked.values("PolicyName") if (group := policies.group_of_arn(name)) is not None]
    for name in dict.fromkeys([*given, *named]):
        yield Check(target(asked, name))


RULES: Final[dict[str, Rule]] = {
    "BatchDeleteScheduledAction": rule(_GROUP),
    "BatchPutScheduledUpdateGroupAction": rule(_GROUP),
    "DeleteNotificationConfiguration": rule(_GROUP),
    "DeletePolicy": rule(_of_policy),
    "DeleteScheduledAction": rule(_GROUP),
    "DescribeAutoScalingNotificationTypes": rule(),
    "DescribeMetricCollectionTypes": rule(),
    "DescribeNotificationConfigurations": rule(),
    "DescribePolicies": rule(),
    "DescribeScheduledActions": rule(),
    "DisableMetricsCollection": rule(_GROUP),
    "EnableMetricsCollection": rule(_GROUP),
    "ExecutePolicy": rule(_of_policy),
    "PutNotificationConfiguration": rule(_GROUP),
    "PutScalingPolicy": rule(_GROUP),
    "PutScheduledUpdateGroupAction": rule(_GROUP),
}
