"""Everything that IAM stores about an account, in parts: users, groups, roles and policies with their details.

See https://docs.aws.amazon.com/IAM/latest/APIReference/API_GetAccountAuthorizationDetails.html. Each part is read with
a few queries, however many entities it has.
"""

from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Final

from sqlalchemy import select

from stead_controller.db.tables import (
    IamAttachedPolicy,
    IamGroup,
    IamGroupMember,
    IamInlinePolicy,
    IamInstanceProfile,
    IamPolicyVersion,
    IamRole,
    IamTag,
    IamUser,
)
from stead_controller.request.caller import Caller
from stead_controller.request.transaction import Transaction
from stead_controller.resources.iam import groups as iam_groups
from stead_controller.resources.iam import instance_profiles, policies, policy_versions
from stead_controller.resources.iam import roles as iam_roles
from stead_controller.resources.iam import users as iam_users
from stead_controller.resources.iam.groups import DescribedGroup
from stead_controller.resources.iam.inline_policies import InlinePolicy
from stead_controller.resources.iam.instance_profiles import DescribedInstanceProfile
from stead_controller.resources.iam.list_pages import Slice
from stead_controller.resources.iam.policies import DescribedPolicy
from stead_controller.resources.iam.policy_versions import PolicyVersion
from stead_controller.resources.iam.roles import DescribedRole
from stead_controller.resources.iam.users import DescribedUser

type Details = UserDetails | GroupDetails | RoleDetails | PolicyDetails
type Keyed[Of] = list[tuple[str, Of]]
"""Entities, each with the name in lower case that it is sorted by."""


class Kind(StrEnum):
    """Kinds of entities in the order in which they are listed, named as in the API's filter."""

    USER = "User"
    GROUP = "Group"
    ROLE = "Role"
    LOCAL_POLICY = "LocalManagedPolicy"
    AWS_POLICY = "AWSManagedPolicy"


@dataclass(frozen=True, slots=True)
class Policies:
    """A principal's policies: the inline ones by name, and the ARNs of the attached managed ones."""

    inline: Sequence[InlinePolicy]
    attached: Sequence[str]


@dataclass(frozen=True, slots=True)
class UserDetails:
    """A user with its policies and the names of its groups."""

    user: DescribedUser
    policies: Policies
    groups: Sequence[str]


@dataclass(frozen=True, slots=True)
class GroupDetails:
    """A group with its policies."""

    group: DescribedGroup
    policies: Policies


@dataclass(frozen=True, slots=True)
class RoleDetails:
    """A role with its policies and its instance profiles."""

    role: DescribedRole
    policies: Policies
    profiles: Sequence[DescribedInstanceProfile]


@dataclass(frozen=True, slots=True)
class PolicyDetails:
    """A managed policy with its versions, the newest first."""

    policy: DescribedPolicy
    versions: Sequence[PolicyVersion]


@dataclass(frozen=True, slots=True)
class Entry:
    """An entity of an account, and its name in lower case, which is the sort key within its kind."""

    kind: Kind
    name: str
    details: Details


def search(tx: Transaction, caller: Caller, kinds: Iterable[str], part: Slice) -> list[Entry]:
    """Entities of some kinds, kind by kind in the order of `Kind`, by name; the slice's key is a kind and a name."""
    found: list[Entry] = []
    order = list(Kind)
    wanted = set(kinds)
    after_kind, after_name = (Kind(part.after[0]), part.after[1]) if part.after else (order[0], "")
    for kind in order[order.index(after_kind) :]:
        left = None if part.fetch is None else part.fetch - len(found)
        if kind in wanted and left != 0:
            rest = Slice(left, (after_name,) if kind == after_kind and after_name else None)
            found += [Entry(kind, name, details) for name, details in _READ[kind](tx, caller, rest)]
    return found


def _users(tx: Transaction, caller: Caller, part: Slice) -> Keyed[UserDetails]:
    mine = select(IamUser).where(IamUser.account_id == caller.account_id)
    users = tx.session.scalars(part.of(mine, IamUser.name_lower)).all()
    ids = [user.id for user in users]
    having, tags, groups = _policies(tx, {user.id: user.name for user in users}), _tags(tx, ids), _groups_of(tx, ids)
    return [
        (
            user.name_lower,
            UserDetails(replace(iam_users.described(user), tags=tags[user.id]), having[user.id], groups[user.id]),
        )
        for user in users
    ]


def _groups(tx: Transaction, caller: Caller, part: Slice) -> Keyed[GroupDetails]:
    mine = select(IamGroup).where(IamGroup.account_id == caller.account_id)
    groups = tx.session.scalars(part.of(mine, IamGroup.name_lower)).all()
    having = _policies(tx, {group.id: group.name for group in groups})
    return [(group.name_lower, GroupDetails(iam_groups.described(group), having[group.id])) for group in groups]


