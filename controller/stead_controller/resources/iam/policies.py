"""Managed policies: an account's own are made, shown, deleted; AWS's are shown.

See https://docs.aws.amazon.com/IAM/latest/APIReference/API_Policy.html.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from sqlalchemy import delete, exists, or_, select

from stead_controller.authorization.aws_managed import CREATED, AwsPolicy, all_policies
from stead_controller.db.tables import IamAttachedPolicy, IamPolicy, IamPolicyVersion, IamRole, IamUser
from stead_controller.errors import AlreadyExists, InUse
from stead_controller.request.caller import Caller
from stead_controller.request.transaction import Transaction
from stead_controller.resources import quotas
from stead_controller.resources.iam import (
    attached_policies,
    iam_names,
    iam_quotas,
    iam_tags,
    managed_policies,
    policy_documents,
)
from stead_controller.resources.iam.list_pages import Slice

_AWS: Final = "aws"  # sorts before an account's own
_LOCAL: Final = "local"


@dataclass(frozen=True, slots=True)
class NewPolicy:
    """A managed policy as CreatePolicy describes it."""

    name: str
    document: str
    path: str | None = None
    description: str = ""
    tags: Iterable[Mapping[str, str]] = ()


@dataclass(frozen=True, slots=True)
class Search:
    """Which policies ListPolicies asks for; `usages` are those that count as attached."""

    aws: bool = True
    local: bool = True
    only_attached: bool = False
    usages: frozenset[str] = frozenset(("PermissionsPolicy", "PermissionsBoundary"))


def create(tx: Transaction, caller: Caller, wish: NewPolicy, now: datetime) -> dict[str, Any]:
    """Make a policy with its first version; raises InvalidParameter, AlreadyExists, LimitExceeded."""
    iam_names.check_name("policyName", wish.name)
    mine = IamPolicy.account_id == caller.account_id
    if tx.session.scalar(select(IamPolicy.id).where(mine, IamPolicy.name_lower == wish.name.lower())) is not None:
        raise AlreadyExists(
            "iam-policy", f"A policy called {wish.name} already exists. Duplicate names are not allowed."
        )
    iam_quotas.check_account(tx, caller, quotas.IAM_POLICIES, "PoliciesPerAccount", IamPolicy)
    policy = IamPolicy(
        id=iam_names.new_id("policy"),
        account_id=caller.account_id,
        name=wish.name,
        name_lower=wish.name.lower(),
        path=iam_names.check_policy_path(wish.path),
        created=now,
        updated=now,
        description=wish.description,
        default_version=1,
        last_version=1,
    )
    document = policy_documents.check_identity(wish.document)
    tx.session.add(policy)
    tx.session.flush()
    tx.session.add(IamPolicyVersion(policy_id=policy.id, number=1, document=document, created=now))
    iam_tags.set_tags(tx, policy.id, wish.tags)
    return {**_show(policy, 0, 0), "Tags": iam_tags.show(tx, policy.id) or None}


def get(tx: Transaction, caller: Caller, arn: str) -> dict[str, Any]:
    """Show a policy; raises NotFound, InvalidParameter."""
    found = managed_policies.find(tx, caller, arn)
    attached = attached_policies.counts(tx, caller.account_id, [arn]).get(arn, 0)
    bounding = attached_policies.boundary_counts(tx, caller.account_id, [arn]).get(arn, 0)
    if found.aws is not None:
        return {**_show_aws(found.aws, attached, bounding), "Description": found.aws.description, "Tags": []}
    assert found.row is not None
    return {
        **_show(found.row, attached, bounding),
        "Description": found.row.description or None,
        "Tags": iam_tags.show(tx, found.row.id),
    }


def search(tx: Transaction, caller: Caller, asked: Search, part: Slice) -> list[tuple[tuple[str, str], dict[str, Any]]]:
    """List policies, AWS's first, then the account's own, by name; each with the key that it is sorted by."""
    after = part.after or ("", "")
    keyed: list[tuple[tuple[str, str], AwsPolicy | IamPolicy]] = []
    if asked.aws and after[0] <= _AWS:
        keyed += _search_aws(tx, caller, asked, part, after)
    left = None if part.fetch is None else part.fetch - len(keyed)
    if asked.local and left != 0:
        rest = Slice(left, after if after[0] == _LOCAL else None, part.path_prefix)
        keyed += [((_LOCAL, policy.name_lower), policy) for policy in _search_local(tx, caller, asked, rest)]
    arns = [policy.arn if isinstance(policy, AwsPolicy) else managed_policies.arn_of(policy) for _, policy in keyed]
    attached = attached_policies.counts(tx, caller.account_id, arns)
    bounding = attached_policies.boundary_counts(tx, caller.account_id, arns)
    shown = []
    for (key, policy), arn in zip(keyed, arns, strict=True):
        numbers = attached.get(arn, 0), bounding.get(arn, 0)
        shown.append((key, _show_aws(policy, *numbers) if isinstance(policy, AwsPolicy) else _show(policy, *numbers)))
    return shown


def remove(tx: Transaction, caller: Caller, arn: str) -> None:
    """Delete a policy that nobody has and that has no version but its default one; raises NotFound, InUse."""
    policy = managed_policies.find_own(tx, caller, arn)
    if attached_policies.counts(tx, caller.account_id, [arn]) or attached_policies.boundary_counts(
        tx, caller.account_id, [arn]
    ):
        raise InUse("Cannot delete a policy attached to entities.")
    others = select(IamPolicyVersion.number).where(
        IamPolicyVersion.policy_id == policy.id, IamPolicyVersion.number != policy.default_version
    )
    if tx.session.scalar(others.limit(1)) is not None:
        raise InUse(
            "This policy has more than one version. Before you delete a policy, you must delete the policy's versions. "
            "The default version is deleted with the policy."
        )
    iam_tags.remove_all(tx, policy.id)
    tx.session.execute(delete(IamPolicyVersion).where(IamPolicyVersion.policy_id == policy.id))
    tx.session.delete(policy)


def _search_aws(
    tx: Transaction, caller: Caller, asked: Search, part: Slice, after: tuple[str, ...]
) -> list[tuple[tuple[str, str], AwsPolicy]]:
    """AWS's policies, which are few: the files of this program."""
    known = all_policies()
    wanted = list(known.values())
    if asked.only_attached:
        used: set[str] = set()
        if "PermissionsPolicy" in asked.usages:
            used |= attached_policies.counts(tx, caller.account_id, known).keys()
        if "PermissionsBoundary" in asked.usages:
            used |= attached_policies.boundary_counts(tx, caller.account_id, known).keys()
        wanted = [policy for policy in wanted if policy.arn in used]
    keyed = [((_AWS, policy.name.lower()), policy) for policy in wanted if policy.path.startswith(part.path_prefix)]
    return [entry for entry in keyed if entry[0] > after][: part.fetch]


