"""Mixed instances policies, as the pools of a fleet: each override of the policy is one."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, Final

from stead_controller.aws.autoscaling import templates
from stead_controller.aws.describe import dict_to_tags
from stead_controller.aws.ec2.fleet import fleet_pools
from stead_controller.aws.ec2.fleet.fleet_pools import PoolParameters
from stead_controller.aws.ec2.instances import instance_requirements
from stead_controller.aws.ec2.instances.launch_parameters import Overridden
from stead_controller.aws.ec2.instances.run_instances import launch_request
from stead_controller.errors import InvalidCombination, InvalidParameter, MissingParameter, SteadError, Unsupported
from stead_controller.request.caller import Caller
from stead_controller.request.transaction import Transaction
from stead_controller.resources.fleet.fleet_launch import Pool
from stead_controller.resources.scaling.launches import Origin, Wanted, Ways
from stead_controller.resources.scaling.termination import Distribution

POLICY: Final = "MixedInstancesPolicy"
_SPECIFICATION: Final = "LaunchTemplateSpecification"
_DEFAULTS: Final[Mapping[str, Any]] = {
    "OnDemandAllocationStrategy": "prioritized",
    "OnDemandBaseCapacity": 0,
    "OnDemandPercentageAboveBaseCapacity": 100,
    "SpotAllocationStrategy": "lowest-price",
}
# Whether priorities decide; all pools are of the same hosts (see `aws/ec2/fleet/fleets.py`).
_ON_DEMAND: Final = {"prioritized": True, "lowest-price": False}
_SPOT: Final = {
    "capacity-optimized": False,
    "capacity-optimized-prioritized": True,
    "lowest-price": False,
    "price-capacity-optimized": False,
}
_MOST: Final = "SpotMaxPrice"  # that an hour may cost; without it, what the type costs then
_MOST_OVERRIDES: Final = 40
_MOST_WEIGHT: Final = 999


def stored(tx: Transaction, caller: Caller, given: Mapping[str, Any]) -> dict[str, Any]:
    """Return a policy as it is stored and shown, with its defaults.

    Raises MissingParameter, InvalidParameter, InvalidCombination, Unsupported.
    """
    template = given.get("LaunchTemplate", {})
    specification = template.get(_SPECIFICATION)
    if not specification:
        raise MissingParameter(f"{POLICY}.LaunchTemplate.{_SPECIFICATION}")
    overrides = [_override(tx, caller, one) for one in template.get("Overrides", ())]
    if len(overrides) > _MOST_OVERRIDES:
        raise InvalidParameter(f"A mixed instances policy has at most {_MOST_OVERRIDES} overrides.")
    weighed = {"WeightedCapacity" in one for one in overrides}
    if len(weighed) > 1:
        raise InvalidCombination("If one override has a WeightedCapacity, all need one.")
    shown: dict[str, Any] = {_SPECIFICATION: templates.stored(tx, caller, specification)}
    if overrides:
        shown["Overrides"] = overrides
    return {"LaunchTemplate": shown, "InstancesDistribution": _distribution(given.get("InstancesDistribution", {}))}


def _override(tx: Transaction, caller: Caller, given: Mapping[str, Any]) -> dict[str, Any]:
    weight = given.get("WeightedCapacity")
    if weight is not None and not (weight.isascii() and weight.isdigit() and 1 <= int(weight) <= _MOST_WEIGHT):
        raise InvalidParameter(f"The WeightedCapacity {weight} is no number from 1 to {_MOST_WEIGHT}.")
    if given.get("InstanceType") and given.get("InstanceRequirements"):
        raise InvalidCombination("The parameters InstanceType and InstanceRequirements cannot be used together.")
    requirements = given.get("InstanceRequirements")
    if requirements:
        instance_requirements.requirements(requirements, ()).check()
    read = {name: given.get(name) for name in ("InstanceType", "WeightedCapacity", "ImageId")}
    read["InstanceRequirements"] = requirements
    if given.get(_SPECIFICATION):
        read[_SPECIFICATION] = templates.stored(tx, caller, given[_SPECIFICATION])
    return {name: value for name, value in read.items() if value is not None}


def _distribution(given: Mapping[str, Any]) -> dict[str, Any]:
    for name in ("SpotInstancePools", "DistributionSegments"):
        if given.get(name):
            raise Unsupported(f"The parameter {name} is not supported: all pools are of the same hosts.")
    found: dict[str, Any] = {
        name: default if given.get(name) is None else given[name] for name, default in _DEFAULTS.items()
    }
    for name, known in (("OnDemandAllocationStrategy", _ON_DEMAND), ("SpotAllocationStrategy", _SPOT)):
        if found[name] not in known:
            raise InvalidParameter(f"The {name} {found[name]} is not one of {', '.join(known)}.")
    if found["OnDemandBaseCapacity"] < 0 or not 0 <= found["OnDemandPercentageAboveBaseCapacity"] <= 100:
        raise InvalidParameter("The InstancesDistribution is not a base of 0 or more and a percentage from 0 to 100.")
    if given.get(_MOST):
        found[_MOST] = given[_MOST]
    return found


def ways(tx: Transaction, caller: Caller, policy: Mapping[str, Any], wanted: Wanted) -> Ways:
    """Return the pools of a policy; raises SteadError."""
    shares = policy["InstancesDistribution"]
    made = pools(tx, caller, policy, wanted)
    by_priority = (
        _SPOT[shares["SpotAllocationStrategy"]] if wanted.spot else _ON_DEMAND[shares["OnDemandAllocationStrategy"]]
    )
    origins = {one.number: Origin(one.template.id, one.template.name, one.template.number) for one in made}
    base, percentage = shares["OnDemandBaseCapacity"], shares["OnDemandPercentageAboveBaseCapacity"]
    return Ways([_pool(one) for one in made], origins, by_priority, Distribution(base, percentage))


def pools(tx: Transaction, caller: Caller, policy: Mapping[str, Any], wanted: Wanted) -> list[PoolParameters]:
    """Return the pools of a policy, as those of a fleet with the same templates and overrides; raises SteadError."""
    template = policy["LaunchTemplate"]
    place: dict[str, Any] = (
        {"SubnetId": wanted.subnet} if wanted.subnet is not None else {"AvailabilityZone": wanted.zone}
    )
    if wanted.placement_group is not None:
        place["Placement"] = {"GroupName": wanted.placement_group}
    configs = []
    for number, override in enumerate(template.get("Overrides") or ({},)):
        specification = templates.to_find(override.get(_SPECIFICATION, template[_SPECIFICATION]))
        own = {name: override[name] for name in ("InstanceType", "InstanceRequirements", "ImageId") if name in override}
        weight = float(override.get("WeightedCapacity", 1))
        price = policy["InstancesDistribution"].get(_MOST)
        one = {**own, **place, "WeightedCapacity": weight, "Priority": float(number), "MaxPrice": price}
        configs.append({_SPECIFICATION: specification, "Overrides": [one]})
    kind = "spot" if wanted.spot else "on-demand"
    asked: dict[str, Any] = {
        "LaunchTemplateConfigs": configs,
        "TargetCapacitySpecification": {"TotalTargetCapacity": wanted.units, "DefaultTargetCapacityType": kind},
    }
    if wanted.tags:
        asked["TagSpecifications"] = [{"ResourceType": "instance", "Tags": dict_to_tags(wanted.tags)}]
    return fleet_pools.pools(tx, caller, asked, spot=wanted.spot)


def _pool(given: PoolParameters) -> Pool:
    if given.error is not None:
        return Pool(given.number, None, given.weight, error=given.error)
    try:
        request = launch_request(given.params)
    except SteadError as error:
        return Pool(given.number, None, given.weight, error=error)
    return Pool(given.number, request, given.weight, given.priority)


def launches(tx: Transaction, caller: Caller, policy: Mapping[str, Any], wanted: Wanted) -> list[Overridden]:
    """Return the parameters of all launches that a policy can make, of both markets; raises SteadError."""
    both = (pools(tx, caller, policy, replace(wanted, spot=spot)) for spot in (False, True))
    return [one.params for found in both for one in found if one.error is None]
