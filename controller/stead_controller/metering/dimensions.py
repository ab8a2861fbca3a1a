"""What a use has of each of Cost Explorer's dimensions; pure."""

from typing import Final

from stead_controller.errors import Unsupported
from stead_controller.metering import skus, uses
from stead_controller.metering.usage_sums import Used

NO_CATEGORY: Final = ""
"""The value of each cost category: there are none."""
_COMPUTE: Final = "Amazon Elastic Compute Cloud - Compute"
_OTHER: Final = "EC2 - Other"
_NETWORK: Final = "Amazon Virtual Private Cloud"
_CLOUDWATCH: Final = "AmazonCloudWatch"
_S3: Final = "Amazon Simple Storage Service"
_ADDRESSES: Final = "PublicIPv4:"
_OWN: Final = frozenset({"SERVICE", "USAGE_TYPE", "OPERATION", "INSTANCE_TYPE", "LINKED_ACCOUNT", "RECORD_TYPE"})
KNOWN: Final = _OWN | {"AZ", "REGION", "RESOURCE_ID"}
"""The dimensions that uses have here."""


def require(dimension: str) -> str:
    """Return a dimension of Cost Explorer's if uses have it here; raises Unsupported."""
    if dimension not in KNOWN:
        raise Unsupported(f"The dimension {dimension} is not supported by this cloud.")
    return dimension


def value_of(used: Used, dimension: str, region: str) -> str:
    """Return the value of a known dimension, in AWS's words for what has none."""
    match dimension:
        case "SERVICE":
            return service_of(used.usage, used.operation)
        case "USAGE_TYPE":
            return used.usage
        case "OPERATION":
            return used.operation
        case "INSTANCE_TYPE":
            return used.usage.partition(":")[2] if used.usage.startswith(uses.OF_TYPES) else "NoInstanceType"
        case "LINKED_ACCOUNT":
            return used.account_id
        case "RECORD_TYPE":
            return "Usage"
        case "REGION":
            return region
        case "AZ":
            return used.zone or "NoAZ"
        case _:
            return used.resource_id


def service_of(usage: str, operation: str = "") -> str:
    """Return the service of a use, as Cost Explorer names it: NAT gateways are of EC2's other costs."""
    if usage.startswith((*uses.OF_TYPES, uses.OF_HOSTS)):
        return _COMPUTE
    if skus.service_of(usage, operation) == skus.S3:
        return _S3
    if usage.startswith(uses.OF_CLOUDWATCH):
        return _CLOUDWATCH
    return _NETWORK if usage.startswith(_ADDRESSES) else _OTHER
