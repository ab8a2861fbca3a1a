"""CreateLifecyclePolicy, UpdateLifecyclePolicy, DeleteLifecyclePolicy, GetLifecyclePolicy and GetLifecyclePolicies."""

from typing import Final

from stead_controller.aws.call import Call, Params, Result, operation
from stead_controller.aws.dlm.policy_view import policy_summary_view, policy_view
from stead_controller.errors import Unsupported
from stead_controller.resources.storage import lifecycle_policies
from stead_controller.resources.storage.lifecycle_policies import PolicyRequest, Search

# Members of default policies, which select by themselves what to snapshot.
_UNBUILT: Final = (
    "DefaultPolicy",
    "CreateInterval",
    "RetainInterval",
    "CopyTags",
    "ExtendDeletion",
    "CrossRegionCopyTargets",
    "Exclusions",
)


@operation("CreateLifecyclePolicy", service="dlm")
def create_lifecycle_policy(call: Call, params: Params) -> Result:
    """Create a policy."""
    return {
        "PolicyId": lifecycle_policies.create(call.tx, call.caller, _request(params), params.get("Tags", {}), call.now)
    }


@operation("UpdateLifecyclePolicy", service="dlm")
def update_lifecycle_policy(call: Call, params: Params) -> Result:
    """Change a policy."""
    lifecycle_policies.update(call.tx, call.caller, params["PolicyId"], _request(params), call.now)
    return {}


@operation("DeleteLifecyclePolicy", service="dlm")
def delete_lifecycle_policy(call: Call, params: Params) -> Result:
    """Delete a policy."""
    lifecycle_policies.remove(call.tx, call.caller, params["PolicyId"])
    return {}


@operation("GetLifecyclePolicy", service="dlm", writes=False)
def get_lifecycle_policy(call: Call, params: Params) -> Result:
    """Show a policy."""
    found = lifecycle_policies.find(call.tx, call.caller, call.cloud, params["PolicyId"])
    return {"Policy": policy_view(found)}


@operation("GetLifecyclePolicies", service="dlm", writes=False)
def get_lifecycle_policies(call: Call, params: Params) -> Result:
    """List policies."""
    if params.get("DefaultPolicyType") not in (None, "ALL"):
        return {"Policies": []}
    asked = Search(
        policy_ids=tuple(params.get("PolicyIds", ())),
        state=params.get("State"),
        resource_types=tuple(params.get("ResourceTypes", ())),
        target_tags=tuple(params.get("TargetTags", ())),
        tags_to_add=tuple(params.get("TagsToAdd", ())),
    )
    found = lifecycle_policies.search(call.tx, call.caller, call.cloud, asked)
    return {"Policies": [policy_summary_view(one) for one in found]}


def _request(params: Params) -> PolicyRequest:
    for name in _UNBUILT:
        if params.get(name):
            raise Unsupported(f"Default policies are not supported: the parameter {name}.")
    return PolicyRequest(
        role_arn=params.get("ExecutionRoleArn"),
        description=params.get("Description"),
        state=params.get("State"),
        details=params.get("PolicyDetails"),
    )
