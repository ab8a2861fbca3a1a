"""Auto Scaling groups: made, changed, found, deleted, their desired capacity, and their suspended processes."""

from collections.abc import Sequence
from typing import Final

from stead_controller.aws import describe
from stead_controller.aws.autoscaling import launch, warm_pools
from stead_controller.aws.autoscaling.group_view import group_view
from stead_controller.aws.autoscaling.hooks import hook_request
from stead_controller.aws.call import Call, Params, Result, operation
from stead_controller.errors import InvalidCombination, InvalidParameter, MissingParameter, Unsupported
from stead_controller.resources.scaling import groups, lifecycle_hooks
from stead_controller.resources.scaling.group_tags import GroupTag
from stead_controller.resources.scaling.groups import GroupRequest
from stead_controller.resources.scaling.launches import Wanted

_NAME: Final = "AutoScalingGroupName"
_UNBUILT: Final = {
    "LoadBalancerNames": "Load balancers are",
    "TargetGroupARNs": "Load balancers are",
    "TrafficSources": "Load balancers are",
    "AvailabilityZoneIds": "Zones by their ids are",
    "CapacityRebalance": "Capacity rebalancing is",
    "ServiceLinkedRoleARN": "A role of the service is",
    "AvailabilityZoneDistribution": "Another distribution over zones is",
    "AvailabilityZoneImpairmentPolicy": "Zonal shift is",
    "SkipZonalShiftValidation": "Zonal shift is",
    "CapacityReservationSpecification": "A choice of capacity reservations is",
    "InstanceLifecyclePolicy": "An instance lifecycle policy is",
    "DesiredCapacityType": "Capacity in other units than instances is",
    "DeletionProtection": "Protection from deletion is",
}
_MOST: Final = 100
_DEFAULT: Final = 50


@operation("CreateAutoScalingGroup", service="autoscaling")
def create_group(call: Call, params: Params) -> Result:
    """Make a group."""
    asked = _request(call, params)
    if asked.launch is None:
        raise InvalidParameter(
            "Valid requests must contain either LaunchTemplate, LaunchConfigurationName, InstanceId or "
            "MixedInstancesPolicy parameter."
        )
    name = params[_NAME]
    groups.create(call.tx, call.caller, call.cloud, name, asked, now=call.now)
    row = groups.find(call.tx, call.caller, name)
    for given in params.get("LifecycleHookSpecificationList", ()):
        lifecycle_hooks.put(call.tx, call.cloud, row, hook_request(given), call.now)
    _check_launch(call, name)
    return {}


@operation("UpdateAutoScalingGroup", service="autoscaling")
def update_group(call: Call, params: Params) -> Result:
    """Change a group."""
    asked = _request(call, params)
    groups.update(call.tx, call.caller, call.cloud, params[_NAME], asked, now=call.now)
    if asked.launch is not None or asked.subnets or asked.zones or asked.placement_group is not None:
        _check_launch(call, params[_NAME])
        warm_pools.check_launch(call, params[_NAME])
    return {}


@operation("DeleteAutoScalingGroup", service="autoscaling")
def delete_group(call: Call, params: Params) -> Result:
    """Delete a group."""
    groups.remove(call.tx, call.caller, params[_NAME], call.now, force=params.get("ForceDelete", False))
    return {}


@operation("SetDesiredCapacity", service="autoscaling")
def set_desired_capacity(call: Call, params: Params) -> Result:
    """Change how many instances a group is to have."""
    honor = params.get("HonorCooldown", False)
    groups.set_desired(call.tx, call.caller, params[_NAME], params["DesiredCapacity"], call.now, honor_cooldown=honor)
    return {}


