"""Roles."""

from stead_controller.aws.call import Call, Params, Result, operation
from stead_controller.aws.iam import pages
from stead_controller.aws.iam.role_view import listed_role_view, new_role_view, role_view
from stead_controller.aws.iam.tags_view import given_tags
from stead_controller.resources.iam import roles


@operation("CreateRole", service="iam")
def create_role(call: Call, params: Params) -> Result:
    """Create a role."""
    request = roles.NewRole(
        name=params["RoleName"],
        trust_policy=params["AssumeRolePolicyDocument"],
        path=params.get("Path"),
        description=params.get("Description", ""),
        max_session_duration=params.get("MaxSessionDuration"),
        boundary_arn=params.get("PermissionsBoundary"),
        tags=given_tags(params),
    )
    return {"Role": new_role_view(roles.create(call.tx, call.caller, request, call.now))}


@operation("GetRole", service="iam", writes=False)
def get_role(call: Call, params: Params) -> Result:
    """Show a role."""
    return {"Role": role_view(roles.get(call.tx, call.caller, params["RoleName"]))}


@operation("ListRoles", service="iam", writes=False)
def list_roles(call: Call, params: Params) -> Result:
    """List roles."""
    return pages.listed(
        call,
        params,
        "ListRoles",
        "Roles",
        read=lambda part: roles.search(call.tx, call.caller, part),
        key=lambda found: (found.role.name_lower,),
        view=listed_role_view,
    )


@operation("UpdateRole", service="iam")
def update_role(call: Call, params: Params) -> Result:
    """Change a role's description and maximum session duration."""
    seconds = params.get("MaxSessionDuration")
    roles.update(call.tx, call.caller, params["RoleName"], params.get("Description"), seconds)
    return {}


@operation("UpdateRoleDescription", service="iam")
def update_role_description(call: Call, params: Params) -> Result:
    """Change a role's description."""
    changed = roles.update(call.tx, call.caller, params["RoleName"], params["Description"], None)
    return {"Role": listed_role_view(changed)}


@operation("UpdateAssumeRolePolicy", service="iam")
def update_assume_role_policy(call: Call, params: Params) -> Result:
    """Change a role's trust policy."""
    roles.trust(call.tx, call.caller, params["RoleName"], params["PolicyDocument"])
    return {}


@operation("DeleteRole", service="iam")
def delete_role(call: Call, params: Params) -> Result:
    """Delete a role, which must have no policies and the like any more."""
    roles.remove(call.tx, call.caller, params["RoleName"])
    return {}
