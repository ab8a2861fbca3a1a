"""Create, show, rename and delete users.

See https://docs.aws.amazon.com/IAM/latest/APIReference/API_User.html.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

from sqlalchemy import func, select

from stead_controller.db.tables import AccessKey, Account, IamGroupMember, IamMfaDevice, IamUser
from stead_controller.errors import InUse
from stead_controller.request.caller import Caller
from stead_controller.request.transaction import Transaction
from stead_controller.resources import quotas
from stead_controller.resources.iam import (
    attached_policies,
    entities,
    iam_names,
    iam_quotas,
    iam_tags,
    permissions_boundaries,
)
from stead_controller.resources.iam.list_pages import Slice


@dataclass(frozen=True, slots=True)
class NewUser:
    """A user as CreateUser describes it."""

    name: str
    path: str | None = None
    boundary_arn: str | None = None
    tags: Iterable[tuple[str, str]] = ()


@dataclass(frozen=True, slots=True)
class DescribedUser:
    """A user with its ARN; the tags are left out in lists."""

    user: IamUser
    arn: str
    tags: Sequence[tuple[str, str]] = ()


@dataclass(frozen=True, slots=True)
class Root:
    """The root user of an account, which has no name; its id is the account's. Only GetUser shows the creation time."""

    id: str
    arn: str
    created: datetime | None = None


def create(tx: Transaction, caller: Caller, request: NewUser, now: datetime) -> DescribedUser:
    """Make a user; raises InvalidParameter, AlreadyExists, LimitExceeded, NotFound for the boundary."""
    name = entities.check_new_name(tx, caller, "user", request.name)
    iam_quotas.check_account(tx, caller, quotas.IAM_USERS, "UsersPerAccount", IamUser)
    user = IamUser(
        id=iam_names.new_id("user"),
        account_id=caller.account_id,
        name=name,
        name_lower=name.lower(),
        path=iam_names.check_path(request.path),
        created=now,
        boundary_arn=permissions_boundaries.check(tx, caller, request.boundary_arn),
        password_reset_required=False,
    )
    tx.session.add(user)
    iam_tags.set_tags(tx, user.id, request.tags)
    return _with_tags(tx, user)


def get(tx: Transaction, caller: Caller, name: str | None) -> DescribedUser | Root:
    """Find a user, the caller itself where no name is given; raises NotFound, InvalidParameter."""
    if name is None and caller.kind == "root":
        created = tx.session.scalar(select(Account.created).where(Account.id == caller.account_id))
        return replace(root_of(caller.account_id), created=created)
    return _with_tags(tx, entities.find_user(tx, caller, entities.own_name(caller, name)))


def search(tx: Transaction, caller: Caller, part: Slice) -> list[DescribedUser]:
    """List users by their names."""
    mine = select(IamUser).where(IamUser.account_id == caller.account_id, *part.paths(IamUser.path))
    return [described(user) for user in tx.session.scalars(part.of(mine, IamUser.name_lower))]


def rename(tx: Transaction, caller: Caller, name: str, new_name: str | None, new_path: str | None) -> None:
    """Change a user's name or path; the rest stays. Raises NotFound, AlreadyExists, InvalidParameter."""
    user = entities.find_user(tx, caller, name)
    if new_name is not None:
        user.name = entities.check_new_name(tx, caller, "user", new_name, but=user.id)
        user.name_lower = new_name.lower()
    if new_path is not None:
        user.path = iam_names.check_path(new_path)


def remove(tx: Transaction, caller: Caller, name: str) -> None:
    """Delete a user without keys, policies, groups and the like; raises NotFound, InUse."""
    user = entities.find_user(tx, caller, name)
    attached_policies.require_none(tx, user.id)
    if user.password_hash is not None:
        raise InUse("Cannot delete entity, must delete login profile first.")
    if _count(tx, AccessKey.id, AccessKey.user_id == user.id):
        raise InUse("Cannot delete entity, must delete access keys first.")
    if _count(tx, IamMfaDevice.id, IamMfaDevice.user_id == user.id):
        raise InUse("Cannot delete entity, must delete MFA device first.")
    if _count(tx, IamGroupMember.group_id, IamGroupMember.user_id == user.id):
        raise InUse("Cannot delete entity, must remove users from group first.")
    iam_tags.remove_all(tx, user.id)
    tx.session.delete(user)


def root_of(account_id: str) -> Root:
    """Describe root as a user of its account."""
    return Root(account_id, f"arn:aws:iam::{account_id}:root")


def described(user: IamUser) -> DescribedUser:
    """Describe a user as lists do."""
    return DescribedUser(user, entities.arn_of(user))


def _with_tags(tx: Transaction, user: IamUser) -> DescribedUser:
    return DescribedUser(user, entities.arn_of(user), iam_tags.pairs_of(tx, user.id))


def _count(tx: Transaction, column: Any, where: Any) -> int:
    return tx.session.scalar(select(func.count(column)).where(where)) or 0