@operation("DescribeAutoScalingGroups", service="autoscaling", writes=False)
def describe_groups(call: Call, params: Params) -> Result:
    """List groups."""
    page = describe.page(
        call, params, "DescribeAutoScalingGroups", size="MaxRecords", at_least=1, at_most=_MOST, default=_DEFAULT
    )
    found = groups.describe(
        call.tx,
        call.caller,
        names=params.get("AutoScalingGroupNames", ()),
        filters=filters_given(params),
        after=page.after[0] if page.after else None,
        limit=page.fetch or _DEFAULT,
    )
    shown, token = page.cut(found, lambda one: (one.row.name,))
    with_instances = params.get("IncludeInstances", True)
    return {
        "AutoScalingGroups": [group_view(call, one, with_instances=with_instances) for one in shown],
        "NextToken": token,
    }


@operation("SuspendProcesses", service="autoscaling")
def suspend_processes(call: Call, params: Params) -> Result:
    """Suspend processes of a group."""
    groups.suspend(call.tx, call.caller, params[_NAME], params.get("ScalingProcesses", ()), call.now)
    return {}


@operation("ResumeProcesses", service="autoscaling")
def resume_processes(call: Call, params: Params) -> Result:
    """Resume processes of a group."""
    groups.resume(call.tx, call.caller, params[_NAME], params.get("ScalingProcesses", ()), call.now)
    return {}


def filters_given(params: Params) -> dict[str, Sequence[str]]:
    """Return the filters of a request, by name."""
    found: dict[str, Sequence[str]] = {}
    for given in params.get("Filters", ()):
        if not given.get("Name"):
            raise MissingParameter("Filters.Name")
        found[given["Name"]] = given.get("Values", ())
    return found


def tags_given(params: Params) -> list[GroupTag]:
    """Return the tags of a request; raises InvalidParameter for a key that is given twice."""
    found = [
        GroupTag(given["Key"], given.get("Value", ""), given.get("PropagateAtLaunch", False))
        for given in params.get("Tags", ())
    ]
    if len({tag.key for tag in found}) < len(found):
        raise InvalidParameter("A key of a tag is given twice.")
    return found


def _check_launch(call: Call, name: str) -> None:
    row = groups.find(call.tx, call.caller, name)
    subnet = row.subnets[0] if row.subnets else None
    zone = None if subnet is not None else row.zones[0]
    launch.check(call, Wanted(row.launch, zone, subnet, placement_group=row.placement_group))


def _request(call: Call, params: Params) -> GroupRequest:
    for name, what in _UNBUILT.items():
        if params.get(name):
            raise Unsupported(f"{what} not supported: the parameter {name}.")
    for given in params.get("Tags", ()):
        if given.get("ResourceId", params[_NAME]) != params[_NAME]:
            raise InvalidParameter("A tag of a new group is of another resource: ResourceId.")
        if given.get("ResourceType", "auto-scaling-group") != "auto-scaling-group":
            raise InvalidParameter(f"Tags of the ResourceType {given['ResourceType']} are unknown.")
    subnets = params.get("VPCZoneIdentifier")
    return GroupRequest(
        launch=launch.stored(call.tx, call.caller, params),
        min_size=params.get("MinSize"),
        max_size=params.get("MaxSize"),
        desired=params.get("DesiredCapacity"),
        zones=params.get("AvailabilityZones"),
        subnets=None if subnets is None else [one.strip() for one in subnets.split(",") if one.strip()],
        cooldown=params.get("DefaultCooldown"),
        health_type=params.get("HealthCheckType"),
        health_grace=params.get("HealthCheckGracePeriod"),
        warmup=params.get("DefaultInstanceWarmup"),
        protect_new=params.get("NewInstancesProtectedFromScaleIn"),
        termination_policies=params.get("TerminationPolicies"),
        placement_group=params.get("PlacementGroup"),
        context=params.get("Context"),
        lifetime=params.get("MaxInstanceLifetime"),
        healthy=_percentages(params.get("InstanceMaintenancePolicy", {})),
        tags=tags_given(params),
    )


def _percentages(given: Params) -> tuple[int, int] | None:
    least, most = given.get("MinHealthyPercentage"), given.get("MaxHealthyPercentage")
    if least is None and most is None:
        return None
    if least is None or most is None:
        raise InvalidCombination("An InstanceMaintenancePolicy has both of its percentages.")
    return least, most
