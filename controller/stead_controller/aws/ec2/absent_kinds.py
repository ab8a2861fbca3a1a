"""Resource types that no account can have here: their lists are empty, so that clients' clean-ups and plans work.

Creating one is refused with UnsupportedOperation, like every operation that Stead lacks. The answers follow from EC2's
model: the list that an operation returns is empty, and a request that names one by its id gets a not-found error.
"""

import html
import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any, Final

from botocore.model import ListShape, StructureShape

from stead_controller.aws import describe
from stead_controller.aws.call import Call, Params, Result, operation
from stead_controller.aws.protocol.models import NO_MEMBERS, load_service
from stead_controller.aws.unbuilt import ABSENT
from stead_controller.errors import NotFound

_LEAST, _MOST = 5, 1000  # bounds of a page, if the model has none
_FILTER: Final = re.compile(r"<li>\s*<p>\s*<code>([^<]+)</code>")
_ID: Final = re.compile(r"(\w+?)(?:Ids|IdSet|Id|s)\Z")
# Parameters that name a resource of another type, which may exist, or that name no resource at all.
_OF_OTHERS: Final = frozenset(
    {
        "AllocationIds",
        "AvailabilityZoneId",
        "CapacityReservationIds",
        "ImageIds",
        "InstanceIds",
        "OfferingId",
        "ResourceId",
        "RouteTableId",
        "SnapshotIds",
        "VpcId",
        "VpcIds",
        "VpnConnectionDeviceTypeId",
    }
)
# Ids of resources in the recycle bin never match resources in use.
_IN_BIN: Final = frozenset({"ListImagesInRecycleBin", "ListSnapshotsInRecycleBin", "ListVolumesInRecycleBin"})
_NAMES: Final = frozenset({"LaunchTemplateName", "LaunchTemplateNames", "PublicIps"})
# EC2's error codes other than Invalid<type>Id.NotFound; those with ID are older than that convention.
_WITH_CAPITALS: Final = frozenset(
    {
        "Bundle",
        "CarrierGateway",
        "CustomerGateway",
        "ExportTask",
        "FpgaImage",
        "Host",
        "SpotInstanceRequest",
        "TransitGateway",
        "TransitGatewayAttachment",
        "TransitGatewayConnectPeer",
        "VpnConnection",
        "VpnGateway",
    }
)
_CODES: Final[dict[str, str]] = {
    "ConversionTaskIds": "InvalidConversionTaskId",
    "ExclusionIds": "InvalidVpcBlockPublicAccessExclusionId.NotFound",
    "ImageIds": "InvalidAMIID.NotFound",
    "LaunchTemplateName": "InvalidLaunchTemplateName.NotFoundException",
    "LaunchTemplateNames": "InvalidLaunchTemplateName.NotFoundException",
    "NetworkInterfacePermissionIds": "InvalidPermissionID.NotFound",
    "PublicIps": "InvalidAddress.NotFound",
    "ReservedInstancesId": "InvalidReservedInstancesId",
    "ReservedInstancesIds": "InvalidReservedInstancesId",
    "ServiceId": "InvalidVpcEndpointServiceId.NotFound",
    "ServiceIds": "InvalidVpcEndpointServiceId.NotFound",
    "SnapshotIds": "InvalidSnapshot.NotFound",
    "TransitGatewayRouteTableId": "InvalidRouteTableID.NotFound",
    "TransitGatewayRouteTableIds": "InvalidRouteTableID.NotFound",
    "VolumeIds": "InvalidVolume.NotFound",
}
# Address pools share the names of their parameters.
_POOLS: Final[dict[str, str]] = {
    "DescribeIpv6Pools": "InvalidIpv6PoolId.NotFound",
    "DescribePublicIpv4Pools": "InvalidPublicIpv4PoolID.NotFound",
}


