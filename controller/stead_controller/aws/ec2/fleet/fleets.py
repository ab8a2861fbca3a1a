"""CreateFleet of type instant, DeleteFleets, DescribeFleets and DescribeFleetInstances."""

import json
from collections.abc import Mapping
from typing import Any, Final

from stead_controller.aws.call import Call, Params, Result, operation
from stead_controller.aws.describe import filters, page, repeatable, tags_on_create
from stead_controller.aws.ec2.fleet import fleet_pools
from stead_controller.aws.ec2.fleet.fleet_pools import PoolParameters
from stead_controller.aws.ec2.fleet.fleet_view import (
    created_view,
    deletions_view,
    fleet_view,
    overrides_view,
    pool_view,
)
from stead_controller.aws.ec2.instances import market_options
from stead_controller.aws.ec2.instances.run_instances import launch_request, repeated
from stead_controller.aws.errors import translate
from stead_controller.aws.protocol.codec import Wire
from stead_controller.errors import InvalidCombination, InvalidParameter, NotFound, SteadError, Unsupported
from stead_controller.request.conditions import holds
from stead_controller.resources.fleet import fleets
from stead_controller.resources.fleet.fleet_launch import Goal, Pool
from stead_controller.resources.fleet.fleets import DescribedFleet, FleetPools, FleetRequest

# By market, whether priorities decide. All pools are of the same hosts: what takes least of a host is the cheapest and
# that of which there is most capacity, and none is interrupted more often than others.
_STRATEGIES: Final = {
    "OnDemandOptions": {"lowest-price": False, "prioritized": True},
    "SpotOptions": {
        "capacity-optimized": False,
        "capacity-optimized-prioritized": True,
        "lowest-price": False,
        "price-capacity-optimized": False,
    },
}
_RESERVATIONS_FIRST: Final = "use-capacity-reservations-first"
_TYPES: Final = ("instant", "maintain", "request")
_POLICIES: Final = ("no-termination", "termination")
_STORED: Final = ("LaunchTemplateConfigs", "OnDemandOptions", "SpotOptions", "TargetCapacitySpecification")
_FILTERS: Final = (
    "activity-status",
    "excess-capacity-termination-policy",
    "fleet-state",
    "replace-unhealthy-instances",
    "type",
)


@operation("CreateFleet")
def create_fleet(call: Call, params: Params) -> Result:
    """Launch instances of several types and subnets."""
    kind = params.get("Type", "maintain")
    if kind not in _TYPES:
        raise InvalidParameter(f"Value ({kind}) for parameter type is invalid.")
    if kind != "instant":
        raise Unsupported("Fleets of the Type request or maintain are not supported: only instant ones are.")
    if call.refused and params.get("DryRun", False):  # which asks whether all of it is allowed
        raise next(iter(call.refused.values()))
    try:
        request, pools = _read(call, params)
    except NotFound:
        known = repeated(call, params, "CreateFleet")
        if known is None:
            raise
        (made,) = fleets.describe(call.tx, call.caller, [known])
    else:
        made = fleets.create(call.tx, call.caller, call.cloud, request, pools, now=call.now)
    return created_view(made)


def _read(call: Call, params: Params) -> tuple[FleetRequest, FleetPools]:
    tags = tags_on_create(params, "fleet", "instance", "volume", "network-interface", "spot-instances-request")["fleet"]
    targets = fleet_pools.targets(params)
    on_demand = _goal(call, params, "OnDemandOptions", targets.on_demand)
    spot = _goal(call, params, "SpotOptions", targets.spot)
    market_options.check_interruption(params.get("SpotOptions", {}), "one-time")
    given = {one: fleet_pools.pools(call.tx, call.caller, params, spot=one) for one in targets.markets}
    pools = FleetPools(*([_pool(call, one) for one in given.get(market, ())] for market in (False, True)))
    config = _config(params, given[targets.markets[-1]])
    return FleetRequest(on_demand, spot, config, tags, repeatable("CreateFleet", params)), pools


def _pool(call: Call, given: PoolParameters) -> Pool:
    """Parse the launch of a pool; what is wrong with it is said of it alone, as EC2 does."""
    if given.error is not None:
        return Pool(given.number, None, error=given.error)
    try:
        request = launch_request(given.params)
    except Unsupported:
        raise
    except SteadError as error:
        return Pool(given.number, None, error=error)
    refused = call.refused.get(given.params.key)
    if refused is not None:
        return Pool(given.number, None, error=refused)
    choices = call.chosen.get(given.params.key)
    return Pool(given.number, request, given.weight, given.priority, choices)


