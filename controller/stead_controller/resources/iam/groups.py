"""Groups and their members.

See https://docs.aws.amazon.com/IAM/latest/APIReference/API_Group.html.
"""

from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import delete, select

from stead_controller.db.tables import IamGroup, IamGroupMember, IamUser
from stead_controller.errors import InUse, NotFound
from stead_controller.request.caller import Caller
from stead_controller.request.transaction import Transaction
from stead_controller.resources import quotas
from stead_controller.resources.iam import attached_policies, entities, iam_names, iam_quotas, users
from stead_controller.resources.iam.list_pages import Slice
from stead_controller.resources.iam.users import DescribedUser


@dataclass(frozen=True, slots=True)
class DescribedGroup:
    """A group with its ARN."""

    group: IamGroup
    arn: str


def create(tx: Transaction, caller: Caller, name: str, path: str | None, now: datetime) -> DescribedGroup:
    """Make a group; raises InvalidParameter, AlreadyExists, LimitExceeded."""
    entities.check_new_name(tx, caller, "group", name)
    iam_quotas.check_account(tx, caller, quotas.IAM_GROUPS, "GroupsPerAccount", IamGroup)
    group = IamGroup(
        id=iam_names.new_id("group"),
        account_id=caller.account_id,
        name=name,
        name_lower=name.lower(),
        path=iam_names.check_path(path),
        created=now,
    )
    tx.session.add(group)
    return described(group)


def get(tx: Transaction, caller: Caller, name: str) -> DescribedGroup:
    """Find a group; raises NotFound, InvalidParameter."""
    return described(entities.find_group(tx, caller, name))


def members(tx: Transaction, caller: Caller, name: str, part: Slice) -> list[DescribedUser]:
    """Users of a group, by their ids; raises NotFound, InvalidParameter."""
    group = entities.find_group(tx, caller, name)
    inside = (
        select(IamUser)
        .join(IamGroupMember, IamGroupMember.user_id == IamUser.id)
        .where(IamGroupMember.group_id == group.id)
    )
    return [users.described(user) for user in tx.session.scalars(part.of(inside, IamGroupMember.user_id))]


def search(tx: Transaction, caller: Caller, part: Slice) -> list[DescribedGroup]:
    """List groups by their names."""
    mine = select(IamGroup).where(IamGroup.account_id == caller.account_id, *part.paths(IamGroup.path))
    return [described(group) for group in tx.session.scalars(part.of(mine, IamGroup.name_lower))]


def of_user(tx: Transaction, caller: Caller, user_name: str, part: Slice) -> list[DescribedGroup]:
    """The groups that a user is in, by their names; raises NotFound, InvalidParameter."""
    user = entities.find_user(tx, caller, user_name)
    around = (
        select(IamGroup)
        .join(IamGroupMember, IamGroupMember.group_id == IamGroup.id)
        .where(IamGroupMember.user_id == user.id)
    )
    return [described(group) for group in tx.session.scalars(part.of(around, IamGroup.name_lower))]


def rename(tx: Transaction, caller: Caller, name: str, new_name: str | None, new_path: str | None) -> None:
    """Change a group's name or path; raises NotFound, AlreadyExists, InvalidParameter."""
    group = entities.find_group(tx, caller, name)
    if new_name is not None:
        group.name = entities.check_new_name(tx, caller, "group", new_name, but=group.id)
        group.name_lower = new_name.lower()
    if new_path is not None:
        group.path = iam_names.check_path(new_path)


def add_user(tx: Transaction, caller: Caller, name: str, user_name: str) -> None:
    """Put a user into a group, if it is not there already; raises NotFound, LimitExceeded, InvalidParameter."""
    group = entities.find_group(tx, caller, name)
    user = entities.find_user(tx, caller, user_name)
    if tx.session.get(IamGroupMember, (group.id, user.id)) is not None:
        return
    iam_quotas.check(
        tx, "GroupsPerUser", iam_quotas.GROUPS_PER_USER, IamGroupMember.group_id, IamGroupMember.user_id == user.id
    )
    tx.session.add(IamGroupMember(group_id=group.id, user_id=user.id))


def remove_user(tx: Transaction, caller: Caller, name: str, user_name: str) -> None:
    """Take a user out of a group; raises NotFound, InvalidParameter."""
    group = entities.find_group(tx, caller, name)
    user = entities.find_user(tx, caller, user_name)
    gone = delete(IamGroupMember).where(IamGroupMember.group_id == group.id, IamGroupMember.user_id == user.id)
    if not tx.session.execute(gone.returning(IamGroupMember.user_id)).all():
        raise NotFound("iam-user", user_name, message=f"User {user_name} is not in group {name}.")


def remove(tx: Transaction, caller: Caller, name: str) -> None:
    """Delete a group without members and policies; raises NotFound, InUse."""
    group = entities.find_group(tx, caller, name)
    attached_policies.require_none(tx, group.id)
    if tx.session.scalar(select(IamGroupMember.user_id).where(IamGroupMember.group_id == group.id).limit(1)):
        raise InUse("Cannot delete entity, must remove users from group first.")
    tx.session.delete(group)


def described(group: IamGroup) -> DescribedGroup:
    """Describe a group."""
    return DescribedGroup(group, entities.arn_of(group))
