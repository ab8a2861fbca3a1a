"""Associations of instance profiles with instances as EC2 shows them."""

from stead_controller.aws.call import Result
from stead_controller.resources.instances.profile_associations import DescribedAssociation


def profile_association_view(found: DescribedAssociation) -> Result:
    """Show an association."""
    return {
        "AssociationId": found.id,
        "InstanceId": found.instance_id,
        "IamInstanceProfile": {"Arn": found.profile_arn, "Id": found.profile_id},
        "State": found.state,
        "Timestamp": found.created,
    }
