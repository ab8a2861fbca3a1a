"""Placement groups as EC2 shows them."""

from stead_controller.aws.call import Result
from stead_controller.aws.ec2.tags_view import tags_view
from stead_controller.resources.fleet.placement_groups import DescribedPlacementGroup


def placement_group_view(found: DescribedPlacementGroup) -> Result:
    """Show a placement group."""
    group = found.group
    return {
        "GroupName": group.name,
        "GroupId": group.id,
        "GroupArn": found.arn,
        "State": "available",
        "Strategy": group.strategy,
        "PartitionCount": group.partition_count,
        "SpreadLevel": group.spread_level,
        "Tags": tags_view(found.tags),
    }
