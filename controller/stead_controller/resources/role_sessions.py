"""Roles that sessions are asked of, and the sessions that are begun."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from sqlalchemy import select

from stead_controller.authorization.conditions import context_of
from stead_controller.authorization.evaluate import Policies, Request, evaluate
from stead_controller.authorization.policy_document import parse
from stead_controller.authorization.principals import Principal
from stead_controller.db.tables import Account, IamRole
from stead_controller.errors import InvalidParameter, MissingParameter
from stead_controller.resources import iam_entities
from stead_controller.resources.cloud import Cloud
from stead_controller.resources.session_requests import packed_percent
from stead_controller.resources.session_tokens import Facts, TemporaryCredentials, mint
from stead_controller.resources.sessions import session_arn
from stead_controller.resources.transaction import Transaction

MAX_SESSION_NAME: Final = 64

_NOBODYS_ID: Final = "AROAAAAAAAAAAAAAAAAAA"
_TRUSTS_NOBODY: Final = (
    '{"Version":"2012-10-17","Statement":[{"Effect":"Deny","Principal":{"AWS":"*"},"Action":"sts:AssumeRole"}]}'
)
_ROLE_ARN: Final = re.compile(r"arn:aws:iam::(?P<account>[0-9]{12}):role(?P<path>/(?:[!-~]+/)?)(?P<name>[\w+=,.@-]+)\Z")


@dataclass(frozen=True, slots=True)
class RoleSession:
    """A session just begun: `user_id` is the role's id and the session's name."""

    credentials: TemporaryCredentials
    user_id: str
    arn: str
    source_identity: str
    packed_percent: int | None


def find_role(tx: Transaction, arn: str | None) -> IamRole | None:
    """Give the role of an ARN, of any account that is not disabled; None when there is none.

    Raises MissingParameter, and InvalidParameter for what is no ARN of a role.
    """
    if arn is None:
        raise MissingParameter("RoleArn")
    parts = _ROLE_ARN.match(arn)
    if parts is None:
        raise InvalidParameter(f"{arn} is invalid")
    return tx.session.scalar(
        select(IamRole)
        .join(Account, Account.id == IamRole.account_id)
        .where(
            IamRole.account_id == parts["account"],
            IamRole.name_lower == parts["name"].lower(),
            IamRole.name == parts["name"],
            IamRole.path == parts["path"],
            Account.disabled.is_(False),
        )
    )


def absent_role(arn: str | None) -> IamRole:
    """A role that trusts nobody, to be asked in the place of one that is not there: time shall not tell them apart."""
    parts = _ROLE_ARN.match(arn or "")
    assert parts is not None, "`find_role` has looked at it"
    return IamRole(
        id=_NOBODYS_ID,
        account_id=parts["account"],
        name=parts["name"],
        path=parts["path"],
        trust_policy=_TRUSTS_NOBODY,
    )


def trusts(
    role: IamRole, principal: Principal, action: str, context: Mapping[str, object], own: Policies | None = None
) -> bool:
    """Tell whether a role's trust policy allows an action, and the principal's own policies, where it has any.

    A trust policy is the policy of the role as a resource: what it does not allow, nobody's own policies do
    (https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_evaluation-logic.html).
    """
    own = own or Policies()
    policies = Policies(
        identity=own.identity,
        boundary=own.boundary,
        session=own.session,
        resource=parse(role.trust_policy, "trust"),
        resource_account=role.account_id,
        resource_must_allow=True,
    )
    return evaluate(Request(action, iam_entities.arn_of(role), principal, context_of(context)), policies).allowed


def begin(cloud: Cloud, role: IamRole, facts: Facts) -> RoleSession:
    """Make the credentials of a session; raises BadRequest where policies and tags take too much room."""
    percent = packed_percent(facts)
    return RoleSession(
        mint(cloud.sealer, facts),
        f"{role.id}:{facts.name}",
        session_arn(role.account_id, role.name, facts.name),
        facts.source_identity,
        percent,
    )
