"""The Security Token Service.

The operation itself decides who may assume a role, by the role's trust policy and the caller's policies; a session
with the caller's own permissions needs no permission.
"""

from collections.abc import Iterator
from typing import Final

from stead_controller.aws.authorization.rule import FREE, Asked, Check, Rule, Target, rule


def _federated_user(asked: Asked) -> Iterator[Check]:
    tags = {tag["Key"]: tag.get("Value", "") for tag in asked.params.get("Tags", ()) if "Key" in tag}
    for name in asked.values("Name"):
        target = Target(asked.arn("federated-user", name, service="sts", region=""), tags=tags)
        yield Check(target)
        if tags:
            yield Check(target, "sts:TagSession")


RULES: Final[dict[str, Rule]] = {
    "AssumeRole": FREE,
    "AssumeRoleWithWebIdentity": FREE,
    "DecodeAuthorizationMessage": rule(),
    "GetAccessKeyInfo": rule(),
    "GetCallerIdentity": FREE,
    "GetFederationToken": rule(_federated_user),
    "GetSessionToken": FREE,
}
