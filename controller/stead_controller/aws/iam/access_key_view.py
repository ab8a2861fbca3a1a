"""Access keys as IAM shows them."""

from stead_controller.aws.call import Result
from stead_controller.resources.iam.access_keys import DescribedKey, LastUse, NewKey


def new_access_key_view(made: NewKey) -> Result:
    """Show a key that was just made, with its secret."""
    return {
        "UserName": made.user_name,
        "AccessKeyId": made.id,
        "Status": "Active",
        "SecretAccessKey": made.secret,
        "CreateDate": made.created,
    }


def access_key_view(found: DescribedKey) -> Result:
    """Show a key without its secret."""
    return {
        "UserName": found.user_name,
        "AccessKeyId": found.id,
        "Status": "Active" if found.active else "Inactive",
        "CreateDate": found.created,
    }


def last_use_view(found: LastUse) -> Result:
    """Show what a key was last used for."""
    return {
        "UserName": found.user_name,
        "AccessKeyLastUsed": {
            "LastUsedDate": found.at,
            "ServiceName": found.service or "N/A",
            "Region": found.region or "N/A",
        },
    }
