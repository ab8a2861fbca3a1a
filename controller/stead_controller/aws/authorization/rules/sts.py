"""The Security Token Service.

Who may assume a role its trust policy decides together with the caller's own, which the operation itself asks; a
session of one's own rights needs no permission.
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
