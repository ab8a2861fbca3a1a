"""Fleets as EC2 shows them."""

import json
from collections import defaultdict
from collections.abc import Sequence
from typing import Any, Final

from stead_controller.aws.call import Result
from stead_controller.aws.ec2.fleet.fleet_pools import PoolParameters
from stead_controller.aws.ec2.tags_view import tags_view
from stead_controller.errors import MalformedId, NotFound, SteadError, WrongState
from stead_controller.resources.fleet.fleet_launch import Failure
from stead_controller.resources.fleet.fleets import DescribedFleet, FleetDeletion, FleetMember

# What answers have of an override.
_SHOWN: Final = (
    "InstanceType",
    "InstanceRequirements",
    "SubnetId",
    "AvailabilityZone",
    "AvailabilityZoneId",
    "WeightedCapacity",
    "Priority",
    "ImageId",
    "BlockDeviceMappings",
)
_LIFECYCLES: Final = {True: "spot", False: "on-demand"}
_ERRORS: Final[tuple[tuple[type[SteadError], str], ...]] = (
    (MalformedId, "fleetIdMalformed"),
    (NotFound, "fleetIdDoesNotExist"),
    (WrongState, "fleetNotInDeletableState"),
)
_PROTECTED: Final = "OperationNotPermitted"


def pool_view(pool: PoolParameters) -> Result:
    """Show a template and its override, with the type that was chosen by requirements."""
    view = _asked_view(pool)
    if pool.instance_type is not None:
        view["Overrides"]["InstanceType"] = pool.instance_type
    return view


def overrides_view(pools: Sequence[PoolParameters]) -> list[Result]:
    """Show the templates and overrides as they were asked for."""
    return list({one.config: _asked_view(one) for one in pools}.values())


def _asked_view(pool: PoolParameters) -> Result:
    version = {"LaunchTemplateId": pool.template.id, "Version": str(pool.template.number)}
    override = {name: value for name in _SHOWN if (value := pool.override.get(name)) is not None}
    price = pool.params.get("InstanceMarketOptions", {}).get("SpotOptions", {}).get("MaxPrice")
    if price:  # not read of the override: without Spot Instances it has no effect, and is refused
        override["MaxPrice"] = price
    group = pool.override.get("Placement", {}).get("GroupName")  # an id has no place in EC2's answer
    if group:
        override["Placement"] = {"GroupName": group}
    return {"LaunchTemplateSpecification": version, "Overrides": override}


def created_view(found: DescribedFleet) -> Result:
    """Show a fleet that was made: its instances, and what could not be launched."""
    pools = json.loads(found.fleet.config)["Pools"]
    return {
        "FleetId": found.fleet.id,
        "Errors": [_failure_view(one, pools) for one in found.failures],
        "Instances": [
            {
                **_members_view(members, pools),
                "AvailabilityZone": members[0].zone,
                "SubnetId": members[0].subnet_id,
            }
            for members in _by_pool(found.members)
        ],
    }


def fleet_view(found: DescribedFleet) -> Result:
    """Show a fleet with all that there is of it."""
    fleet = found.fleet
    config = json.loads(fleet.config)
    pools = config["Pools"]
    target = config["TargetCapacitySpecification"]
    options = config["OnDemandOptions"] or {}
    return {
        "FleetId": fleet.id,
        "FleetState": found.state,
        "ActivityStatus": "fulfilled" if found.is_fulfilled else "error",
        "CreateTime": fleet.created,
        "ClientToken": fleet.client_token or None,
        "Type": "instant",
        "ExcessCapacityTerminationPolicy": config["ExcessCapacityTerminationPolicy"],
        "FulfilledCapacity": fleet.fulfilled,
        "FulfilledOnDemandCapacity": fleet.fulfilled - fleet.spot_fulfilled,
        "TargetCapacitySpecification": {
            "TotalTargetCapacity": fleet.target,
            "OnDemandTargetCapacity": fleet.target - fleet.spot_target,
            "SpotTargetCapacity": fleet.spot_target,
            "DefaultTargetCapacityType": target.get("DefaultTargetCapacityType"),
        },
        "OnDemandOptions": {"AllocationStrategy": "lowest-price", **options},
        "SpotOptions": _spot_options(config, is_used=fleet.spot_target > 0),
        "TerminateInstancesWithExpiration": False,
        "ReplaceUnhealthyInstances": False,
        "LaunchTemplateConfigs": [
            {"LaunchTemplateSpecification": one["LaunchTemplateSpecification"], "Overrides": [one["Overrides"]]}
            for one in config.get("Overrides", pools)
        ],
        "Errors": [_failure_view(one, pools) for one in found.failures],
        "Instances": [_members_view(members, pools) for members in _by_pool(found.members)],
        "Tags": tags_view(found.tags),
    }


def _spot_options(config: Any, *, is_used: bool) -> Result | None:
    """Show the options of Spot Instances, if there were to be any; fleets of older releases have none."""
    options = config.get("SpotOptions")
    if not is_used and options is None:
        return None
    return {"AllocationStrategy": "lowest-price", "InstanceInterruptionBehavior": "terminate", **(options or {})}


def deletions_view(found: Sequence[FleetDeletion]) -> Result:
    """Show which fleets were deleted, and which were not and why."""
    return {
        "SuccessfulFleetDeletions": [
            {"FleetId": one.id, "PreviousFleetState": one.before, "CurrentFleetState": one.now}
            for one in found
            if one.error is None
        ],
        "UnsuccessfulFleetDeletions": [
            {"FleetId": one.id, "Error": {"Code": _code(one.error), "Message": one.error.message}}
            for one in found
            if one.error is not None
        ],
    }


def _code(error: SteadError) -> str:
    if error.code == _PROTECTED:
        return "unexpectedError"  # EC2's enumeration has no word for an instance that is protected
    return next(code for kind, code in _ERRORS if isinstance(error, kind))


def _by_pool(members: Sequence[FleetMember]) -> list[list[FleetMember]]:
    grouped: dict[tuple[int, bool], list[FleetMember]] = defaultdict(list)
    for member in members:
        grouped[member.pool, member.spot].append(member)
    return list(grouped.values())


def _members_view(members: Sequence[FleetMember], pools: Sequence[Any]) -> Result:
    return {
        "LaunchTemplateAndOverrides": pools[members[0].pool],
        "Lifecycle": _LIFECYCLES[members[0].spot],
        "InstanceIds": [member.instance_id for member in members],
        "InstanceType": members[0].instance_type,
    }


def _failure_view(failure: Failure, pools: Sequence[Any]) -> Result:
    return {
        "LaunchTemplateAndOverrides": pools[failure.pool],
        "Lifecycle": _LIFECYCLES[failure.spot],
        "ErrorCode": failure.code,
        "ErrorMessage": failure.message,
    }
