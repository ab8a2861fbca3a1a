"""Requests for Spot Instances as EC2 shows them."""

import json

from stead_controller.aws.call import Result
from stead_controller.aws.ec2.tags_view import tags_view
from stead_controller.resources.fleet.spot_requests import DescribedSpotRequest


def spot_request_view(found: DescribedSpotRequest) -> Result:
    """Show a request; the price that it may cost at most as long as it may launch."""
    instance, fault = found.instance, found.request.fault
    asked = json.loads(found.request.specification or "{}")
    price = asked.pop("SpotPrice", None)
    return {
        "SpotInstanceRequestId": found.request.id,
        "State": found.state,
        "Status": {"Code": found.status, "Message": found.message, "UpdateTime": found.status_time},
        "SpotPrice": price,
        "Type": "persistent" if found.request.persistent else "one-time",
        "Fault": None if fault is None else {"Code": found.status, "Message": fault},
        "InstanceId": found.request.instance_id,
        "InstanceInterruptionBehavior": "terminate",
        "CreateTime": found.request.created,
        "ValidFrom": found.request.valid_from,
        "ValidUntil": found.request.valid_until,
        "ProductDescription": "Linux/UNIX",
        "LaunchedAvailabilityZone": None if instance is None else instance.zone,
        "LaunchedAvailabilityZoneId": found.zone_id,
        "LaunchSpecification": _specification(found, asked),
        "Tags": tags_view(found.tags),
    }


def _specification(found: DescribedSpotRequest, asked: Result) -> Result:
    """Show what an instance was launched with or, without one, what its request asks for."""
    instance = found.instance
    if instance is None:
        return _asked(asked)
    return {
        "ImageId": instance.image_id,
        "InstanceType": instance.instance_type,
        "KeyName": instance.key_name,
        "EbsOptimized": instance.ebs_optimized,
        "Monitoring": {"Enabled": instance.monitoring},
        "Placement": {"AvailabilityZone": instance.zone},
        "SubnetId": instance.subnet_id,
    }


def _asked(asked: Result) -> Result:
    """Show parameters of RunInstances as a specification; groups by the id or the name by which it names them."""
    ids, names = asked.pop("SecurityGroupIds", ()), asked.pop("SecurityGroups", ())
    groups = [*({"GroupId": one} for one in ids), *({"GroupName": one} for one in names)]
    return {**asked, "SecurityGroups": groups} if groups else asked


def cancelled_view(found: DescribedSpotRequest) -> Result:
    """Show which state a request has after its cancellation; EC2 calls a closed one `completed` here."""
    state = "completed" if found.state == "closed" else found.state
    return {"SpotInstanceRequestId": found.request.id, "State": state}
