"""The roles that are to be assumed, and their new sessions."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from sqlalchemy import and_, bindparam, literal, select

from stead_controller.authorization.conditions import context_of
from stead_controller.authorization.evaluate import Policies, Request, evaluate
from stead_controller.authorization.policy_document import parse
from stead_controller.authorization.principals import Principal
from stead_controller.db.tables import Account, IamRole
from stead_controller.errors import InvalidParameter, MissingParameter
from stead_controller.request.cloud import Cloud
from stead_controller.request.session_tokens import Facts, TemporaryCredentials, mint
from stead_controller.request.transaction import Transaction
from stead_controller.resources.iam import iam_names
from stead_controller.resources.iam.session_requests import SessionRequest, packed_percent
from stead_controller.resources.iam.sessions import session_arn

MAX_SESSION_NAME: Final = 64

_NOBODYS_ID: Final = "AROAAAAAAAAAAAAAAAAAA"
_EMPTY_TRUST_POLICY: Final = (
    '{"Version":"2012-10-17","Statement":'
    '[{"Effect":"Allow","Principal":{"Service":"nobody.amazonaws.com"},"Action":"sts:AssumeRole"}]}'
)
_ROLE_ARN: Final = re.compile(r"arn:aws:iam::(?P<account>[0-9]{12}):role(?P<path>/(?:[!-~]+/)?)(?P<name>[\w+=,.@-]+)\Z")
_ONE: Final = select(literal(1)).subquery()
# Always one row, so that an absent role takes as much work as an existing one.
_ROLE: Final = select(IamRole.id, IamRole.trust_policy, IamRole.max_session_duration).select_from(
    _ONE.outerjoin(Account, and_(Account.id == bindparam("account"), Account.disabled.is_(False))).outerjoin(
        IamRole,
        and_(
            IamRole.account_id == Account.id,
            IamRole.name_lower == bindparam("lower"),
            IamRole.name == bindparam("name"),
            IamRole.path == bindparam("path"),
        ),
    )
)


@dataclass(frozen=True, slots=True)
class AskedRole:
    """The role that is to be assumed; sessions last `max_session_duration` seconds at most.

    If no role has the ARN, `is_there` is false and the trust policy allows no one.
    """

    id: str
    account_id: str
    name: str
    path: str
    trust_policy: str
    max_session_duration: int
    is_there: bool = True

    @property
    def arn(self) -> str:
        """Its ARN."""
        return iam_names.arn(self.account_id, "role", self.path, self.name)


@dataclass(frozen=True, slots=True)
class RoleSession:
    """A new session: `user_id` is the role's id and the session's name."""

    credentials: TemporaryCredentials
    user_id: str
    arn: str
    source_identity: str
    packed_percent: int | None


def find_role(tx: Transaction, arn: str | None) -> AskedRole:
    """Return the role with an ARN, of any account that is not disabled; if none, a stand-in that trusts no one.

    Both take the same work, so that timing does not reveal which it is. Raises MissingParameter, and InvalidParameter
    for what is not the ARN of a role.
    """
    if arn is None:
        raise MissingParameter("RoleArn")
    parts = _ROLE_ARN.match(arn)
    if parts is None:
        raise InvalidParameter(f"{arn} is invalid")
    account_id, name, path = parts["account"], parts["name"], parts["path"]
    asked = {"account": account_id, "lower": name.lower(), "name": name, "path": path}
    role_id, trust_policy, seconds = tx.session.execute(_ROLE, asked).one()
    return AskedRole(
        id=role_id or _NOBODYS_ID,
        account_id=account_id,
        name=name,
        path=path,
        trust_policy=trust_policy or _EMPTY_TRUST_POLICY,
        max_session_duration=seconds or 0,
        is_there=role_id is not None,
    )


def of_row(role: IamRole) -> AskedRole:
    """Convert the row of a role that was found already."""
    return AskedRole(role.id, role.account_id, role.name, role.path, role.trust_policy, role.max_session_duration)


def trusts(
    role: AskedRole, principal: Principal, action: str, context: Mapping[str, object], own: Policies | None = None
) -> bool:
    """Tell whether a role's trust policy allows an action, and also the principal's own policies, if it has any.

    A trust policy is the resource policy of the role: identity policies cannot allow what it does not allow
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
    return evaluate(Request(action, role.arn, principal, context_of(context)), policies).allowed


def begin(cloud: Cloud, role: AskedRole, facts: Facts, request: SessionRequest) -> RoleSession:
    """Make the credentials of a session; raises BadRequest where policies and tags are too large."""
    percent = packed_percent(facts)
    return RoleSession(
        mint(cloud.sealer, facts, least=request.least_token),
        f"{role.id}:{facts.name}",
        session_arn(role.account_id, role.name, facts.name),
        facts.source_identity,
        percent,
    )