def _search_local(tx: Transaction, caller: Caller, asked: Search, part: Slice) -> list[IamPolicy]:
    mine = select(IamPolicy).where(IamPolicy.account_id == caller.account_id, *part.paths(IamPolicy.path))
    if asked.only_attached:
        arn = "arn:aws:iam::" + IamPolicy.account_id + ":policy" + IamPolicy.path + IamPolicy.name
        ways = []
        if "PermissionsPolicy" in asked.usages:
            ways.append(
                exists().where(
                    IamAttachedPolicy.account_id == IamPolicy.account_id, IamAttachedPolicy.policy_arn == arn
                )
            )
        if "PermissionsBoundary" in asked.usages:
            ways += [
                exists().where(model.account_id == IamPolicy.account_id, model.boundary_arn == arn)
                for model in (IamUser, IamRole)
            ]
        mine = mine.where(or_(*ways))
    return list(tx.session.scalars(part.of(mine, IamPolicy.name_lower)))


def _show(policy: IamPolicy, attached: int, bounding: int) -> dict[str, Any]:
    return {
        "PolicyName": policy.name,
        "PolicyId": policy.id,
        "Arn": managed_policies.arn_of(policy),
        "Path": policy.path,
        "DefaultVersionId": f"v{policy.default_version}",
        "AttachmentCount": attached,
        "PermissionsBoundaryUsageCount": bounding,
        "IsAttachable": True,
        "CreateDate": policy.created,
        "UpdateDate": policy.updated,
    }


def _show_aws(policy: AwsPolicy, attached: int, bounding: int) -> dict[str, Any]:
    return {
        "PolicyName": policy.name,
        "PolicyId": policy.id,
        "Arn": policy.arn,
        "Path": policy.path,
        "DefaultVersionId": "v1",
        "AttachmentCount": attached,
        "PermissionsBoundaryUsageCount": bounding,
        "IsAttachable": True,
        "CreateDate": CREATED,
        "UpdateDate": CREATED,
    }
