"""Everything that IAM keeps of an account, part by part: users, groups, roles and policies with what they have.

See https://docs.aws.amazon.com/IAM/latest/APIReference/API_GetAccountAuthorizationDetails.html. Each part is read in
a few questions, however many entities it has.
"""

from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from typing import Any, Final
from urllib.parse import quote

from sqlalchemy import select

from stead_controller.authorization.aws_managed import CREATED, all_policies
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
from stead_controller.resources.iam import instance_profiles, permissions_boundaries, policies
from stead_controller.resources.iam import roles as iam_roles
from stead_controller.resources.iam import users as iam_users
from stead_controller.resources.iam.list_pages import Slice

type Shown = list[dict[str, Any]]
type Entry = tuple[str, str, dict[str, Any]]
"""A kind, what it is sorted by, and the entity in the API's shape."""


def search(tx: Transaction, caller: Caller, kinds: Iterable[str], part: Slice) -> list[Entry]:
    """Entities of some kinds, kind by kind in the order of `KINDS`, by name; the slice's key is a kind and a name."""
    found: list[Entry] = []
    order = list(KINDS)
    wanted = set(kinds)
    after_kind, after_name = part.after or (order[0], "")
    for kind in order[order.index(after_kind) :]:
        left = None if part.fetch is None else part.fetch - len(found)
        if kind in wanted and left != 0:
            rest = Slice(left, (after_name,) if kind == after_kind and after_name else None)
            found += [(kind, key, entity) for key, entity in KINDS[kind](tx, caller, rest)]
    return found


def _users(tx: Transaction, caller: Caller, part: Slice) -> list[tuple[str, dict[str, Any]]]:
    mine = select(IamUser).where(IamUser.account_id == caller.account_id)
    users = tx.session.scalars(part.of(mine, IamUser.name_lower)).all()
    ids = [user.id for user in users]
    inline, attached, tags, groups = _inline(tx, ids), _attached(tx, ids), _tags(tx, ids), _groups_of(tx, ids)
    shown = []
    for user in users:
        entity = iam_users.show(user)
        del entity["PasswordLastUsed"]
        entity |= {
            "UserPolicyList": inline[user.id],
            "GroupList": groups[user.id],
            "AttachedManagedPolicies": attached[user.id],
            "PermissionsBoundary": permissions_boundaries.show(user.boundary_arn),
            "Tags": tags[user.id],
        }
        shown.append((user.name_lower, entity))
    return shown


def _groups(tx: Transaction, caller: Caller, part: Slice) -> list[tuple[str, dict[str, Any]]]:
    mine = select(IamGroup).where(IamGroup.account_id == caller.account_id)
    groups = tx.session.scalars(part.of(mine, IamGroup.name_lower)).all()
    ids = [group.id for group in groups]
    inline, attached = _inline(tx, ids), _attached(tx, ids)
    return [
        (
            group.name_lower,
            {
                **iam_groups.show(group),
                "GroupPolicyList": inline[group.id],
                "AttachedManagedPolicies": attached[group.id],
            },
        )
        for group in groups
    ]


def _roles(tx: Transaction, caller: Caller, part: Slice) -> list[tuple[str, dict[str, Any]]]:
    mine = select(IamRole).where(IamRole.account_id == caller.account_id)
    roles = tx.session.scalars(part.of(mine, IamRole.name_lower)).all()
    ids = [role.id for role in roles]
    entities = dict(zip(ids, iam_roles.show(tx, roles), strict=True))
    inline, attached, tags = _inline(tx, ids), _attached(tx, ids), _tags(tx, ids)
    profiles: dict[str, Shown] = defaultdict(list)
    with_role = select(IamInstanceProfile).where(IamInstanceProfile.role_id.in_(ids))
    for profile in tx.session.scalars(with_role.order_by(IamInstanceProfile.name_lower)):
        assert profile.role_id is not None
        profiles[profile.role_id].append(instance_profiles.show(profile, entities))
    shown = []
    for role in roles:
        entity = {name: value for name, value in entities[role.id].items() if name not in _NOT_OF_ROLES}
        entity |= {
            "InstanceProfileList": profiles[role.id],
            "RolePolicyList": inline[role.id],
            "AttachedManagedPolicies": attached[role.id],
            "PermissionsBoundary": permissions_boundaries.show(role.boundary_arn),
            "Tags": tags[role.id],
            "RoleLastUsed": {"LastUsedDate": role.last_used, "Region": role.last_used_region},
        }
        shown.append((role.name_lower, entity))
    return shown


