"""Managed policies as IAM shows them."""

from urllib.parse import quote

from stead_controller.aws.call import Result
from stead_controller.aws.iam.tags_view import tags_view
from stead_controller.resources.iam.policies import DescribedPolicy
from stead_controller.resources.iam.policy_versions import PolicyVersion


def policy_view(found: DescribedPolicy) -> Result:
    """Show a policy by itself."""
    return {
        **listed_policy_view(found),
        "Description": found.policy.description or None,
        "Tags": tags_view(found.tags),
    }


def new_policy_view(found: DescribedPolicy) -> Result:
    """Show a policy that was just made."""
    return {**listed_policy_view(found), "Tags": tags_view(found.tags) or None}


def listed_policy_view(found: DescribedPolicy) -> Result:
    """Show a policy as lists do."""
    policy = found.policy
    return {
        "PolicyName": policy.name,
        "PolicyId": policy.id,
        "Arn": policy.arn,
        "Path": policy.path,
        "DefaultVersionId": f"v{policy.default_version}",
        "AttachmentCount": found.attached,
        "PermissionsBoundaryUsageCount": found.bounding,
        "IsAttachable": True,
        "CreateDate": policy.created,
        "UpdateDate": policy.updated,
    }


def attached_policy_view(arn: str) -> Result:
    """Show a policy that is attached to a principal."""
    return {"PolicyName": arn.rpartition("/")[2], "PolicyArn": arn}


def version_view(found: PolicyVersion) -> Result:
    """Show a version of a policy with its document."""
    return {"Document": quote(found.document, safe=""), **listed_version_view(found)}


def listed_version_view(found: PolicyVersion) -> Result:
    """Show a version of a policy as lists do."""
    return {"VersionId": f"v{found.number}", "IsDefaultVersion": found.default, "CreateDate": found.created}
