"""The policies that decide what a caller may do: its own, its groups', and its boundary."""

from dataclasses import dataclass
from typing import Final

from sqlalchemy import ColumnElement, and_, literal, null, select

from stead_controller.authorization.aws_managed import all_policies
from stead_controller.db.tables import (
    IamAccount,
    IamAttachedPolicy,
    IamGroupMember,
    IamInlinePolicy,
    IamPolicy,
    IamPolicyVersion,
    IamRole,
    IamUser,
)
from stead_controller.request.caller import Caller
from stead_controller.request.transaction import Transaction
from stead_controller.resources.iam.password_policies import PasswordPolicy


@dataclass(frozen=True, slots=True)
class PrincipalPolicies:
    """Documents as JSON text; without a boundary the policies are not limited."""

    identity: tuple[str, ...] = ()
    boundary: str | None = None


@dataclass(frozen=True, slots=True)
class OwnedPolicy:
    """A policy and its owner; `arn` is empty for an inline one."""

    owner_id: str
    name: str
    arn: str
    document: str


NONE = PrincipalPolicies()

_OWN_PASSWORD: Final = all_policies()["arn:aws:iam::aws:policy/IAMUserChangePassword"].document
_NOTHING: Final = '{"Version":"2012-10-17","Statement":{"Effect":"Deny","Action":"*","Resource":"*"}}'


def policies_of(tx: Transaction, caller: Caller) -> PrincipalPolicies:
    """The policies of a caller's user or role; none for root, which policies do not limit, and for a deleted one."""
    return of_principal(tx, caller.principal_id)


def of_principal(tx: Transaction, principal_id: str) -> PrincipalPolicies:
    """The policies of the user or role with an id."""
    user = (
        select(IamUser.account_id, IamUser.boundary_arn, IamAccount.password_policy)
        .outerjoin(IamAccount, IamAccount.account_id == IamUser.account_id)
        .where(IamUser.id == principal_id)
    )
    role = select(IamRole.account_id, IamRole.boundary_arn, null()).where(IamRole.id == principal_id)
    row = tx.session.execute(user.union_all(role)).first()
    if row is None:
        return NONE
    account_id, boundary_arn, password_policy = row
    documents = dict.fromkeys(one.document for one in documents_of(tx, principal_id))
    if password_policy is not None and PasswordPolicy.of_stored(password_policy).allow_users_to_change:
        documents[_OWN_PASSWORD] = None
    return PrincipalPolicies(tuple(documents), boundary_document(tx, account_id, boundary_arn))


def documents_of(tx: Transaction, principal_id: str) -> list[OwnedPolicy]:
    """Inline and attached policies of a user and its groups, of a group or of a role, by one query."""
    groups = select(IamGroupMember.group_id).where(IamGroupMember.user_id == principal_id)
    principals = [principal_id, *tx.session.scalars(groups)]
    inline = select(
        IamInlinePolicy.principal_id, IamInlinePolicy.name, literal("").label("arn"), IamInlinePolicy.document
    ).where(IamInlinePolicy.principal_id.in_(principals))
    attached = (
        select(IamAttachedPolicy.principal_id, literal(""), IamAttachedPolicy.policy_arn, IamPolicyVersion.document)
        .select_from(IamAttachedPolicy)
        .outerjoin(IamPolicy, IamPolicy.id == IamAttachedPolicy.policy_id)
        .outerjoin(IamPolicyVersion, _counts())
        .where(IamAttachedPolicy.principal_id.in_(principals))
    )
    aws = all_policies()
    return [
        OwnedPolicy(owner_id, name or arn.rpartition("/")[2], arn, document or aws[arn].document)
        for owner_id, name, arn, document in tx.session.execute(inline.union_all(attached))
        if document or arn in aws  # a policy that this release no longer has allows nothing
    ]


def boundary_document(tx: Transaction, account_id: str, arn: str | None) -> str | None:
    """The document of a boundary, None without one; a missing policy allows nothing."""
    if arn is None:
        return None
    return managed_document(tx, account_id, arn) or _NOTHING


def managed_document(tx: Transaction, account_id: str, arn: str) -> str | None:
    """The default version of a managed policy that an account has; None when there is none."""
    aws = all_policies().get(arn)
    if aws is not None:
        return aws.document
    path, _, name = arn.removeprefix(f"arn:aws:iam::{account_id}:policy").rpartition("/")
    return tx.session.scalar(
        select(IamPolicyVersion.document)
        .join(IamPolicy, _counts())
        .where(IamPolicy.account_id == account_id, IamPolicy.name_lower == name.lower(), IamPolicy.path == f"{path}/")
    )


def _counts() -> ColumnElement[bool]:
    return and_(IamPolicyVersion.policy_id == IamPolicy.id, IamPolicyVersion.number == IamPolicy.default_version)
