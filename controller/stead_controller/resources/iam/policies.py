"""Managed policies: create, show and delete an account's own; show AWS's.

See https://docs.aws.amazon.com/IAM/latest/APIReference/API_Policy.html.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from sqlalchemy import delete, exists, or_, select

from stead_controller.authorization.aws_managed import all_policies
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
from stead_controller.resources.iam.managed_policies import Managed

_AWS: Final = "aws"  # sorts before an account's own
_LOCAL: Final = "local"


@dataclass(frozen=True, slots=True)
class NewPolicy:
    """A managed policy as CreatePolicy describes it."""

    name: str
    document: str
    path: str | None = None
    description: str = ""
    tags: Iterable[tuple[str, str]] = ()


@dataclass(frozen=True, slots=True)
class DescribedPolicy:
    """A managed policy, the number of principals it is attached to, and the number that it is the boundary of.

    The tags are left out in lists, and AWS's policies have none.
    """

    policy: Managed
    attached: int
    bounding: int
    tags: Sequence[tuple[str, str]] = ()

    @property
    def key(self) -> tuple[str, str]:
        """The sort key of lists: AWS's policies first, then by name."""
        return (_AWS if self.policy.aws else _LOCAL, self.policy.name.lower())


@dataclass(frozen=True, slots=True)
class Search:
    """Which policies ListPolicies asks for; `usages` are those that count as attached."""

    aws: bool = True
    local: bool = True
    only_attached: bool = False
    usages: frozenset[str] = frozenset(("PermissionsPolicy", "PermissionsBoundary"))


def create(tx: Transaction, caller: Caller, request: NewPolicy, now: datetime) -> DescribedPolicy:
    """Make a policy with its first version; raises InvalidParameter, AlreadyExists, LimitExceeded."""
    iam_names.check_name("policyName", request.name)
    mine = IamPolicy.account_id == caller.account_id
    if tx.session.scalar(select(IamPolicy.id).where(mine, IamPolicy.name_lower == request.name.lower())) is not None:
        raise AlreadyExists(
            "iam-policy", f"A policy called {request.name} already exists. Duplicate names are not allowed."
        )
    iam_quotas.check_account(tx, caller, quotas.IAM_POLICIES, "PoliciesPerAccount", IamPolicy)
    policy = IamPolicy(
        id=iam_names.new_id("policy"),
        account_id=caller.account_id,
        name=request.name,
        name_lower=request.name.lower(),
        path=iam_names.check_policy_path(request.path),
        created=now,
        updated=now,
        description=request.description,
        default_version=1,
        last_version=1,
    )
    document = policy_documents.check_identity(request.document)
    tx.session.add(policy)
    tx.session.flush()
    tx.session.add(IamPolicyVersion(policy_id=policy.id, number=1, document=document, created=now))
    iam_tags.set_tags(tx, policy.id, request.tags)
    return DescribedPolicy(_own(policy), 0, 0, iam_tags.pairs_of(tx, policy.id))


def get(tx: Transaction, caller: Caller, arn: str) -> DescribedPolicy:
    """Find a policy; raises NotFound, InvalidParameter."""
    found = managed_policies.find(tx, caller, arn)
    attached = attached_policies.counts(tx, caller.account_id, [arn]).get(arn, 0)
    bounding = attached_policies.boundary_counts(tx, caller.account_id, [arn]).get(arn, 0)
    return DescribedPolicy(found, attached, bounding, iam_tags.pairs_of(tx, found.row.id) if found.row else ())


def search(tx: Transaction, caller: Caller, asked: Search, part: Slice) -> list[DescribedPolicy]:
    """List policies, AWS's first, then the account's own, by name; the slice's key is `DescribedPolicy.key`."""
    after = part.after or ("", "")
    found: list[Managed] = []
    if asked.aws and after[0] <= _AWS:
        found += _search_aws(tx, caller, asked, part, after)
    left = None if part.fetch is None else part.fetch - len(found)
    if asked.local and left != 0:
        rest = Slice(left, after if after[0] == _LOCAL else None, part.path_prefix)
        found += _search_local(tx, caller, asked, rest)
    arns = [policy.arn for policy in found]
    attached = attached_policies.counts(tx, caller.account_id, arns)
    bounding = attached_policies.boundary_counts(tx, caller.account_id, arns)
    return [DescribedPolicy(one, attached.get(one.arn, 0), bounding.get(one.arn, 0)) for one in found]


def remove(tx: Transaction, caller: Caller, arn: str) -> None:
    """Delete a policy that is not attached and has only its default version; raises NotFound, InUse."""
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


def _search_aws(tx: Transaction, caller: Caller, asked: Search, part: Slice, after: tuple[str, ...]) -> list[Managed]:
    """AWS's policies, which are few: files of this package."""
    known = all_policies()
    wanted = list(known.values())
    if asked.only_attached:
        used: set[str] = set()
        if "PermissionsPolicy" in asked.usages:
            used |= attached_policies.counts(tx, caller.account_id, known).keys()
        if "PermissionsBoundary" in asked.usages:
            used |= attached_policies.boundary_counts(tx, caller.account_id, known).keys()
        wanted = [policy for policy in wanted if policy.arn in used]
    listed = (policy for policy in wanted if policy.path.startswith(part.path_prefix))
    return [Managed(one.arn, aws=one) for one in listed if (_AWS, one.name.lower()) > after][: part.fetch]


def _search_local(tx: Transaction, caller: Caller, asked: Search, part: Slice) -> list[Managed]:
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
    return [_own(policy) for policy in tx.session.scalars(part.of(mine, IamPolicy.name_lower))]


def _own(policy: IamPolicy) -> Managed:
    return Managed(managed_policies.arn_of(policy), row=policy)
