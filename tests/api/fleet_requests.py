"""Launch templates, placement groups, fleets and Spot requests of `base_requests.py`: what there is of them, and good requests about them."""

from typing import Any, Final

from tests.api.conftest import Api
from tests.support import rows
from tests.support.rows import GIB

Named = dict[str, Any]
_DATA: Final = {"EbsOptimized": False}  # no type, which InstanceRequirements choose
_TEMPLATES: Final = ("CreateLaunchTemplate", "CreateLaunchTemplateVersion")
# What a structure of a template's data needs where one of its members is given.
_NEEDED: Final[dict[str, Named]] = {
    "": _DATA,
    ".InstanceMarketOptions": {"MarketType": "spot"},
    ".BlockDeviceMappings.Ebs": {"VolumeSize": 1},
    ".NetworkInterfaces": {"DeviceIndex": 0},
    ".NetworkInterfaces.Ipv6Addresses": {"Ipv6Address": "{free_ipv6}"},
    ".TagSpecifications": {"ResourceType": "instance"},
}


def build(api: Api) -> Named:
    """Make one of each for the first tenant; gives their ids."""
    group = api.ec2.create_placement_group(GroupName="own", Strategy="partition")["PlacementGroup"]
    data = {"ImageId": api.world.image_id, "InstanceType": "t3.nano"}
    template = api.ec2.create_launch_template(LaunchTemplateName="own", LaunchTemplateData=data)["LaunchTemplate"]
    api.ec2.create_launch_template_version(LaunchTemplateName="own", LaunchTemplateData=data)
    fleet = api.ec2.create_fleet(**BASES["CreateFleet"])["FleetId"]
    [spot] = api.ec2.run_instances(
        ImageId=api.world.image_id, MinCount=1, MaxCount=1, InstanceMarketOptions={"MarketType": "spot"}
    )["Instances"]
    reserved = api.ec2.create_capacity_reservation(**_RESERVATION, InstanceMatchCriteria="targeted")
    # One host for a Dedicated Host, and one more in each zone that could be.
    zones = ("us-east-1a", "us-east-1b", "us-east-1b")
    small = [rows.host(zone=zone, memory_free=4 * GIB) for zone in zones]
    api.run(lambda tx: tx.session.add_all(small))
    return {
        "fleet": fleet,
        "launch_template": template["LaunchTemplateId"],
        "placement_group": group["GroupId"],
        "spot_request": spot["SpotInstanceRequestId"],
        "capacity_reservation": reserved["CapacityReservation"]["CapacityReservationId"],
        "dedicated_host": api.ec2.allocate_hosts(**_HOST)["HostIds"][0],
    }


_RESERVATION: Final = {
    "InstanceType": "t3.nano",
    "InstancePlatform": "Linux/UNIX",
    "AvailabilityZone": "us-east-1a",
    "InstanceCount": 1,
}
_HOST: Final = {"InstanceType": "t3.nano", "Quantity": 1, "AvailabilityZone": "us-east-1b"}
_SPECIFICATION: Final = {"LaunchTemplateName": "own", "Version": "1"}

