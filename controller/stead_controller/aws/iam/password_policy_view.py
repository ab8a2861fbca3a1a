"""An account's password policy, as IAM shows it."""

from stead_controller.aws.call import Result
from stead_controller.resources.iam.password_policies import PasswordPolicy


def password_policy_view(found: PasswordPolicy) -> Result:
    """Show the policy; settings without a default are absent if they were not set."""
    return {
        "MinimumPasswordLength": found.minimum_length,
        "RequireSymbols": found.require_symbols,
        "RequireNumbers": found.require_numbers,
        "RequireUppercaseCharacters": found.require_uppercase,
        "RequireLowercaseCharacters": found.require_lowercase,
        "AllowUsersToChangePassword": found.allow_users_to_change,
        "MaxPasswordAge": found.max_age,
        "PasswordReusePrevention": found.reuse_prevention,
        "HardExpiry": found.hard_expiry,
        "ExpirePasswords": found.max_age is not None,
    }
