"""Data Lifecycle Manager: policies, by id or by ARN, and the role that a policy acts with."""

from collections.abc import Iterator
from typing import Final

from stead_controller.aws.authorization.rule import Asked, Check, Rule, Target, rule


def _by_id(asked: Asked) -> Iterator[Check]:
    for policy_id in asked.values("PolicyId"):
        yield Check(Target(asked.arn("policy", policy_id, service="dlm"), "lifecycle-policy", policy_id))


def _by_arn(asked: Asked) -> Iterator[Check]:
    for arn in asked.values("ResourceArn"):
        yield Check(Target(arn, "lifecycle-policy", arn.rpartition("/")[2], tags=_tags(asked)))


def _new(asked: Asked) -> Iterator[Check]:
    yield Check(Target(asked.arn("policy", "*", service="dlm"), tags=_tags(asked)))


def _pass_role(asked: Asked) -> Iterator[Check]:
    for arn in asked.values("ExecutionRoleArn"):
        yield Check(Target(arn, context={"iam:PassedToService": "dlm.amazonaws.com"}), "iam:PassRole")


def _tags(asked: Asked) -> dict[str, str]:
    tags = dict(asked.params.get("Tags") or {})
    return tags | dict.fromkeys(asked.params.get("TagKeys") or (), "")


RULES: Final[dict[str, Rule]] = {
    "CreateLifecyclePolicy": rule(_new, _pass_role),
    "DeleteLifecyclePolicy": rule(_by_id),
    "GetLifecyclePolicies": rule(),
    "GetLifecyclePolicy": rule(_by_id),
    "ListTagsForResource": rule(_by_arn),
    "TagResource": rule(_by_arn),
    "UntagResource": rule(_by_arn),
    "UpdateLifecyclePolicy": rule(_by_id, _pass_role),
}