@dataclass(frozen=True, slots=True)
class AbsentKind:
    """An operation on a resource type that does not exist here: the list in its answer, and its parameters.

    `member` is None if the request must name a resource, so that it never succeeds. `ids` are the parameters that name
    resources of the type, with the error code for those that do not exist. `filters` are those that EC2 documents, None
    if it documents none. `least` and `most` are the bounds of a page.
    """

    member: str | None
    ids: dict[str, str]
    filters: frozenset[str] | None
    least: int
    most: int


@cache
def kind_of(name: str) -> AbsentKind:
    """Derive the parameters and the answer of an operation from EC2's model, at its first call."""
    model = load_service("ec2").operation(name)
    asked = model.input_shape or NO_MEMBERS
    answered = model.output_shape if isinstance(model.output_shape, StructureShape) else NO_MEMBERS
    lists = [key for key, shape in answered.members.items() if isinstance(shape, ListShape) and key != "Tags"]
    ids = {key: _code(name, key) for key in asked.members if _names_one(name, key)}
    is_never_answered = any(key in ids for key in asked.required_members)
    page = asked.members["MaxResults"].metadata if "MaxResults" in asked.members else {}
    return AbsentKind(
        member=None if is_never_answered else lists[0],
        ids=ids,
        filters=_documented_filters(asked),
        least=int(page.get("min", _LEAST)),
        most=int(page.get("max", _MOST)),
    )


def _names_one(name: str, key: str) -> bool:
    if name in _IN_BIN:
        return key.endswith("Ids")
    return key not in _OF_OTHERS and (key in _NAMES or key.endswith(("Id", "Ids", "IdSet")))


def _code(name: str, key: str) -> str:
    if key in ("PoolId", "PoolIds"):
        return _POOLS.get(name, "InvalidPoolID.NotFound")
    if key in _CODES:
        return _CODES[key]
    what = _what(key)
    return f"Invalid{what}{'ID' if what in _WITH_CAPITALS else 'Id'}.NotFound"


def _what(key: str) -> str:
    """Return the resource type that a parameter names: `VpnGatewayIds` names a VpnGateway."""
    found = _ID.match(key)
    return found[1] if found else key


def _documented_filters(asked: StructureShape) -> frozenset[str] | None:
    member = asked.members.get("Filters") or asked.members.get("Filter")
    listed = _FILTER.findall(member.documentation) if member is not None else []
    return frozenset(html.unescape(one) for one in listed) or None


def _enter(name: str) -> None:
    """Add the operation that lists a resource type."""

    @operation(name, writes=False)
    def answer(call: Call, params: Params) -> Result:
        kind = kind_of(name)
        given = params.get("Filters") or params.get("Filter") or ()
        describe.filters(params, {one.get("Name") for one in given} if kind.filters is None else kind.filters)
        plural = next((key for key in kind.ids if key.endswith("s")), None)
        describe.page(call, params, name, ids=plural, at_least=kind.least, at_most=kind.most)
        for key, code in kind.ids.items():
            asked: Any = params.get(key)
            if asked:
                names = asked if isinstance(asked, str) else ", ".join(asked)
                what = _what(key)
                raise NotFound(key, names, code=code, message=_words(what[0].lower() + what[1:], names))
        _choose_among_none(params)
        if kind.member is None:
            raise AssertionError(f"{name} was asked without what it must name")
        return {kind.member: []}


def _choose_among_none(value: Any) -> None:
    """Mark every parameter as read: selecting from an empty list has its full effect."""
    if isinstance(value, Mapping):
        for name in value:
            _choose_among_none(value[name])
    elif isinstance(value, list):
        for one in value:
            _choose_among_none(one)


def _words(what: str, names: str) -> str:
    several = ", " in names
    return f"The {what} ID{'s' if several else ''} '{names}' {'do' if several else 'does'} not exist"


for _name in ABSENT:
    _enter(_name)


@operation("DescribeVpcBlockPublicAccessOptions", writes=False)
def describe_vpc_block_public_access_options(call: Call, params: Params) -> Result:
    """Answer that nothing is blocked: gateways, route tables and groups decide."""
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
