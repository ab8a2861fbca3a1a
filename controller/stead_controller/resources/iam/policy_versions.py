"""Versions of managed policies: at most five, one of which is the default.

See https://docs.aws.amazon.com/IAM/latest/UserGuide/access_policies_managed-versioning.html.
"""

import re
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from sqlalchemy import func, select

from stead_controller.authorization.aws_managed import CREATED, AwsPolicy
from stead_controller.db.tables import IamPolicy, IamPolicyVersion
from stead_controller.errors import InUse, LimitExceeded, NotFound
from stead_controller.request.caller import Caller
from stead_controller.request.transaction import Transaction
from stead_controller.resources.iam import iam_names, iam_quotas, managed_policies, policy_documents

_VERSION: Final = re.compile(r"v([1-9][0-9]{0,8})")
_PATTERN: Final = r"v[1-9][0-9]*(\.[A-Za-z0-9-]*)?"


@dataclass(frozen=True, slots=True)
class PolicyVersion:
    """A version of a managed policy; `default` tells whether it is the one in force."""

    number: int
    default: bool
    created: datetime
    document: str


def create(tx: Transaction, caller: Caller, arn: str, document: str, now: datetime, *, default: bool) -> PolicyVersion:
    """Add a version; raises NotFound, InvalidParameter, LimitExceeded."""
    policy = managed_policies.find_own(tx, caller, arn)
    policy_documents.check_identity(document)
    count = select(func.count()).where(IamPolicyVersion.policy_id == policy.id)
    if (tx.session.scalar(count) or 0) >= iam_quotas.VERSIONS_PER_POLICY:
        raise LimitExceeded(
            f"A managed policy can have up to {iam_quotas.VERSIONS_PER_POLICY} versions. Before you create a new "
            "version, you must delete an existing version."
        )
    policy.last_version += 1
    version = IamPolicyVersion(policy_id=policy.id, number=policy.last_version, document=document, created=now)
    tx.session.add(version)
    policy.updated = now
    if default:
        policy.default_version = version.number
    return described(policy, version)


def get(tx: Transaction, caller: Caller, arn: str, version_id: str) -> PolicyVersion:
    """Find a version; raises NotFound, InvalidParameter."""
    found = managed_policies.find(tx, caller, arn)
    if found.aws is not None:
        if _number(version_id) != 1:
            raise _absent(arn, version_id)
        return of_aws(found.aws)
    assert found.row is not None
    return described(found.row, _find(tx, found.row, version_id))


def of_policy(tx: Transaction, caller: Caller, arn: str) -> list[PolicyVersion]:
    """All versions, the newest first; raises NotFound, InvalidParameter."""
    found = managed_policies.find(tx, caller, arn)
    if found.aws is not None:
        return [of_aws(found.aws)]
    policy = found.row
    assert policy is not None
    mine = select(IamPolicyVersion).where(IamPolicyVersion.policy_id == policy.id)
    versions = tx.session.scalars(mine.order_by(IamPolicyVersion.number.desc()))
    return [described(policy, version) for version in versions]


def make_default(tx: Transaction, caller: Caller, arn: str, version_id: str, now: datetime) -> None:
    """Make another version the default; raises NotFound, InvalidParameter."""
    policy = managed_policies.find_own(tx, caller, arn)
    policy.default_version = _find(tx, policy, version_id).number
    policy.updated = now


def remove(tx: Transaction, caller: Caller, arn: str, version_id: str) -> None:
    """Delete a version that is not the default; raises NotFound, InvalidParameter, InUse."""
    policy = managed_policies.find_own(tx, caller, arn)
    version = _find(tx, policy, version_id)
    if version.number == policy.default_version:
        raise InUse("Cannot delete the default version of a policy.")
    tx.session.delete(version)


def described(policy: IamPolicy, version: IamPolicyVersion) -> PolicyVersion:
    """Describe a version of an account's own policy."""
    return PolicyVersion(version.number, version.number == policy.default_version, version.created, version.document)


def of_aws(policy: AwsPolicy) -> PolicyVersion:
    """Describe the one version of a policy of AWS's."""
    return PolicyVersion(1, default=True, created=CREATED, document=policy.document)


def _find(tx: Transaction, policy: IamPolicy, version_id: str) -> IamPolicyVersion:
    version = tx.session.get(IamPolicyVersion, (policy.id, _number(version_id)))
    if version is None:
        raise _absent(managed_policies.arn_of(policy), version_id)
    return version


def _number(version_id: str) -> int:
    found = _VERSION.fullmatch(version_id)
    if not found:
        raise iam_names.invalid("versionId", f"Member must satisfy regular expression pattern: {_PATTERN}")
    return int(found[1])


def _absent(arn: str, version_id: str) -> NotFound:
    message = f"Policy {arn} version {version_id} does not exist or is not attachable."
    return NotFound("iam-policy-version", version_id, message=message)
