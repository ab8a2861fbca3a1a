"""Create, show, change and delete roles.

See https://docs.aws.amazon.com/IAM/latest/APIReference/API_Role.html.
"""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Final

from sqlalchemy import select

from stead_controller.db.tables import IamInstanceProfile, IamRole
from stead_controller.errors import InUse
from stead_controller.request.caller import Caller
from stead_controller.request.transaction import Transaction
from stead_controller.resources import quotas
from stead_controller.resources.iam import (
    attached_policies,
    bound_principals,
    entities,
    iam_names,
    iam_quotas,
    iam_tags,
    instance_credentials,
    permissions_boundaries,
    policy_documents,
)
from stead_controller.resources.iam.list_pages import Slice

_DESCRIPTION: Final = r"[\u0009\u000A\u000D\u0020-\u007E\u00A1-\u00FF]*"
_SESSION_SECONDS: Final = 3600


@dataclass(frozen=True, slots=True)
class NewRole:
    """A role as CreateRole describes it; the duration is in seconds."""

    name: str
    trust_policy: str
    path: str | None = None
    description: str = ""
    max_session_duration: int | None = None
    boundary_arn: str | None = None
    tags: Iterable[tuple[str, str]] = ()


@dataclass(frozen=True, slots=True)
class DescribedRole:
    """A role with its ARN and its trust policy, which names principals by their ARNs; lists leave the tags out."""

    role: IamRole
    arn: str
    trust_policy: str
    tags: Sequence[tuple[str, str]] = ()


def create(tx: Transaction, caller: Caller, request: NewRole, now: datetime) -> DescribedRole:
    """Make a role; raises InvalidParameter, AlreadyExists, LimitExceeded, NotFound for the boundary."""
    name = entities.check_new_name(tx, caller, "role", request.name)
    iam_quotas.check_account(tx, caller, quotas.IAM_ROLES, "RolesPerAccount", IamRole)
    role = IamRole(
        id=iam_names.new_id("role"),
        account_id=caller.account_id,
        name=name,
        name_lower=name.lower(),
        path=iam_names.check_path(request.path),
        created=now,
        description=_check_description(request.description),
        trust_policy=bound_principals.bound(tx, policy_documents.check_trust(request.trust_policy)),
        max_session_duration=request.max_session_duration or _SESSION_SECONDS,
        boundary_arn=permissions_boundaries.check(tx, caller, request.boundary_arn),
    )
    tx.session.add(role)
    iam_tags.set_tags(tx, role.id, request.tags)
    return _with_tags(tx, role)


def get(tx: Transaction, caller: Caller, name: str) -> DescribedRole:
    """Find a role; raises NotFound, InvalidParameter."""
    return _with_tags(tx, entities.find_role(tx, caller, name))


def search(tx: Transaction, caller: Caller, part: Slice) -> list[DescribedRole]:
    """List roles by their names."""
    mine = select(IamRole).where(IamRole.account_id == caller.account_id, *part.paths(IamRole.path))
    return described(tx, tx.session.scalars(part.of(mine, IamRole.name_lower)).all())


def update(tx: Transaction, caller: Caller, name: str, description: str | None, seconds: int | None) -> DescribedRole:
    """Change a role's description and maximum session duration; raises NotFound, InvalidParameter."""
    role = entities.find_role(tx, caller, name)
    if description is not None:
        role.description = _check_description(description)
    if seconds is not None:
        role.max_session_duration = seconds
    return described(tx, [role])[0]


def trust(tx: Transaction, caller: Caller, name: str, document: str) -> None:
    """Change who may assume a role; raises NotFound, InvalidParameter, LimitExceeded."""
    role = entities.find_role(tx, caller, name)
    role.trust_policy = bound_principals.bound(tx, policy_documents.check_trust(document))
    instance_credentials.role_changed(tx, role.id)


def remove(tx: Transaction, caller: Caller, name: str) -> None:
    """Delete a role, and with it its sessions; raises NotFound, InUse."""
    role = entities.find_role(tx, caller, name)
    attached_policies.require_none(tx, role.id)
    if tx.session.scalar(select(IamInstanceProfile.id).where(IamInstanceProfile.role_id == role.id).limit(1)):
        raise InUse("Cannot delete entity, must remove roles from instance profile first.")
    iam_tags.remove_all(tx, role.id)
    tx.session.delete(role)


def described(tx: Transaction, roles: Sequence[IamRole]) -> list[DescribedRole]:
    """Describe roles as lists do."""
    trusted = bound_principals.shown(tx, [role.trust_policy for role in roles])
    return [DescribedRole(role, entities.arn_of(role), document) for role, document in zip(roles, trusted, strict=True)]


def _with_tags(tx: Transaction, role: IamRole) -> DescribedRole:
    return replace(described(tx, [role])[0], tags=iam_tags.pairs_of(tx, role.id))


def _check_description(text: str) -> str:
    if not re.fullmatch(_DESCRIPTION, text):
        raise iam_names.invalid("description", f"Member must satisfy regular expression pattern: {_DESCRIPTION}")
    return text