def _own_policies(tx: Transaction, caller: Caller, part: Slice) -> list[tuple[str, dict[str, Any]]]:
    rest = Slice(part.fetch, ("local", part.after[0]) if part.after else None)
    found = policies.search(tx, caller, policies.Search(aws=False), rest)
    versions: dict[str, Shown] = defaultdict(list)
    defaults = {policy["PolicyId"]: policy["DefaultVersionId"] for _, policy in found}
    rows = select(IamPolicyVersion).where(IamPolicyVersion.policy_id.in_(list(defaults)))
    for row in tx.session.scalars(rows.order_by(IamPolicyVersion.number.desc())):
        versions[row.policy_id].append(
            {
                "Document": quote(row.document, safe=""),
                "VersionId": f"v{row.number}",
                "IsDefaultVersion": defaults[row.policy_id] == f"v{row.number}",
                "CreateDate": row.created,
            }
        )
    return [(key[1], {**policy, "PolicyVersionList": versions[policy["PolicyId"]]}) for key, policy in found]


def _aws_policies(tx: Transaction, caller: Caller, part: Slice) -> list[tuple[str, dict[str, Any]]]:
    """Those of AWS's policies that somebody has."""
    rest = Slice(part.fetch, ("aws", part.after[0]) if part.after else None)
    found = policies.search(tx, caller, policies.Search(local=False, only_attached=True), rest)
    shown = []
    for key, policy in found:
        version = {
            "Document": quote(all_policies()[policy["Arn"]].document, safe=""),
            "VersionId": "v1",
            "IsDefaultVersion": True,
            "CreateDate": CREATED,
        }
        shown.append((key[1], {**policy, "PolicyVersionList": [version]}))
    return shown


def _inline(tx: Transaction, ids: Sequence[str]) -> dict[str, Shown]:
    found: dict[str, Shown] = defaultdict(list)
    rows = select(IamInlinePolicy).where(IamInlinePolicy.principal_id.in_(ids))
    for row in tx.session.scalars(rows.order_by(IamInlinePolicy.name)):
        found[row.principal_id].append({"PolicyName": row.name, "PolicyDocument": quote(row.document, safe="")})
    return found


def _attached(tx: Transaction, ids: Sequence[str]) -> dict[str, Shown]:
    found: dict[str, Shown] = defaultdict(list)
    rows = select(IamAttachedPolicy.principal_id, IamAttachedPolicy.policy_arn)
    rows = rows.where(IamAttachedPolicy.principal_id.in_(ids)).order_by(IamAttachedPolicy.policy_arn)
    for principal_id, arn in tx.session.execute(rows):
        found[principal_id].append({"PolicyName": arn.rpartition("/")[2], "PolicyArn": arn})
    return found


def _tags(tx: Transaction, ids: Sequence[str]) -> dict[str, Shown]:
    found: dict[str, Shown] = defaultdict(list)
    rows = select(IamTag).where(IamTag.resource_id.in_(ids)).order_by(IamTag.key_lower)
    for row in tx.session.scalars(rows):
        found[row.resource_id].append({"Key": row.key, "Value": row.value})
    return found


def _groups_of(tx: Transaction, ids: Sequence[str]) -> dict[str, list[str]]:
    found: dict[str, list[str]] = defaultdict(list)
    rows = select(IamGroupMember.user_id, IamGroup.name).join(IamGroup, IamGroup.id == IamGroupMember.group_id)
    rows = rows.where(IamGroupMember.user_id.in_(ids)).order_by(IamGroup.name_lower)
    for user_id, name in tx.session.execute(rows):
        found[user_id].append(name)
    return found


_NOT_OF_ROLES: Final = ("Description", "MaxSessionDuration")

KINDS: Final[dict[str, Callable[[Transaction, Caller, Slice], list[tuple[str, dict[str, Any]]]]]] = {
    "User": _users,
    "Group": _groups,
    "Role": _roles,
    "LocalManagedPolicy": _own_policies,
    "AWSManagedPolicy": _aws_policies,
}
"""Kinds as the API's filter calls them, and how each is read."""