BASES: Final[dict[str, Named]] = {
    "AllocateHosts": _HOST,
    "DescribeHosts": {"HostIds": ["{dedicated_host}"]},
    "ModifyHosts": {"HostIds": ["{dedicated_host}"], "AutoPlacement": "on"},
    "ReleaseHosts": {"HostIds": ["{dedicated_host}"]},
    "CancelCapacityReservation": {"CapacityReservationId": "{capacity_reservation}"},
    "CreateCapacityReservation": _RESERVATION,
    "DescribeCapacityReservations": {"CapacityReservationIds": ["{capacity_reservation}"]},
    "GetCapacityReservationUsage": {"CapacityReservationId": "{capacity_reservation}"},
    "GetGroupsForCapacityReservation": {"CapacityReservationId": "{capacity_reservation}"},
    "ModifyCapacityReservation": {"CapacityReservationId": "{capacity_reservation}", "InstanceCount": 2},
    "ModifyInstanceCapacityReservationAttributes": {
        "InstanceId": "{stopped}",
        "CapacityReservationSpecification": {"CapacityReservationPreference": "none"},
    },
    "CreateFleet": {
        "Type": "instant",
        "LaunchTemplateConfigs": [{"LaunchTemplateSpecification": _SPECIFICATION}],
        "TargetCapacitySpecification": {"TotalTargetCapacity": 1, "DefaultTargetCapacityType": "on-demand"},
    },
    "CancelSpotInstanceRequests": {"SpotInstanceRequestIds": ["{spot_request}"]},
    "RequestSpotInstances": {"LaunchSpecification": {"ImageId": "{image}"}},
    "DescribeSpotInstanceRequests": {"SpotInstanceRequestIds": ["{spot_request}"]},
    "DeleteFleets": {"FleetIds": ["{fleet}"], "TerminateInstances": True},
    "DescribeFleets": {"FleetIds": ["{fleet}"]},
    "DescribeFleetInstances": {"FleetId": "{fleet}"},
    "CreateLaunchTemplate": {"LaunchTemplateName": "new", "LaunchTemplateData": _DATA},
    "CreateLaunchTemplateVersion": {"LaunchTemplateName": "own", "LaunchTemplateData": _DATA},
    "DeleteLaunchTemplate": {"LaunchTemplateName": "own"},
    "DeleteLaunchTemplateVersions": {"LaunchTemplateName": "own", "Versions": ["2"]},
    "DescribeLaunchTemplateVersions": {"LaunchTemplateName": "own"},
    "ModifyLaunchTemplate": {"LaunchTemplateName": "own", "DefaultVersion": "2"},
    "CreatePlacementGroup": {"GroupName": "new", "Strategy": "partition"},
    "DeletePlacementGroup": {"GroupName": "own"},
    "DescribePlacementGroups": {"GroupIds": ["{placement_group}"]},
    "ModifyInstancePlacement": {"InstanceId": "{stopped}", "GroupName": "own"},
}

TAGGED: Final = {
    "AllocateHosts": "dedicated-host",
    "CreateCapacityReservation": "capacity-reservation",
    "CreateFleet": "fleet",
    "CreateLaunchTemplate": "launch-template",
    "CreatePlacementGroup": "placement-group",
    "RequestSpotInstances": "spot-instances-request",
}

VALUES_OF: Final[dict[tuple[str, str], Any]] = {
    (operation, "LaunchTemplateData.TagSpecifications.ResourceType"): "instance" for operation in _TEMPLATES
}

COMPANIONS: Final[dict[str, Named]] = {
    "CreateFleet LaunchTemplateConfigs": {"LaunchTemplateSpecification": _SPECIFICATION},
    "CreateFleet LaunchTemplateConfigs.LaunchTemplateSpecification": _SPECIFICATION,
    "CreateFleet LaunchTemplateConfigs.Overrides.BlockDeviceMappings.Ebs": {"VolumeSize": 1},
    "CreateFleet TargetCapacitySpecification": {"TotalTargetCapacity": 1, "DefaultTargetCapacityType": "on-demand"},
    "RunInstances LaunchTemplate": {"LaunchTemplateName": "own"},
    "RunInstances InstanceMarketOptions": {"MarketType": "spot"},
    "RequestSpotInstances LaunchSpecification.BlockDeviceMappings.Ebs": {"VolumeSize": 1},
    "RequestSpotInstances LaunchSpecification.NetworkInterfaces": {"DeviceIndex": 0, "SubnetId": "{subnet}"},
    "RequestSpotInstances LaunchSpecification.NetworkInterfaces.Ipv6Addresses": {"Ipv6Address": "{free_ipv6}"},
    **{f"{operation} LaunchTemplateData{path}": given for operation in _TEMPLATES for path, given in _NEEDED.items()},
}
