"""Inline policies of users, groups and roles."""

from stead_controller.aws.call import Call, Params, Result, operation
from stead_controller.aws.iam import pages
from stead_controller.resources.iam import inline_policies


@operation("PutUserPolicy", service="iam")
def put_user_policy(call: Call, params: Params) -> Result:
    """Set a user's inline policy."""
    _put(call, params, "user", params["UserName"])
    return {}


@operation("GetUserPolicy", service="iam", writes=False)
def get_user_policy(call: Call, params: Params) -> Result:
    """Show a user's inline policy."""
    return inline_policies.get(call.tx, call.caller, "user", params["UserName"], params["PolicyName"])


@operation("ListUserPolicies", service="iam", writes=False)
def list_user_policies(call: Call, params: Params) -> Result:
    """List the names of a user's inline policies."""
    return _names(call, params, "ListUserPolicies", "user", params["UserName"])


@operation("DeleteUserPolicy", service="iam")
def delete_user_policy(call: Call, params: Params) -> Result:
    """Delete a user's inline policy."""
    inline_policies.remove(call.tx, call.caller, "user", params["UserName"], params["PolicyName"])
    return {}


@operation("PutGroupPolicy", service="iam")
def put_group_policy(call: Call, params: Params) -> Result:
    """Set a group's inline policy."""
    _put(call, params, "group", params["GroupName"])
    return {}


@operation("GetGroupPolicy", service="iam", writes=False)
def get_group_policy(call: Call, params: Params) -> Result:
    """Show a group's inline policy."""
    return inline_policies.get(call.tx, call.caller, "group", params["GroupName"], params["PolicyName"])


@operation("ListGroupPolicies", service="iam", writes=False)
def list_group_policies(call: Call, params: Params) -> Result:
    """List the names of a group's inline policies."""
    return _names(call, params, "ListGroupPolicies", "group", params["GroupName"])


@operation("DeleteGroupPolicy", service="iam")
def delete_group_policy(call: Call, params: Params) -> Result:
    """Delete a group's inline policy."""
    inline_policies.remove(call.tx, call.caller, "group", params["GroupName"], params["PolicyName"])
    return {}


@operation("PutRolePolicy", service="iam")
def put_role_policy(call: Call, params: Params) -> Result:
    """Set a role's inline policy."""
    _put(call, params, "role", params["RoleName"])
    return {}


@operation("GetRolePolicy", service="iam", writes=False)
def get_role_policy(call: Call, params: Params) -> Result:
    """Show a role's inline policy."""
    return inline_policies.get(call.tx, call.caller, "role", params["RoleName"], params["PolicyName"])


@operation("ListRolePolicies", service="iam", writes=False)
def list_role_policies(call: Call, params: Params) -> Result:
    """List the names of a role's inline policies."""
    return _names(call, params, "ListRolePolicies", "role", params["RoleName"])


@operation("DeleteRolePolicy", service="iam")
def delete_role_policy(call: Call, params: Params) -> Result:
    """Delete a role's inline policy."""
    inline_policies.remove(call.tx, call.caller, "role", params["RoleName"], params["PolicyName"])
    return {}


def _names(call: Call, params: Params, operation_name: str, kind: str, name: str) -> Result:
    return pages.listed(
        call,
        params,
        operation_name,
        "PolicyNames",
        read=lambda part: inline_policies.names(call.tx, call.caller, kind, name, part),
        key=lambda policy_name: (policy_name,),
    )


def _put(call: Call, params: Params, kind: str, name: str) -> None:
    policy_name, document = params["PolicyName"], params["PolicyDocument"]
    inline_policies.put(call.tx, call.caller, kind, name, policy_name=policy_name, document=document)
