"""Users as IAM shows them."""

from stead_controller.aws.call import Result
from stead_controller.aws.iam.permissions_boundary_view import permissions_boundary_view
from stead_controller.aws.iam.tags_view import tags_view
from stead_controller.resources.iam.users import DescribedUser, Root


def user_view(found: DescribedUser) -> Result:
    """Show a user by itself."""
    return {
        **listed_user_view(found),
        "PermissionsBoundary": permissions_boundary_view(found.user.boundary_arn),
        "Tags": tags_view(found.tags) or None,
    }


def listed_user_view(found: DescribedUser) -> Result:
    """Show a user as lists do."""
    return {**identity_view(found), "PasswordLastUsed": found.user.password_last_used}


def identity_view(found: DescribedUser) -> Result:
    """Show a user's own data, without policies, groups or last use."""
    user = found.user
    return {
        "Path": user.path,
        "UserName": user.name,
        "UserId": user.id,
        "Arn": found.arn,
        "CreateDate": user.created,
    }


def root_view(root: Root) -> Result:
    """Show the root user of an account."""
    return {"UserId": root.id, "Arn": root.arn, "CreateDate": root.created}
