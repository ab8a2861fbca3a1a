"""Instance profiles as IAM shows them."""

from stead_controller.aws.call import Result
from stead_controller.aws.iam.role_view import listed_role_view
from stead_controller.aws.iam.tags_view import tags_view
from stead_controller.resources.iam.instance_profiles import DescribedInstanceProfile


def instance_profile_view(found: DescribedInstanceProfile) -> Result:
    """Show an instance profile by itself."""
    return {**listed_instance_profile_view(found), "Tags": tags_view(found.tags)}


def listed_instance_profile_view(found: DescribedInstanceProfile) -> Result:
    """Show an instance profile as lists do."""
    profile = found.profile
    return {
        "Path": profile.path,
        "InstanceProfileName": profile.name,
        "InstanceProfileId": profile.id,
        "Arn": found.arn,
        "CreateDate": profile.created,
        "Roles": [] if found.role is None else [listed_role_view(found.role)],
    }
