"""RequestSpotInstances as the parameters of a launch, which RunInstances would have for the same instances."""

from collections.abc import Mapping
from typing import Any, Final

from stead_controller.aws.call import Params
from stead_controller.aws.describe import tags_on_create
from stead_controller.aws.ec2.instances import market_options
from stead_controller.errors import InvalidParameter, Unsupported

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


def of_request(params: Params) -> dict[str, Any]:
    """Return the parameters of the launch; what is wrong with them is found by whoever parses them."""
    given: Mapping[str, Any] = params.get("LaunchSpecification", {})
    count = params.get("InstanceCount", 1)
    place = given.get("Placement", {})
    return {
        **{name: value for name in _SAME if (value := given.get(name)) is not None},
        "Placement": {name: value for name in _PLACES if (value := place.get(name)) is not None},
        "MinCount": count,
        "MaxCount": count,
        "InstanceMarketOptions": {"MarketType": "spot"},
        "TagSpecifications": params.get("TagSpecifications", []),
    }


def check(params: Params) -> None:
    """Check what a request has beside its launch; raises InvalidParameter, InvalidCombination, Unsupported."""
    kind = params.get("Type", "one-time")
    if kind == "persistent":
        raise Unsupported("Requests of the Type persistent are not supported: only one-time ones are.")
    if kind != "one-time":
        raise InvalidParameter(f"Value ({kind}) for parameter type is invalid.")
    market_options.check_interruption(params)
    if params.get("SpotPrice"):
        raise Unsupported("The parameter SpotPrice is not supported: Spot Instances have no prices here.")
    tenancy = params.get("LaunchSpecification", {}).get("Placement", {}).get("Tenancy", "default")
    if tenancy != "default":
        raise Unsupported(f"The Tenancy {tenancy} is not supported for Spot Instances.")
    tags_on_create(params, _KIND)
