"""Users, groups, roles and policies with all their details, as GetAccountAuthorizationDetails shows them."""

from stead_controller.aws.call import Result
from stead_controller.aws.iam import role_view, user_view
from stead_controller.aws.iam.group_view import group_view
from stead_controller.aws.iam.inline_policy_view import inline_policy_view
from stead_controller.aws.iam.instance_profile_view import listed_instance_profile_view
from stead_controller.aws.iam.permissions_boundary_view import permissions_boundary_view
from stead_controller.aws.iam.policy_view import attached_policy_view, listed_policy_view, version_view
from stead_controller.aws.iam.tags_view import tags_view
from stead_controller.resources.iam.account_details import (
    Details,
    GroupDetails,
    PolicyDetails,
    RoleDetails,
    UserDetails,
)


def details_view(found: Details) -> Result:
    """Show an entity with all its details."""
    match found:
        case UserDetails():
            return _user(found)
        case GroupDetails():
            return _group(found)
        case RoleDetails():
            return _role(found)
        case PolicyDetails():
            versions = [version_view(version) for version in found.versions]
            return {**listed_policy_view(found.policy), "PolicyVersionList": versions}


def _user(found: UserDetails) -> Result:
    return {
        **user_view.identity_view(found.user),
        "UserPolicyList": [inline_policy_view(one) for one in found.policies.inline],
        "GroupList": list(found.groups),
        "AttachedManagedPolicies": [attached_policy_view(arn) for arn in found.policies.attached],
        "PermissionsBoundary": permissions_boundary_view(found.user.user.boundary_arn),
        "Tags": tags_view(found.user.tags),
    }


def _group(found: GroupDetails) -> Result:
    return {
        **group_view(found.group),
        "GroupPolicyList": [inline_policy_view(one) for one in found.policies.inline],
        "AttachedManagedPolicies": [attached_policy_view(arn) for arn in found.policies.attached],
    }


def _role(found: RoleDetails) -> Result:
    return {
        **role_view.identity_view(found.role),
        "InstanceProfileList": [listed_instance_profile_view(profile) for profile in found.profiles],
        "RolePolicyList": [inline_policy_view(one) for one in found.policies.inline],
        "AttachedManagedPolicies": [attached_policy_view(arn) for arn in found.policies.attached],
        "PermissionsBoundary": permissions_boundary_view(found.role.role.boundary_arn),
        "Tags": tags_view(found.role.tags),
        "RoleLastUsed": role_view.last_used_view(found.role),
    }
