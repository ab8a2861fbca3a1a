"""Instance profiles, which have at most one role each.

See https://docs.aws.amazon.com/IAM/latest/APIReference/API_InstanceProfile.html.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

from sqlalchemy import select

from stead_controller.db.tables import IamInstanceProfile, IamRole
from stead_controller.errors import InUse, NotFound
from stead_controller.request.caller import Caller
from stead_controller.request.transaction import Transaction
from stead_controller.resources import quotas
from stead_controller.resources.iam import entities, iam_names, iam_quotas, iam_tags, instance_credentials
from stead_controller.resources.iam import roles as iam_roles
from stead_controller.resources.iam.list_pages import Slice
from stead_controller.resources.iam.roles import DescribedRole


@dataclass(frozen=True, slots=True)
class DescribedInstanceProfile:
    """An instance profile with its ARN and its role, if it has one; lists leave the tags out."""

    profile: IamInstanceProfile
    arn: str
    role: DescribedRole | None
    tags: Sequence[tuple[str, str]] = ()


def create(
    tx: Transaction,
    caller: Caller,
    name: str,
    *,
    path: str | None,
    tags: Iterable[tuple[str, str]],
    now: datetime,
) -> DescribedInstanceProfile:
    """Make an instance profile without a role; raises InvalidParameter, AlreadyExists, LimitExceeded."""
    entities.check_new_name(tx, caller, "instance-profile", name)
    iam_quotas.check_account(tx, caller, quotas.IAM_INSTANCE_PROFILES, "InstanceProfilesPerAccount", IamInstanceProfile)
    profile = IamInstanceProfile(
        id=iam_names.new_id("instance-profile"),
        account_id=caller.account_id,
        name=name,
        name_lower=name.lower(),
        path=iam_names.check_path(path),
        created=now,
    )
    tx.session.add(profile)
    iam_tags.set_tags(tx, profile.id, tags)
    return _with_tags(tx, profile, None)


def get(tx: Transaction, caller: Caller, name: str) -> DescribedInstanceProfile:
    """Find an instance profile; raises NotFound, InvalidParameter."""
    profile = entities.find_instance_profile(tx, caller, name)
    role = tx.session.get(IamRole, profile.role_id) if profile.role_id else None
    return _with_tags(tx, profile, role)


def search(tx: Transaction, caller: Caller, part: Slice) -> list[DescribedInstanceProfile]:
    """List instance profiles by their names."""
    return _list(tx, part, IamInstanceProfile.account_id == caller.account_id, *part.paths(IamInstanceProfile.path))


def of_role(tx: Transaction, caller: Caller, role_name: str, part: Slice) -> list[DescribedInstanceProfile]:
    """The instance profiles that have a role, by their names; raises NotFound, InvalidParameter."""
    role = entities.find_role(tx, caller, role_name)
    return _list(tx, part, IamInstanceProfile.role_id == role.id)


def add_role(tx: Transaction, caller: Caller, name: str, role_name: str) -> None:
    """Put a role into an instance profile that has none; raises NotFound, LimitExceeded."""
    profile = entities.find_instance_profile(tx, caller, name)
    role = entities.find_role(tx, caller, role_name)
    if profile.role_id is not None:
        raise iam_quotas.exceeded("InstanceSessionsPerInstanceProfile", 1)
    profile.role_id = role.id
    instance_credentials.profile_changed(tx, profile.id)


def remove_role(tx: Transaction, caller: Caller, name: str, role_name: str) -> None:
    """Take the role out of an instance profile; raises NotFound."""
    profile = entities.find_instance_profile(tx, caller, name)
    role = entities.find_role(tx, caller, role_name)
    if profile.role_id != role.id:
        raise NotFound("iam-role", role_name, message=f"Role {role_name} cannot be found in instance profile {name}.")
    profile.role_id = None
    instance_credentials.profile_changed(tx, profile.id)


def remove(tx: Transaction, caller: Caller, name: str) -> None:
    """Delete an instance profile without a role; raises NotFound, InUse."""
    profile = entities.find_instance_profile(tx, caller, name)
    if profile.role_id is not None:
        raise InUse("Cannot delete entity, must remove roles from instance profile first.")
    iam_tags.remove_all(tx, profile.id)
    instance_credentials.profile_changed(tx, profile.id)
    tx.session.delete(profile)


def described(profile: IamInstanceProfile, roles: Mapping[str, DescribedRole]) -> DescribedInstanceProfile:
    """Describe an instance profile as in lists; `roles`, by id, include its role, if it has one."""
    role = None if profile.role_id is None else roles[profile.role_id]
    return DescribedInstanceProfile(profile, entities.arn_of(profile), role)


def _list(tx: Transaction, part: Slice, *where: Any) -> list[DescribedInstanceProfile]:
    found = (
        select(IamInstanceProfile, IamRole).outerjoin(IamRole, IamRole.id == IamInstanceProfile.role_id).where(*where)
    )
    rows = tx.session.execute(part.of(found, IamInstanceProfile.name_lower)).all()
    with_roles = {row[1].id: row[1] for row in rows if row[1] is not None}
    roles = dict(zip(with_roles, iam_roles.described(tx, list(with_roles.values())), strict=True))
    return [described(row[0], roles) for row in rows]


def _with_tags(tx: Transaction, profile: IamInstanceProfile, role: IamRole | None) -> DescribedInstanceProfile:
    roles = {role.id: iam_roles.described(tx, [role])[0]} if role else {}
    return replace(described(profile, roles), tags=iam_tags.pairs_of(tx, profile.id))
