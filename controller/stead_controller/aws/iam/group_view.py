"""Groups as IAM shows them."""

from stead_controller.aws.call import Result
from stead_controller.resources.iam.groups import DescribedGroup


def group_view(found: DescribedGroup) -> Result:
    """Show a group."""
    group = found.group
    return {
        "Path": group.path,
        "GroupName": group.name,
        "GroupId": group.id,
        "Arn": found.arn,
        "CreateDate": group.created,
    }
