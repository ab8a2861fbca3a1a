"""Versions of managed policies."""

from stead_controller.aws import describe
from stead_controller.aws.call import Call, Params, Result, operation
from stead_controller.aws.iam import pages
from stead_controller.aws.iam.policy_view import listed_version_view, version_view
from stead_controller.resources.iam import policy_versions


@operation("CreatePolicyVersion", service="iam")
def create_policy_version(call: Call, params: Params) -> Result:
    """Add a version to a policy."""
    made = policy_versions.create(
        call.tx,
        call.caller,
        params["PolicyArn"],
        params["PolicyDocument"],
        call.now,
        default=params.get("SetAsDefault", False),
    )
    return {"PolicyVersion": listed_version_view(made)}


@operation("GetPolicyVersion", service="iam", writes=False)
def get_policy_version(call: Call, params: Params) -> Result:
    """Show a version with its document."""
    found = policy_versions.get(call.tx, call.caller, params["PolicyArn"], params["VersionId"])
    return {"PolicyVersion": version_view(found)}


@operation("ListPolicyVersions", service="iam", writes=False)
def list_policy_versions(call: Call, params: Params) -> Result:
    """List the versions of a policy, which are few."""
    page = describe.marker_page(call, params, "ListPolicyVersions")
    versions = policy_versions.of_policy(call.tx, call.caller, params["PolicyArn"])
    return pages.cut_whole("Versions", versions, page, listed_version_view)


@operation("SetDefaultPolicyVersion", service="iam")
def set_default_policy_version(call: Call, params: Params) -> Result:
    """Set the default version."""
    policy_versions.make_default(call.tx, call.caller, params["PolicyArn"], params["VersionId"], call.now)
    return {}


@operation("DeletePolicyVersion", service="iam")
def delete_policy_version(call: Call, params: Params) -> Result:
    """Delete a version that is not the default."""
    policy_versions.remove(call.tx, call.caller, params["PolicyArn"], params["VersionId"])
    return {}
