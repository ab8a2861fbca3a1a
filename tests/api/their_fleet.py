"""What the other tenant of `test_tenants.py` launches with, and the machines that it has for itself."""

from tests.support import rows
from tests.support.rows import GIB

GROUP = {"GroupName": "theirs", "Strategy": "cluster"}
RESERVATION = {
    "InstanceType": "t3.nano",
    "InstancePlatform": "Linux/UNIX",
    "AvailabilityZone": "us-east-1a",
    "InstanceCount": 1,
    "InstanceMatchCriteria": "targeted",
}
TEMPLATE = {"LaunchTemplateName": "theirs", "LaunchTemplateData": {"InstanceType": "t3.nano"}}


def their_host(api):
    """A Dedicated Host of the other tenant."""
    api.run(lambda tx: tx.session.add(rows.host(zone="us-east-1b", memory_free=4 * GIB)))
    asked = {"InstanceType": "t3.nano", "Quantity": 1, "AvailabilityZone": "us-east-1b"}
    return api.other.allocate_hosts(**asked)["HostIds"][0]


def their_fleet(api):
    """What the other tenant launches with."""
    template = api.other.create_launch_template(**TEMPLATE)["LaunchTemplate"]["LaunchTemplateId"]
    configs = [{"LaunchTemplateSpecification": {"LaunchTemplateId": template, "Version": "1"}}]
    capacity = {"TotalTargetCapacity": 1, "DefaultTargetCapacityType": "on-demand"}
    fleet = {"Type": "instant", "LaunchTemplateConfigs": configs, "TargetCapacitySpecification": capacity}
    [spot] = api.other.run_instances(
        ImageId=api.world.image_id, MinCount=1, MaxCount=1, InstanceMarketOptions={"MarketType": "spot"}
    )["Instances"]
    reserved = api.other.create_capacity_reservation(**RESERVATION)["CapacityReservation"]
    return {
        "spot-instances-request": spot["SpotInstanceRequestId"],
        "capacity-reservation": reserved["CapacityReservationId"],
        "dedicated-host": their_host(api),
        "fleet": api.other.create_fleet(**fleet)["FleetId"],
        "launch-template": template,
        "launch-template-name": "theirs",
        "placement-group": api.other.create_placement_group(**GROUP)["PlacementGroup"]["GroupId"],
    }
