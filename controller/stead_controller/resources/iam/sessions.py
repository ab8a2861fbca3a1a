"""Turn a session token's content into a caller, as long as the entities that the session depends on exist.

A session ends with its account, with its role or user, and, for a role, when all sessions issued before some time are
revoked (https://docs.aws.amazon.com/IAM/latest/UserGuide/id_roles_use_revoke-sessions.html).
"""

from typing import Final

from stead_controller.db.tables import Account, IamRole, IamUser, Instance
from stead_controller.request.caller import Caller, Session
from stead_controller.request.session_tokens import Facts, Opened
from stead_controller.request.transaction import Transaction
from stead_controller.resources.iam import entities
from stead_controller.resources.iam.accounts import OpenedKey
from stead_controller.resources.iam.policies_of_caller import managed_document

ALLOWS_NOTHING: Final = (
    '{"Version":"2012-10-17","Statement":[{"Effect":"Allow","NotAction":"*","Resource":"*"}]}'  # no action: all but `*`
)
"""A policy that allows nothing and denies nothing: used for a session whose only policies are deleted."""

_IDENTITY_ROLE: Final = "aws:ec2-instance"
_RUNNING: Final = ("pending", "running", "stopping")


def open_session(tx: Transaction, access_key_id: str, opened: Opened) -> OpenedKey | None:
    """Return the credentials of a session; None when an entity that it depends on is gone or it was revoked."""
    facts = opened.facts
    account = tx.session.get(Account, facts.account_id)
    if account is None:
        return None
    session = Session(
        name=facts.name,
        issued=facts.issued,
        expires=facts.expires,
        policies=_policies(tx, facts),
        tags=dict(facts.tags),
        transitive=facts.transitive,
        source_identity=facts.source_identity,
        mfa=facts.mfa,
        origin=facts.origin,
        provider=facts.provider,
    )
    caller = _of_role(tx, access_key_id, facts, session) if facts.kind == "role" else None
    if facts.kind != "role":
        caller = _of_user(tx, access_key_id, facts, session)
    if caller is None:
        return None
    return OpenedKey(opened.secret, caller, active=not account.disabled)


def session_arn(account_id: str, role_name: str, session_name: str) -> str:
    """The ARN of a role's session, which has no path."""
    return f"arn:aws:sts::{account_id}:assumed-role/{role_name}/{session_name}"


def federated_arn(account_id: str, name: str) -> str:
    """The ARN of a federated user."""
    return f"arn:aws:sts::{account_id}:federated-user/{name}"


def _of_role(tx: Transaction, access_key_id: str, facts: Facts, session: Session) -> Caller | None:
    if facts.principal_id.startswith("i-"):
        return _of_instance(tx, access_key_id, facts, session)
    role = tx.session.get(IamRole, facts.principal_id)
    if role is None or role.account_id != facts.account_id:
        return None
    if role.sessions_revoked_before is not None and facts.issued < role.sessions_revoked_before:
        return None
    return Caller(
        account_id=facts.account_id,
        arn=session_arn(facts.account_id, role.name, facts.name),
        user_id=f"{role.id}:{facts.name}",
        access_key_id=access_key_id,
        kind="role",
        session=session,
        principal_id=role.id,
        principal_arn=entities.arn_of(role),
    )


def _of_instance(tx: Transaction, access_key_id: str, facts: Facts, session: Session) -> Caller | None:
    """Return an instance's session of its identity role, which is not a role of IAM and allows nothing."""
    instance = tx.session.get(Instance, facts.principal_id)
    if instance is None or instance.account_id != facts.account_id or instance.state not in _RUNNING:
        return None
    return Caller(
        account_id=facts.account_id,
        arn=session_arn(facts.account_id, _IDENTITY_ROLE, facts.name),
        user_id=f"{facts.account_id}:{_IDENTITY_ROLE}:{facts.name}",
        access_key_id=access_key_id,
        kind="role",
        session=session,
        principal_id=instance.id,
        principal_arn=f"arn:aws:iam::{facts.account_id}:role/{_IDENTITY_ROLE}",
    )


def _of_user(tx: Transaction, access_key_id: str, facts: Facts, session: Session) -> Caller | None:
    """Return a session of a user, of root, or of a federated user, who has the policies of the user behind it."""
    arn, user_name, user_id = f"arn:aws:iam::{facts.account_id}:root", "", facts.account_id
    if facts.principal_id:
        user = tx.session.get(IamUser, facts.principal_id)
        if user is None or user.account_id != facts.account_id:
            return None
        arn, user_name, user_id = entities.arn_of(user), user.name, user.id
    is_federated = facts.kind == "federated"
    return Caller(
        account_id=facts.account_id,
        arn=federated_arn(facts.account_id, facts.name) if is_federated else arn,
        user_id=f"{facts.account_id}:{facts.name}" if is_federated else user_id,
        access_key_id=access_key_id,
        kind=facts.kind,
        session=session,
        principal_id=facts.principal_id,
        principal_arn=arn if facts.principal_id else "",
        user_name="" if is_federated else user_name,
    )


def _policies(tx: Transaction, facts: Facts) -> tuple[str, ...]:
    """Return the documents that limit a session; a deleted one allows nothing."""
    found = [facts.policy] if facts.policy else []
    found += [managed_document(tx, facts.account_id, arn) or ALLOWS_NOTHING for arn in facts.policy_arns]
    return tuple(found)
