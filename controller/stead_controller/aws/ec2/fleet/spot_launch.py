"""RequestSpotInstances as the parameters of a launch, which RunInstances would have for the same instances."""

import json
from collections.abc import Iterator, Mapping
from typing import Any, Final

from stead_controller.aws.call import Params
from stead_controller.aws.describe import tags_on_create
from stead_controller.aws.ec2.instances import market_options
from stead_controller.aws.ec2.instances.run_instances import DEFAULT_TYPE, launch_request
from stead_controller.errors import InvalidParameter, Unsupported
from stead_controller.resources.fleet.waiting_spot_requests import Wanted
from stead_controller.resources.instances.launch_request import LaunchRequest

_KIND: Final = "spot-instances-request"
# What a launch specification has under RunInstances' own names.
_SAME: Final = (
    "BlockDeviceMappings",
    "EbsOptimized",
    "IamInstanceProfile",
    "ImageId",
    "InstanceType",
    "KernelId",
    "KeyName",
    "Monitoring",
    "NetworkInterfaces",
    "RamdiskId",
    "SecurityGroupIds",
    "SecurityGroups",
    "SubnetId",
    "UserData",
)
_PLACES: Final = ("AvailabilityZone", "GroupName")
_OF_VOLUME: Final = {
    "DeleteOnTermination": "delete-on-termination",
    "SnapshotId": "snapshot-id",
    "VolumeSize": "volume-size",
    "VolumeType": "volume-type",
}
_OF_INTERFACE: Final = {
    "DeleteOnTermination": "delete-on-termination",
    "Description": "description",
    "DeviceIndex": "device-index",
    "NetworkInterfaceId": "network-interface-id",
    "PrivateIpAddress": "private-ip-address",
    "SubnetId": "subnet-id",
}


def of_request(params: Params) -> dict[str, Any]:
    """Return the parameters of the launch; what is wrong with them is found by whoever parses them."""
    given = _specification(params)
    return {**_of(given, params.get("InstanceCount", 1)), "TagSpecifications": params.get("TagSpecifications", [])}


def wanted(params: Params) -> Wanted:
    """Read what a request asks for; raises BadRequest."""
    launch = launch_request(of_request(params))
    specification = _specification(params)
    stored = json.dumps(specification, sort_keys=True, separators=(",", ":"))
    return Wanted(
        launch,
        stored,
        frozenset(_values(specification)),
        launch.tags[_KIND],
        persistent=params.get("Type") == "persistent",
        valid_from=params.get("ValidFrom"),
        valid_until=params.get("ValidUntil"),
    )


def read(specification: str, count: int) -> LaunchRequest:
    """Return the launch of so many instances that a stored specification asks for; raises BadRequest."""
    return launch_request(_of(json.loads(specification), count))


def _specification(params: Mapping[str, Any]) -> dict[str, Any]:
    """Return what is to be launched, as RunInstances' parameters; the group and zone in a Placement, and SpotPrice."""
    given = params.get("LaunchSpecification", {})
    place = given.get("Placement", {})
    return {
        **({"SpotPrice": params["SpotPrice"]} if params.get("SpotPrice") else {}),
        **{name: value for name in _SAME if (value := given.get(name)) is not None},
        "Placement": {name: value for name in _PLACES if (value := place.get(name)) is not None},
    }


def _of(specification: Mapping[str, Any], count: int) -> dict[str, Any]:
    """Return the parameters of the launch of as many instances as there is room for."""
    launch = dict(specification)
    options = {"MaxPrice": launch.pop("SpotPrice", None)}
    market = {"InstanceMarketOptions": {"MarketType": "spot", "SpotOptions": options}}
    return {**launch, **market, "MinCount": min(1, count), "MaxCount": count}


def _values(specification: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """Yield what filters compare of a specification: the filter's name, and the value as EC2 writes it."""
    yield "launch.image-id", specification.get("ImageId", "")
    yield "launch.instance-type", specification.get("InstanceType", DEFAULT_TYPE)
    yield "launch.monitoring-enabled", _text(specification.get("Monitoring", {}).get("Enabled", False))
    if "KeyName" in specification:
        yield "launch.key-name", specification["KeyName"]
    for name, parameter in (("launch.group-id", "SecurityGroupIds"), ("launch.group-name", "SecurityGroups")):
        for group in specification.get(parameter, ()):
            yield name, group
    for mapping in specification.get("BlockDeviceMappings", ()):
        for name, value in _shown(mapping, {"DeviceName": "device-name"}, _OF_VOLUME):
            yield f"launch.block-device-mapping.{name}", value
    for interface in specification.get("NetworkInterfaces", ()):
        for name, value in _shown(interface, _OF_INTERFACE):
            yield f"network-interface.{name}", value
        for group in interface.get("Groups", ()):
            yield "network-interface.group-id", group


def _shown(
    given: Mapping[str, Any], names: Mapping[str, str], of_volume: Mapping[str, str] | None = None
) -> Iterator[tuple[str, str]]:
    """Yield the values of some members, and of those of a volume in it, by their filters' names."""
    for structure, members in ((given, names), (given.get("Ebs", {}), of_volume or {})):
        for member, name in members.items():
            if member in structure:
                yield name, _text(structure[member])


def _text(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def check(params: Params) -> None:
    """Check what a request has beside its launch; raises InvalidParameter, InvalidCombination, Unsupported."""
    kind = params.get("Type", "one-time")
    if kind not in ("one-time", "persistent"):
        raise InvalidParameter(f"Value ({kind}) for parameter type is invalid.")
    market_options.check_interruption(params, kind)
    tenancy = params.get("LaunchSpecification", {}).get("Placement", {}).get("Tenancy", "default")
    if tenancy != "default":
        raise Unsupported(f"The Tenancy {tenancy} is not supported for Spot Instances.")
    tags_on_create(params, _KIND)
