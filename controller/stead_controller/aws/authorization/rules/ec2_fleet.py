"""EC2's operations on fleets, launch templates, placement groups and requests for Spot Instances."""

from collections.abc import Iterator
from dataclasses import replace
from typing import Final

from stead_controller.aws.authorization.rule import Asked, Check, Rule, Target, made, making, named, referred, rule
from stead_controller.aws.authorization.rules.ec2_instances import launching
from stead_controller.aws.ec2.fleet import fleet_pools, spot_launch
from stead_controller.errors import SteadError

_MADE_LATER: Final = ("instance/*", "volume/*")  # by a request for Spot Instances, whose caller needs no right on them


def _new_placement_group(asked: Asked) -> Iterator[Check]:
    """Check a group to be created, whose ARN is known before."""
    for name in asked.values("GroupName"):
        context = {"ec2:PlacementGroupName": name, "ec2:PlacementGroupStrategy": asked.params.get("Strategy")}
        yield from making(asked, "placement-group", context, name=name)


def _new_fleet(asked: Asked) -> Iterator[Check]:
    """Check the fleet, its templates, and all that each of its pools would launch, as RunInstances does.

    A pool that the caller may not launch is a failure of that pool.
    """
    yield from making(asked, "fleet", {})
    try:
        markets = fleet_pools.targets(asked.params).markets
        call = asked.call
        pools = [one for spot in markets for one in fleet_pools.pools(call.tx, call.caller, asked.params, spot=spot)]
    except SteadError:
        return  # the operation finds the error again, after the caller was authorized
    for template_id in dict.fromkeys(pool.template.id for pool in pools):
        yield Check(Target(asked.arn("launch-template", template_id), "launch-template", template_id))
    for pool in pools:
        if pool.error is not None:
            continue
        launch = Asked(asked.service, "RunInstances", asked.call, pool.params)
        for check in launching(launch):
            yield replace(check, action=check.action or "ec2:RunInstances", part=pool.params.key)


def _new_spot_requests(asked: Asked) -> Iterator[Check]:
    """Check the requests and what their launch names; as in EC2, not the instances and volumes that it makes."""
    for check in launching(replace(asked, params=spot_launch.of_request(asked.params))):
        if check.target.arn.rpartition(":")[2] not in _MADE_LATER:
            yield check


_TEMPLATE: Final = (
    named("launch-template", "LaunchTemplateId"),
    referred("launch-template", "name", "LaunchTemplateName"),
)

_RESERVATION: Final = named("capacity-reservation", "CapacityReservationId")

_HOSTS: Final = named("dedicated-host", "HostIds")

RULES: Final[dict[str, Rule]] = {
    "AllocateHosts": rule(made("dedicated-host")),
    "CancelCapacityReservation": rule(_RESERVATION),
    "CancelSpotInstanceRequests": rule(named("spot-instances-request", "SpotInstanceRequestIds")),
    "CreateCapacityReservation": rule(made("capacity-reservation")),
    "CreateFleet": rule(_new_fleet),
    "CreateLaunchTemplate": rule(made("launch-template")),
    "CreateLaunchTemplateVersion": rule(*_TEMPLATE),
    "CreatePlacementGroup": rule(_new_placement_group),
    "DeleteFleets": rule(named("fleet", "FleetIds")),
    "DeleteLaunchTemplate": rule(*_TEMPLATE),
    "DeleteLaunchTemplateVersions": rule(*_TEMPLATE),
    "DeletePlacementGroup": rule(named("placement-group", "GroupName")),
    "DescribeCapacityReservations": rule(),
    "DescribeFleetInstances": rule(named("fleet", "FleetId")),
    "DescribeFleets": rule(),
    "DescribeHosts": rule(),
    "DescribeLaunchTemplateVersions": rule(),
    "DescribeLaunchTemplates": rule(),
    "DescribePlacementGroups": rule(),
    "DescribeSpotInstanceRequests": rule(),
    "GetCapacityReservationUsage": rule(_RESERVATION),
    "GetGroupsForCapacityReservation": rule(_RESERVATION),
    "GetLaunchTemplateData": rule(),
    "ModifyCapacityReservation": rule(_RESERVATION),
    "ModifyHosts": rule(_HOSTS),
    "ModifyLaunchTemplate": rule(*_TEMPLATE),
    "ReleaseHosts": rule(_HOSTS),
    "RequestSpotInstances": rule(_new_spot_requests),
}
