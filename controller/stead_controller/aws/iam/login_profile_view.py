"""Login profiles as IAM shows them."""

from stead_controller.aws.call import Result
from stead_controller.resources.iam.login_profiles import LoginProfile


def login_profile_view(found: LoginProfile) -> Result:
    """Show that a user has a password."""
    return {
        "UserName": found.user_name,
        "CreateDate": found.created,
        "PasswordResetRequired": found.reset_required,
    }
