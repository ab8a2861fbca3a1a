"""The pools of a fleet: each template of CreateFleet with each of its overrides, as parameters of a launch."""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, Final, NamedTuple

from stead_controller.aws.call import Params
from stead_controller.aws.ec2.instances import instance_requirements, launch_parameters
from stead_controller.aws.ec2.instances.launch_parameters import Overridden, Template
from stead_controller.errors import InvalidCombination, InvalidParameter, MissingParameter, SteadError, Unsupported
from stead_controller.request.caller import Caller
from stead_controller.request.transaction import Transaction
from stead_controller.resources.fleet.fleet_launch import price_of
from stead_controller.resources.fleet.launch_templates import TemplateName
from stead_controller.resources.instances import offered_types

# What an override has under RunInstances' own names.
_SAME: Final = (
    "InstanceType",
    "ImageId",
    "KeyName",
    "IamInstanceProfile",
    "MetadataOptions",
)
_PLACES: Final = ("AvailabilityZone", "AvailabilityZoneId")
_GROUPS: Final = ("GroupName", "GroupId")
_REQUIREMENTS: Final = "InstanceRequirements"
_MOST_TYPES: Final = 20  # of those that have what an override requires: those that take least of a host
_INTERFACES: Final = "NetworkInterfaces"
_DEVICES: Final = "BlockDeviceMappings"
_MOST_WEIGHT: Final = 999
_MOST_CAPACITY: Final = 10_000  # EC2's quota of each fleet
_UNITS: Final = ("units", "vcpu", "memory-mib")
_MARKETS: Final = ("spot", "on-demand", "capacity-block")


@dataclass(frozen=True, slots=True)
class PoolParameters:
    """A template with one override: the launch's parameters, and what the fleet weighs them by.

    `config` is the number of the override in the request. Of requirements each type that has them makes a pool, with
    that `instance_type`; `error` says why none does.
    """

    number: int
    config: int
    template: Template
    override: Mapping[str, Any]
    params: Overridden
    weight: float
    priority: float | None
    instance_type: str | None = None
    error: SteadError | None = None


@dataclass(frozen=True, slots=True)
class Targets:
    """The units that a fleet asks for."""

    on_demand: int
    spot: int

    @property
    def markets(self) -> list[bool]:
        """Whether units are of Spot Instances: of those markets of which there are to be any."""
        return [spot for spot, target in ((False, self.on_demand), (True, self.spot)) if target]


def targets(params: Params) -> Targets:
    """Return the units of a fleet; raises MissingParameter, InvalidParameter, InvalidCombination, Unsupported."""
    asked = _required(params, "TargetCapacitySpecification")
    total = _required(asked, "TotalTargetCapacity")
    kind = asked.get("DefaultTargetCapacityType", "spot")
    on_demand, spot = asked.get("OnDemandTargetCapacity") or 0, asked.get("SpotTargetCapacity") or 0
    unit = asked.get("TargetCapacityUnitType", "units")
    if unit not in _UNITS:
        raise InvalidParameter(f"Value ({unit}) for parameter targetCapacityUnitType is invalid.")
    if unit != "units":
        raise Unsupported("The parameter TargetCapacityUnitType is not supported: targets are in units.")
    if total < 1:
        raise InvalidParameter(f"Value ({total}) for parameter totalTargetCapacity is invalid. Expecting 1 or more.")
    if total > _MOST_CAPACITY:
        raise InvalidParameter(
            f"The total target capacity {total} is more than a fleet may have, {_MOST_CAPACITY}.",
            code="ResourceCountExceeded",
        )
    if on_demand < 0 or spot < 0:
        raise InvalidParameter("The on-demand and spot target capacities must not be negative.")
    rest = total - on_demand - spot
    if rest < 0:
        raise InvalidCombination("The on-demand and spot target capacities are more than the total target capacity.")
    if kind not in _MARKETS:
        raise InvalidParameter(f"Value ({kind}) for parameter defaultTargetCapacityType is invalid.")
    if kind not in ("spot", "on-demand"):
        raise Unsupported(f"The DefaultTargetCapacityType {kind} is not supported.")
    return Targets(on_demand, spot + rest) if kind == "spot" else Targets(on_demand + rest, spot)