def _roles(tx: Transaction, caller: Caller, part: Slice) -> Keyed[RoleDetails]:
    mine = select(IamRole).where(IamRole.account_id == caller.account_id)
    roles = tx.session.scalars(part.of(mine, IamRole.name_lower)).all()
    ids = [role.id for role in roles]
    described = dict(zip(ids, iam_roles.described(tx, roles), strict=True))
    having, tags = _policies(tx, {role.id: role.name for role in roles}), _tags(tx, ids)
    profiles: dict[str, list[DescribedInstanceProfile]] = defaultdict(list)
    with_role = select(IamInstanceProfile).where(IamInstanceProfile.role_id.in_(ids))
    for profile in tx.session.scalars(with_role.order_by(IamInstanceProfile.name_lower)):
        assert profile.role_id is not None
        profiles[profile.role_id].append(instance_profiles.described(profile, described))
    return [
        (
            role.name_lower,
            RoleDetails(replace(described[role.id], tags=tags[role.id]), having[role.id], profiles[role.id]),
        )
        for role in roles
    ]


def _own_policies(tx: Transaction, caller: Caller, part: Slice) -> Keyed[PolicyDetails]:
    rest = Slice(part.fetch, ("local", part.after[0]) if part.after else None)
    found = policies.search(tx, caller, policies.Search(aws=False), rest)
    own = {one.policy.id: one.policy.row for one in found if one.policy.row}
    versions: dict[str, list[PolicyVersion]] = defaultdict(list)
    rows = select(IamPolicyVersion).where(IamPolicyVersion.policy_id.in_(list(own)))
    for row in tx.session.scalars(rows.order_by(IamPolicyVersion.number.desc())):
        versions[row.policy_id].append(policy_versions.described(own[row.policy_id], row))
    return [(one.key[1], PolicyDetails(one, versions[one.policy.id])) for one in found]


def _aws_policies(tx: Transaction, caller: Caller, part: Slice) -> Keyed[PolicyDetails]:
    """Those of AWS's policies that a principal of the account has."""
    rest = Slice(part.fetch, ("aws", part.after[0]) if part.after else None)
    found = policies.search(tx, caller, policies.Search(local=False, only_attached=True), rest)
    return [
        (one.key[1], PolicyDetails(one, [policy_versions.of_aws(one.policy.aws)])) for one in found if one.policy.aws
    ]


def _policies(tx: Transaction, names: dict[str, str]) -> dict[str, Policies]:
    """Return the policies of principals; `names` maps their ids to names."""
    inline: dict[str, list[InlinePolicy]] = defaultdict(list)
    rows = select(IamInlinePolicy).where(IamInlinePolicy.principal_id.in_(list(names)))
    for row in tx.session.scalars(rows.order_by(IamInlinePolicy.name)):
        inline[row.principal_id].append(InlinePolicy(names[row.principal_id], row.name, row.document))
    attached: dict[str, list[str]] = defaultdict(list)
    arns = select(IamAttachedPolicy.principal_id, IamAttachedPolicy.policy_arn)
    arns = arns.where(IamAttachedPolicy.principal_id.in_(list(names))).order_by(IamAttachedPolicy.policy_arn)
    for principal_id, arn in tx.session.execute(arns):
        attached[principal_id].append(arn)
    return {one: Policies(inline[one], attached[one]) for one in names}


def _tags(tx: Transaction, ids: Sequence[str]) -> dict[str, list[tuple[str, str]]]:
    found: dict[str, list[tuple[str, str]]] = defaultdict(list)
    rows = select(IamTag).where(IamTag.resource_id.in_(ids)).order_by(IamTag.key_lower)
    for row in tx.session.scalars(rows):
        found[row.resource_id].append((row.key, row.value))
    return found


def _groups_of(tx: Transaction, ids: Sequence[str]) -> dict[str, list[str]]:
    found: dict[str, list[str]] = defaultdict(list)
    rows = select(IamGroupMember.user_id, IamGroup.name).join(IamGroup, IamGroup.id == IamGroupMember.group_id)
    rows = rows.where(IamGroupMember.user_id.in_(ids)).order_by(IamGroup.name_lower)
    for user_id, name in tx.session.execute(rows):
        found[user_id].append(name)
    return found


_READ: Final[dict[Kind, Callable[[Transaction, Caller, Slice], Sequence[tuple[str, Details]]]]] = {
    Kind.USER: _users,
    Kind.GROUP: _groups,
    Kind.ROLE: _roles,
    Kind.LOCAL_POLICY: _own_policies,
    Kind.AWS_POLICY: _aws_policies,
}
"""How the entities of each kind are read."""
