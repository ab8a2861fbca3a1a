"""Roles that a service acts with, since a caller passed them to it.

See https://docs.aws.amazon.com/IAM/latest/UserGuide/id_roles_use_passrole.html.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from stead_controller.authorization.conditions import context_of
from stead_controller.authorization.evaluate import Policies, Request, evaluate
from stead_controller.authorization.policy_document import parse
from stead_controller.authorization.principals import Principal
from stead_controller.request.transaction import Transaction
from stead_controller.resources.iam import policies_of_caller, role_sessions
from stead_controller.resources.iam.role_sessions import AskedRole


@dataclass(frozen=True, slots=True)
class Use:
    """What a service wants to do for an account: an action on a resource, by its ARN.

    `context` has the condition keys that the request itself gives.
    """

    service: str
    account_id: str
    action: str
    resource: str
    context: Mapping[str, Any] = field(default_factory=dict, hash=False)


def trusts(tx: Transaction, arn: str, service: str, account_id: str, now: datetime) -> bool:
    """Tell whether an ARN is that of a role of an account which a service may assume.

    Raises InvalidParameter for what is not the ARN of a role.
    """
    return arn.startswith(f"arn:aws:iam::{account_id}:") and _trusts(
        role_sessions.find_role(tx, arn), service, account_id, now
    )


def may(tx: Transaction, arn: str, use: Use, now: datetime) -> bool:
    """Tell whether a service may act with a role of an account, whose ARN this is.

    Its trust policy must let the service assume it, and its own policies, within its boundary, must allow the action.
    Raises InvalidParameter for what is not the ARN of a role.
    """
    if not arn.startswith(f"arn:aws:iam::{use.account_id}:"):
        return False
    role = role_sessions.find_role(tx, arn)
    if not _trusts(role, use.service, use.account_id, now):
        return False
    own = policies_of_caller.of_principal(tx, role.id)
    policies = Policies(
        tuple(parse(text) for text in own.identity), None if own.boundary is None else parse(own.boundary)
    )
    told = {"aws:CurrentTime": now, "aws:PrincipalArn": role.arn, "aws:PrincipalAccount": use.account_id}
    context = context_of({**told, **use.context})
    actor = Principal(role.arn, use.account_id, "role", user_id=role.id)
    return evaluate(Request(use.action, use.resource, actor, context), policies).allowed


def _trusts(role: AskedRole, service: str, account_id: str, now: datetime) -> bool:
    by_service = Principal(arn=service, account_id="", kind="service")
    told = {"aws:CurrentTime": now, "aws:SourceAccount": account_id}
    return role_sessions.trusts(role, by_service, "sts:AssumeRole", told)