def pools(tx: Transaction, caller: Caller, params: Params, *, spot: bool) -> list[PoolParameters]:
    """Return the pools of a request, by number, as they launch Spot Instances or those on demand.

    Raises what `launch_parameters.find` raises, MissingParameter, and InvalidParameter for a template with a market.
    """
    asked = targets(params)
    wanted = asked.spot if spot else asked.on_demand
    tags = _tags(params, spot=spot)
    found: list[PoolParameters] = []
    configs = 0
    for config in _required(params, "LaunchTemplateConfigs"):
        template, user_data = _template(tx, caller, config.get("LaunchTemplateSpecification", {}))
        overrides: Sequence[Mapping[str, Any]] = config.get("Overrides") or ({},)
        for override in overrides:
            weight, priority = _weight(override), _priority(override)
            shared: dict[str, Any] = {"MinCount": 1, "MaxCount": max(1, min(math.ceil(wanted / weight), 1000))}
            if user_data is not None:
                shared["UserData"] = user_data
            if tags:
                shared["TagSpecifications"] = tags
            if spot:
                shared["InstanceMarketOptions"] = {"MarketType": "spot", **_most(override)}
            own = _own(override, template) | shared
            for way in _ways(tx, caller, override, template):
                number = len(found)
                chosen = own if way.instance_type is None else own | {"InstanceType": way.instance_type}
                launch = Overridden(chosen, way.template, key=f"pool {number}{' spot' * spot}")
                one = PoolParameters(number, configs, template, override, launch, weight, priority, *way[1:])
                found.append(one)
            configs += 1
    return found


class _Over(Mapping[str, Any]):
    """A structure of an override over the template's: what it does not say stays as it is there."""

    __slots__ = ("own", "templates")

    def __init__(self, own: Mapping[str, Any], templates: Mapping[str, Any]) -> None:
        self.own, self.templates = own, templates

    def __getitem__(self, name: str) -> Any:
        value, below = self.own.get(name), self.templates.get(name)
        if value is None:
            return self.templates[name]
        return _Over(value, below) if isinstance(value, Mapping) and below is not None else value

    def __iter__(self) -> Iterator[str]:
        return iter(dict.fromkeys((*self.own, *self.templates)))

    def __len__(self) -> int:
        return len({*self.own, *self.templates})


class _Way(NamedTuple):
    """A template without its requirements, and a type that has those of the request, if there are any."""

    template: Template
    instance_type: str | None = None
    error: SteadError | None = None


def _ways(tx: Transaction, caller: Caller, override: Mapping[str, Any], template: Template) -> Iterator[_Way]:
    """Yield each type that has what an override or its template requires, the cheapest ones."""
    named, required = override.get("InstanceType"), override.get("InstanceRequirements")
    if named and required:
        raise InvalidCombination("The parameters InstanceType and InstanceRequirements cannot be used together.")
    by_name = replace(template, data={name: it for name, it in template.data.items() if name != _REQUIREMENTS})
    required = required or (None if named else template.data.get(_REQUIREMENTS))
    if not required:
        yield _Way(by_name)
        return
    read = partial(instance_requirements.requirements, required)
    read(()).check()
    image_id = override.get("ImageId") or template.data.get("ImageId", "")
    try:
        kinds = offered_types.of_image(tx, caller, image_id, read)
    except SteadError as error:
        yield _Way(by_name, error=error)
        return
    if not kinds:
        yield _Way(by_name, error=InvalidParameter("No instance type has what InstanceRequirements ask for."))
    for kind in sorted(kinds, key=price_of)[:_MOST_TYPES]:
        yield _Way(by_name, kind.name)


