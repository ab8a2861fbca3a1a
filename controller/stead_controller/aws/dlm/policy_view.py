"""Lifecycle policies as the Data Lifecycle Manager shows them."""

from stead_controller.aws.call import Result
from stead_controller.resources.storage import lifecycle_rules
from stead_controller.resources.storage.lifecycle_policies import DescribedPolicy


def policy_view(found: DescribedPolicy) -> Result:
    """Show a policy."""
    policy = found.policy
    return {
        "PolicyId": policy.id,
        "Description": policy.description,
        "State": _state(found),
        "ExecutionRoleArn": policy.execution_role_arn,
        "DateCreated": policy.created,
        "DateModified": policy.modified,
        "PolicyDetails": found.details,
        "Tags": found.tags,
        "PolicyArn": found.arn,
        "DefaultPolicy": False,
    }


def policy_summary_view(found: DescribedPolicy) -> Result:
    """Show a policy as lists do."""
    policy = found.policy
    return {
        "PolicyId": policy.id,
        "Description": policy.description,
        "State": _state(found),
        "Tags": found.tags,
        "PolicyType": lifecycle_rules.TYPE,
        "DefaultPolicy": False,
    }


def _state(found: DescribedPolicy) -> str:
    return "ENABLED" if found.policy.enabled else "DISABLED"
