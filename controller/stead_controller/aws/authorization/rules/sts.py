"""The Security Token Service.

Who may assume a role its trust policy decides together with the caller's own, which the operation itself asks; a
session of one's own rights needs no permission.
"""

from collections.abc import Iterator
from typing import Final

from stead_controller.aws.authorization.rule import FREE, Asked, Check, Rule, Target, rule


def _federated_user(asked: Asked) -> Iterator[Check]:
    for name in asked.values("Name"):
        yield Check(Target(asked.arn("federated-user", name, service="sts", region="")))


RULES: Final[dict[str, Rule]] = {
    "AssumeRole": FREE,
    "AssumeRoleWithWebIdentity": FREE,
    "DecodeAuthorizationMessage": rule(),
    "GetAccessKeyInfo": rule(),
    "GetCallerIdentity": FREE,
    "GetFederationToken": rule(_federated_user),
    "GetSessionToken": FREE,
}