def _goal(call: Call, params: Params, name: str, target: int) -> Goal:
    """Read the options of one market."""
    options = params.get(name, {})
    strategy = options.get("AllocationStrategy", "lowest-price")
    if strategy == "diversified" and name == "SpotOptions":
        raise Unsupported("The AllocationStrategy diversified is not supported: all pools are of the same hosts.")
    if strategy not in _STRATEGIES[name]:
        raise InvalidParameter(f"Value ({strategy}) for parameter allocationStrategy is invalid.")
    minimum = options.get("MinTargetCapacity")
    goal = Goal(
        target=target,
        coded=lambda error: _coded(call, error),
        spot=name == "SpotOptions",
        by_priority=_STRATEGIES[name][strategy],
        minimum=minimum,
        single_type=options.get("SingleInstanceType", False),
        single_zone=options.get("SingleAvailabilityZone", False),
        reservations_first=_reservations_first(options.get("CapacityReservationOptions", {})),
    )
    if minimum is not None and not (goal.single_type or goal.single_zone):
        raise InvalidCombination(
            "The parameter MinTargetCapacity needs one of SingleInstanceType and SingleAvailabilityZone."
        )
    if minimum is not None and not 1 <= minimum <= goal.target:
        raise InvalidParameter(f"Value ({minimum}) for parameter minTargetCapacity is invalid.")
    return goal


def _reservations_first(options: Mapping[str, Any]) -> bool:
    strategy = options.get("UsageStrategy")
    if strategy not in (None, _RESERVATIONS_FIRST):
        raise InvalidParameter(f"Value ({strategy}) for parameter usageStrategy is invalid.")
    return strategy is not None


def _coded(call: Call, error: SteadError) -> tuple[str, str]:
    """Return EC2's code and message of an error."""
    found = translate(error, "ec2", call.request_id, Wire.EC2)
    return found.code, found.message


def _config(params: Params, given: list[PoolParameters]) -> str:
    """Return what DescribeFleets shows of a request, with its pools as they were launched."""
    policy = params.get("ExcessCapacityTerminationPolicy")
    if policy not in (None, *_POLICIES):
        raise InvalidParameter(f"Value ({policy}) for parameter excessCapacityTerminationPolicy is invalid.")
    asked = {name: dict(params).get(name) for name in _STORED}
    views = {"Pools": [pool_view(one) for one in given], "Overrides": overrides_view(given)}
    return json.dumps(asked | {"ExcessCapacityTerminationPolicy": policy} | views)


@operation("DescribeFleets", writes=False)
def describe_fleets(call: Call, params: Params) -> Result:
    """List fleets by their ids: one of type instant is shown only if its id is given."""
    asked = filters(params, _FILTERS, tags=False)
    paged = page(call, params, "DescribeFleets", ids="FleetIds", at_least=1)
    found = fleets.describe(call.tx, call.caller, params.get("FleetIds", ()))
    shown = [one for one in found if holds(asked, _facts(one))]
    cut, token = paged.cut([one for one in shown if paged.after is None or (one.fleet.id,) > paged.after], _key)
    return {"Fleets": [fleet_view(one) for one in cut], "NextToken": token}


@operation("DescribeFleetInstances", writes=False)
def describe_fleet_instances(call: Call, params: Params) -> Result:
    """Say that instant fleets' instances are in DescribeFleets, as EC2 does; there are no others."""
    fleets.describe(call.tx, call.caller, [params["FleetId"]])
    raise Unsupported("DescribeFleetInstances is not supported for fleets of type instant: use DescribeFleets.")


@operation("DeleteFleets")
def delete_fleets(call: Call, params: Params) -> Result:
    """Delete fleets with their instances."""
    if not params["TerminateInstances"]:
        raise Unsupported(
            "Fleets of type instant cannot be deleted without their instances (TerminateInstances).",
            code="NoTerminateInstancesNotSupported",
        )
    return deletions_view(fleets.remove(call.tx, call.caller, params["FleetIds"], call.now))


def _key(found: DescribedFleet) -> tuple[str]:
    return (found.fleet.id,)


def _facts(found: DescribedFleet) -> Mapping[str, list[str]]:
    view = fleet_view(found)
    policy = view["ExcessCapacityTerminationPolicy"]
    return {
        "activity-status": [str(view["ActivityStatus"]).replace("_", "-")],
        "excess-capacity-termination-policy": [] if policy is None else [policy],
        "fleet-state": [found.state.replace("_", "-")],
        "replace-unhealthy-instances": ["false"],
        "type": ["instant"],
    }
