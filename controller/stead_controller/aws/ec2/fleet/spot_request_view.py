"""Requests for Spot Instances as EC2 shows them."""

from stead_controller.aws.call import Result
from stead_controller.aws.ec2.tags_view import tags_view
from stead_controller.resources.fleet.spot_requests import DescribedSpotRequest


def spot_request_view(found: DescribedSpotRequest) -> Result:
    """Show a request; there are no prices."""
    instance = found.instance
    return {
        "SpotInstanceRequestId": found.request.id,
        "State": found.state,
        "Status": {"Code": found.status, "Message": found.message, "UpdateTime": found.status_time},
        "Type": "one-time",
        "InstanceId": instance.id,
        "InstanceInterruptionBehavior": "terminate",
        "CreateTime": found.request.created,
        "ProductDescription": "Linux/UNIX",
        "LaunchedAvailabilityZone": instance.zone,
        "LaunchedAvailabilityZoneId": found.zone_id,
        "LaunchSpecification": {
            "ImageId": instance.image_id,
            "InstanceType": instance.instance_type,
            "KeyName": instance.key_name,
            "EbsOptimized": instance.ebs_optimized,
            "Monitoring": {"Enabled": instance.monitoring},
            "Placement": {"AvailabilityZone": instance.zone},
            "SubnetId": instance.subnet_id,
        },
        "Tags": tags_view(found.tags),
    }


def cancelled_view(found: DescribedSpotRequest) -> Result:
    """Show which state a request has after its cancellation; EC2 calls a closed one `completed` here."""
    state = "completed" if found.state == "closed" else found.state
    return {"SpotInstanceRequestId": found.request.id, "State": state}
