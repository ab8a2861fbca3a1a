"""Kinds of things around VPCs and disks that no account can have here: none is listed, so that sweeps of it work.

What would make one is refused with UnsupportedOperation, as every operation that Stead has not.
"""

from dataclasses import dataclass
from typing import Any, Final

from stead_controller.aws.call import Call, Params, Result, operation
from stead_controller.aws.ec2 import selection
from stead_controller.errors import NotFound

_PERMISSION: Final = "network-interface-permission"


@dataclass(frozen=True, slots=True)
class AbsentKind:
    """A list that is always empty: its member in the answer, and what may be asked of it.

    `ids` names the parameter of ids, each of which is answered with the error `code`.
    """

    member: str
    filters: frozenset[str] = frozenset()
    ids: str = ""
    code: str = ""
    noun: str = ""


KINDS: Final[dict[str, AbsentKind]] = {
    "DescribeConversionTasks": AbsentKind(
        "ConversionTasks", ids="ConversionTaskIds", code="InvalidConversionTaskId", noun="conversion-task"
    ),
    "DescribeExportTasks": AbsentKind(
        "ExportTasks", ids="ExportTaskIds", code="InvalidExportTaskID.NotFound", noun="export-task"
    ),
    "DescribeFastSnapshotRestores": AbsentKind(
        "FastSnapshotRestores",
        frozenset({"availability-zone", "availability-zone-id", "owner-id", "snapshot-id", "state"}),
    ),
    "DescribeIpv6Pools": AbsentKind("Ipv6Pools", ids="PoolIds", code="InvalidIpv6PoolId.NotFound", noun="ipv6-pool"),
    "DescribeMovingAddresses": AbsentKind(
        "MovingAddressStatuses",
        frozenset({"moving-status"}),
        ids="PublicIps",
        code="InvalidAddress.NotFound",
        noun="address",
    ),
    "DescribeNetworkInterfacePermissions": AbsentKind(
        "NetworkInterfacePermissions",
        frozenset(
            f"{_PERMISSION}.{name}"
            for name in (f"{_PERMISSION}-id", "aws-account-id", "aws-service", "network-interface-id", "permission")
        ),
        ids="NetworkInterfacePermissionIds",
        code="InvalidPermissionID.NotFound",
        noun=_PERMISSION,
    ),
    "DescribeSecurityGroupVpcAssociations": AbsentKind(
        "SecurityGroupVpcAssociations", frozenset({"group-id", "group-owner-id", "state", "vpc-id", "vpc-owner-id"})
    ),
    "DescribeVpcBlockPublicAccessExclusions": AbsentKind(
        "VpcBlockPublicAccessExclusions",
        frozenset({"internet-gateway-exclusion-mode", "resource-arn", "state"}),
        ids="ExclusionIds",
        code="InvalidVpcBlockPublicAccessExclusionId.NotFound",
        noun="vpc-block-public-access-exclusion",
    ),
    "DescribeVpcEndpointAssociations": AbsentKind(
        "VpcEndpointAssociations",
        frozenset(
            {
                "associated-resource-accessibility",
                "associated-resource-id",
                "association-id",
                "resource-configuration-group-arn",
                "service-network-arn",
                "vpc-endpoint-id",
            }
        ),
        ids="VpcEndpointIds",
        code="InvalidVpcEndpointId.NotFound",
        noun="vpc-endpoint",
    ),
    "DescribeVpcEndpointConnectionNotifications": AbsentKind(
        "ConnectionNotificationSet",
        frozenset(
            {
                "connection-notification-arn",
                "connection-notification-id",
                "connection-notification-state",
                "connection-notification-type",
                "service-id",
                "vpc-endpoint-id",
            }
        ),
        ids="ConnectionNotificationId",
        code="InvalidConnectionNotificationId.NotFound",
        noun="connection-notification",
    ),
    "DescribeVpcEndpointConnections": AbsentKind(
        "VpcEndpointConnections",
        frozenset(
            {
                "ip-address-type",
                "service-id",
                "transit-gateway-attachment-id",
                "vpc-endpoint-id",
                "vpc-endpoint-owner",
                "vpc-endpoint-region",
                "vpc-endpoint-state",
            }
        ),
    ),
    "DescribeVpcEndpointServiceConfigurations": AbsentKind(
        "ServiceConfigurations",
        frozenset({"service-id", "service-name", "service-state", "supported-ip-address-types"}),
        ids="ServiceIds",
        code="InvalidVpcEndpointServiceId.NotFound",
        noun="vpc-endpoint-service",
    ),
    "ListImagesInRecycleBin": AbsentKind("Images", ids="ImageIds", code="InvalidAMIID.NotFound", noun="image"),
    "ListSnapshotsInRecycleBin": AbsentKind(
        "Snapshots", ids="SnapshotIds", code="InvalidSnapshot.NotFound", noun="snapshot"
    ),
}


def _enter(name: str, kind: AbsentKind) -> None:
    """Enter the operation that lists a kind."""

    @operation(name, writes=False)
    def describe(call: Call, params: Params) -> Result:
        selection.paged(call, params, name, kind.filters, ids=kind.ids)
        asked: Any = params.get(kind.ids) if kind.ids else None
        if asked:
            raise NotFound(kind.noun, asked, code=kind.code)
        return {kind.member: []}


for _name, _kind in KINDS.items():
    _enter(_name, _kind)


@operation("DescribeVpcBlockPublicAccessOptions", writes=False)
def describe_vpc_block_public_access_options(call: Call, params: Params) -> Result:
    """Say that nothing is blocked: gateways, route tables and groups decide."""
    del params
    options = {
        "AwsAccountId": call.caller.account_id,
        "AwsRegion": call.cloud.region,
        "State": "default-state",
        "InternetGatewayBlockMode": "off",
        "ManagedBy": "account",
        "ExclusionsAllowed": "allowed",
    }
    return {"VpcBlockPublicAccessOptions": options}
