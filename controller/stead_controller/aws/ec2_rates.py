"""How often EC2 lets an account call each of its actions: pure.

Sizes and refills a second are those of https://docs.aws.amazon.com/ec2/latest/devguide/ec2-api-throttling.html, as of
2025: its categories, its uncategorized actions and its resource tokens, for the actions that Stead has. Its category of
console actions depends on the caller, not on the action: no call here is one. Its resource-intensive actions have the
same numbers as its mutating actions.
"""

from collections.abc import Mapping
from typing import Any, Final

from stead_controller.aws.token_buckets import Rate

READING: Final = ("Describe", "Get", "List", "Search")

_READ: Final = Rate(100, 20)
_READ_ALL: Final = Rate(50, 10)
_WRITE: Final = Rate(50, 5)

_MOST_INSTANCES: Final = 1000

# Reads that cost more when they neither filter nor page.
_LARGE: Final = frozenset(
    {
        "DescribeInstances",
        "DescribeInstanceStatus",
        "DescribeNetworkInterfaces",
        "DescribeSecurityGroups",
        "DescribeSnapshots",
        "DescribeSpotInstanceRequests",
        "DescribeVolumes",
    }
)
# EC2's uncategorized actions: each has its own rate.
OWN: Final[Mapping[str, Rate]] = {
    "AssignIpv6Addresses": Rate(100, 5),
    "AssignPrivateIpAddresses": Rate(100, 5),
    "AssociateIamInstanceProfile": Rate(100, 5),
    "CopyImage": Rate(100, 1),
    "CreateDefaultSubnet": Rate(1, 1),
    "CreateDefaultVpc": Rate(1, 1),
    "CreateNatGateway": Rate(10, 1),
    "CreateNetworkInterface": Rate(100, 5),
    "CreateSnapshot": Rate(100, 5),
    "CreateSnapshots": Rate(100, 5),
    "CreateTags": Rate(100, 10),
    "CreateVolume": Rate(100, 5),
    "CreateVpcEndpoint": Rate(4, 0.3),
    "DeleteNatGateway": Rate(10, 1),
    "DeleteNetworkInterface": Rate(100, 5),
    "DeleteSnapshot": Rate(100, 5),
    "DeleteTags": Rate(100, 10),
    "DeleteVolume": Rate(100, 5),
    "DeleteVpcEndpoints": Rate(4, 0.3),
    "DeregisterImage": Rate(100, 5),
    "DescribeSecurityGroupReferences": Rate(20, 5),
    "DescribeStaleSecurityGroups": Rate(20, 5),
    "DisassociateIamInstanceProfile": Rate(100, 5),
    "ModifyImageAttribute": Rate(100, 5),
    "ModifyInstanceMetadataDefaults": Rate(2, 2),
    "ModifyVpcEndpoint": Rate(4, 0.3),
    "ModifyInstanceMetadataOptions": Rate(100, 5),
    "ModifyNetworkInterfaceAttribute": Rate(100, 5),
    "ModifySnapshotAttribute": Rate(100, 5),
    "RunInstances": Rate(5, 2),
    "StartInstances": Rate(5, 2),
    "TerminateInstances": Rate(100, 5),
    "UnassignPrivateIpAddresses": Rate(100, 5),
}
# Resource tokens: these actions also take one per instance, from a second bucket.
PER_INSTANCE: Final[Mapping[str, Rate]] = {
    "RunInstances": Rate(1000, 2),
    "StartInstances": Rate(1000, 2),
    "StopInstances": Rate(1000, 20),
    "TerminateInstances": Rate(1000, 20),
}


def rate(action: str, params: Mapping[str, Any]) -> tuple[Rate, str]:
    """Return a call's rate, and the name of its bucket."""
    if action in OWN:
        return OWN[action], action
    if not action.startswith(READING):
        return _WRITE, action
    if action in _LARGE and not any(name in params for name in ("Filters", "MaxResults", "NextToken")):
        return _READ_ALL, f"{action} of all"
    return _READ, action


def instances(params: Mapping[str, Any]) -> float:
    """Return how many instances a call is about; a call for more than are allowed is refused by its own rules."""
    count = params.get("MaxCount") or len(params.get("InstanceIds", ()))
    return float(min(max(1, count), _MOST_INSTANCES))
