"""Permissions boundaries of users and roles."""

from stead_controller.aws.call import Call, Params, Result, operation
from stead_controller.resources.iam import permissions_boundaries


@operation("PutUserPermissionsBoundary", service="iam")
def put_user_permissions_boundary(call: Call, params: Params) -> Result:
    """Set a user's boundary."""
    permissions_boundaries.put(call.tx, call.caller, "user", params["UserName"], params["PermissionsBoundary"])
    return {}


@operation("DeleteUserPermissionsBoundary", service="iam")
def delete_user_permissions_boundary(call: Call, params: Params) -> Result:
    """Take a user's boundary away."""
    permissions_boundaries.remove(call.tx, call.caller, "user", params["UserName"])
    return {}


@operation("PutRolePermissionsBoundary", service="iam")
def put_role_permissions_boundary(call: Call, params: Params) -> Result:
    """Set a role's boundary."""
    permissions_boundaries.put(call.tx, call.caller, "role", params["RoleName"], params["PermissionsBoundary"])
    return {}


@operation("DeleteRolePermissionsBoundary", service="iam")
def delete_role_permissions_boundary(call: Call, params: Params) -> Result:
    """Take a role's boundary away."""
    permissions_boundaries.remove(call.tx, call.caller, "role", params["RoleName"])
    return {}
