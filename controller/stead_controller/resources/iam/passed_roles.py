"""Roles that a service acts with, since a caller passed them to it.

See https://docs.aws.amazon.com/IAM/latest/UserGuide/id_roles_use_passrole.html.
"""

from dataclasses import dataclass
from datetime import datetime

from stead_controller.authorization.conditions import context_of
from stead_controller.authorization.evaluate import Policies, Request, evaluate
from stead_controller.authorization.policy_document import parse
from stead_controller.authorization.principals import Principal
from stead_controller.request.transaction import Transaction
from stead_controller.resources.iam import policies_of_caller, role_sessions


@dataclass(frozen=True, slots=True)
class Use:
    """What a service wants to do for an account: an action on a resource, by its ARN."""

    service: str
    account_id: str
    action: str
    resource: str


def may(tx: Transaction, arn: str, use: Use, now: datetime) -> bool:
    """Tell whether a service may act with a role of an account, whose ARN this is.

    Its trust policy must let the service assume it, and its own policies, within its boundary, must allow the action.
    Raises InvalidParameter for what is not the ARN of a role.
    """
    if not arn.startswith(f"arn:aws:iam::{use.account_id}:"):
        return False
    role = role_sessions.find_role(tx, arn)
    by_service = Principal(arn=use.service, account_id="", kind="service")
    told = {"aws:CurrentTime": now, "aws:SourceAccount": use.account_id}
    if not role_sessions.trusts(role, by_service, "sts:AssumeRole", told):
        return False
    own = policies_of_caller.of_principal(tx, role.id)
    policies = Policies(
        tuple(parse(text) for text in own.identity), None if own.boundary is None else parse(own.boundary)
    )
    context = context_of({"aws:CurrentTime": now, "aws:PrincipalArn": role.arn, "aws:PrincipalAccount": use.account_id})
    actor = Principal(role.arn, use.account_id, "role", user_id=role.id)
    return evaluate(Request(use.action, use.resource, actor, context), policies).allowed
