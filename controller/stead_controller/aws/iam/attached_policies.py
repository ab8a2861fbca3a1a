"""Managed policies attached to users, groups and roles."""

from stead_controller.aws import describe
from stead_controller.aws.call import Call, Params, Result, operation
from stead_controller.aws.iam import pages
from stead_controller.resources.iam import attached_policies, iam_names


@operation("AttachUserPolicy", service="iam")
def attach_user_policy(call: Call, params: Params) -> Result:
    """Attach a managed policy to a user."""
    attached_policies.attach(call.tx, call.caller, "user", params["UserName"], params["PolicyArn"])
    return {}


@operation("DetachUserPolicy", service="iam")
def detach_user_policy(call: Call, params: Params) -> Result:
    """Detach a managed policy from a user."""
    attached_policies.detach(call.tx, call.caller, "user", params["UserName"], params["PolicyArn"])
    return {}


@operation("ListAttachedUserPolicies", service="iam", writes=False)
def list_attached_user_policies(call: Call, params: Params) -> Result:
    """List the managed policies of a user."""
    return _attached(call, params, "ListAttachedUserPolicies", "user", params["UserName"])


@operation("AttachGroupPolicy", service="iam")
def attach_group_policy(call: Call, params: Params) -> Result:
    """Attach a managed policy to a group."""
    attached_policies.attach(call.tx, call.caller, "group", params["GroupName"], params["PolicyArn"])
    return {}


@operation("DetachGroupPolicy", service="iam")
def detach_group_policy(call: Call, params: Params) -> Result:
    """Detach a managed policy from a group."""
    attached_policies.detach(call.tx, call.caller, "group", params["GroupName"], params["PolicyArn"])
    return {}


@operation("ListAttachedGroupPolicies", service="iam", writes=False)
def list_attached_group_policies(call: Call, params: Params) -> Result:
    """List the managed policies of a group."""
    return _attached(call, params, "ListAttachedGroupPolicies", "group", params["GroupName"])


@operation("AttachRolePolicy", service="iam")
def attach_role_policy(call: Call, params: Params) -> Result:
    """Attach a managed policy to a role."""
    attached_policies.attach(call.tx, call.caller, "role", params["RoleName"], params["PolicyArn"])
    return {}


@operation("DetachRolePolicy", service="iam")
def detach_role_policy(call: Call, params: Params) -> Result:
    """Detach a managed policy from a role."""
    attached_policies.detach(call.tx, call.caller, "role", params["RoleName"], params["PolicyArn"])
    return {}


@operation("ListAttachedRolePolicies", service="iam", writes=False)
def list_attached_role_policies(call: Call, params: Params) -> Result:
    """List the managed policies of a role."""
    return _attached(call, params, "ListAttachedRolePolicies", "role", params["RoleName"])


def _attached(call: Call, params: Params, operation_name: str, kind: str, name: str) -> Result:
    """List what is attached to a principal, which is little; ARNs would be too long for markers."""
    page = describe.marker_page(call, params, operation_name)
    prefix = iam_names.check_path_prefix(params.get("PathPrefix"))
    found = attached_policies.of_principal(call.tx, call.caller, kind, name, prefix)
    return pages.cut_whole("AttachedPolicies", found, page)
