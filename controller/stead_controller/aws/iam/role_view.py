"""Roles as IAM shows them."""

from urllib.parse import quote

from stead_controller.aws.call import Result
from stead_controller.aws.iam.permissions_boundary_view import permissions_boundary_view
from stead_controller.aws.iam.tags_view import tags_view
from stead_controller.resources.iam.roles import DescribedRole


def role_view(found: DescribedRole) -> Result:
    """Show a role by itself."""
    return {**new_role_view(found), "RoleLastUsed": last_used_view(found)}


def new_role_view(found: DescribedRole) -> Result:
    """Show a role that was just made."""
    return {
        **listed_role_view(found),
        "PermissionsBoundary": permissions_boundary_view(found.role.boundary_arn),
        "Tags": tags_view(found.tags) or None,
    }


def listed_role_view(found: DescribedRole) -> Result:
    """Show a role as lists do."""
    return {
        **identity_view(found),
        "Description": found.role.description or None,
        "MaxSessionDuration": found.role.max_session_duration,
    }


def identity_view(found: DescribedRole) -> Result:
    """Show a role's own data and its trust policy."""
    role = found.role
    return {
        "Path": role.path,
        "RoleName": role.name,
        "RoleId": role.id,
        "Arn": found.arn,
        "CreateDate": role.created,
        "AssumeRolePolicyDocument": quote(found.trust_policy, safe=""),
    }


def last_used_view(found: DescribedRole) -> Result:
    """Show when and in which region a role was last used; both are None if it was never used."""
    return {"LastUsedDate": found.role.last_used, "Region": found.role.last_used_region}