def _tags(params: Params, *, spot: bool) -> list[Any]:
    """Return the tags of what is launched; those of Spot requests are for Spot Instances alone."""
    others = {"fleet"} if spot else {"fleet", "spot-instances-request"}
    return [one for one in params.get("TagSpecifications", ()) if one.get("ResourceType") not in others]


def _most(override: Mapping[str, Any]) -> dict[str, Any]:
    """Return what an override says of the most that an hour of a Spot Instance may cost."""
    price = override.get("MaxPrice")
    return {"SpotOptions": {"MaxPrice": price}} if price else {}


def _required(params: Mapping[str, Any], name: str) -> Any:
    """Return a parameter; authorization reads the pools before it is known that the request is complete."""
    if name not in params:
        raise MissingParameter(name)
    return params[name]


def _template(tx: Transaction, caller: Caller, given: Mapping[str, Any]) -> tuple[Template, str | None]:
    named = TemplateName(given.get("LaunchTemplateId"), given.get("LaunchTemplateName"))
    version = given.get("Version")
    if version is None:
        raise MissingParameter("LaunchTemplateConfigs.LaunchTemplateSpecification.Version")
    found = launch_parameters.find(tx, caller, named, version)
    if found.data.get("InstanceMarketOptions", {}).get("MarketType"):
        raise InvalidParameter(
            f"The launch template '{found.id}' has InstanceMarketOptions, which a fleet cannot use: its own target "
            "capacities say what is on demand."
        )
    return found, given.get("LaunchTemplateSpecificationUserData")


def _weight(override: Mapping[str, Any]) -> float:
    weight = float(override.get("WeightedCapacity", 1))
    if not 0 < weight <= _MOST_WEIGHT:
        raise InvalidParameter(f"Value ({weight:g}) for parameter weightedCapacity is invalid.")
    return weight


def _priority(override: Mapping[str, Any]) -> float | None:
    priority: float | None = override.get("Priority")
    if priority is not None and not priority >= 0:
        raise InvalidParameter(f"Value ({priority:g}) for parameter priority is invalid. The first is 0.")
    return priority


def _own(override: Mapping[str, Any], template: Template) -> dict[str, Any]:
    """Return an override in the shape of a launch.

    A subnet goes to the template's interfaces, if it has any, and what is said of a device to the one of its name.
    """
    own = {name: value for name in _SAME if (value := override.get(name)) is not None}
    place = {name: value for name in _PLACES if (value := override.get(name)) is not None}
    given = override.get("Placement", {})
    group = {name: value for name in _GROUPS if (value := given.get(name))}
    if place or group:
        others = _GROUPS if group else ()  # the template's group may have been named the other way
        below = {name: value for name, value in template.data.get("Placement", {}).items() if name not in others}
        own["Placement"] = {**below, **place, **group}
    devices = override.get(_DEVICES)
    if devices is not None:
        own[_DEVICES] = _devices(devices, template.data.get(_DEVICES, ()))
    subnet = override.get("SubnetId")
    if subnet is None:
        return own
    if "," in subnet:
        raise InvalidParameter("A fleet of type instant can have one subnet only in each override.")
    interfaces = template.data.get(_INTERFACES)
    if interfaces:
        own[_INTERFACES] = [{**one, "SubnetId": subnet} for one in interfaces]
    else:
        own["SubnetId"] = subnet
    return own


def _devices(own: Sequence[Mapping[str, Any]], templates: Sequence[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    """Return a template's devices with what an override says of those that it names, and the override's further ones.

    See https://docs.aws.amazon.com/AWSEC2/latest/APIReference/API_FleetBlockDeviceMappingRequest.html.
    """
    named = {one.get("DeviceName"): one for one in templates}
    said = [_Over(one, named.get(one.get("DeviceName"), {})) for one in own]
    names = {one.get("DeviceName") for one in own}
    return [*(one for name, one in named.items() if name not in names), *said]
