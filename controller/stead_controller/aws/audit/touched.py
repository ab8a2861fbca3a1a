"""The resources that a call is about, as LookupEvents lists them: by ids and names in parameters and result."""

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any, Final

from stead_controller.catalog import ids

Touched = tuple[str, str]  # type, such as AWS::EC2::Instance, and name
type _Document = Mapping[str, Any] | None

_MOST: Final = 1000
_S3: Final = "s3"
_DEPTH: Final = 8
_ID_LENGTH: Final = 40
_NAME_LENGTH: Final = 2048
_SINGLE: Final = (
    bool,
    int,
    float,
    datetime,
    bytes,
    list,
    tuple,
    type(None),
)  # to ask whether it is a Mapping costs more
_TYPES: Final[dict[str, str]] = {
    "instance": "Instance",
    "image": "Ami",
    "snapshot": "Snapshot",
    "volume": "Volume",
    "vpc": "VPC",
    "subnet": "Subnet",
    "security-group": "SecurityGroup",
    "network-interface": "NetworkInterface",
    "elastic-ip": "EIP",
    "internet-gateway": "InternetGateway",
    "egress-only-internet-gateway": "EgressOnlyInternetGateway",
    "natgateway": "NatGateway",
    "route-table": "RouteTable",
    "network-acl": "NetworkAcl",
    "dhcp-options": "DHCPOptions",
    "vpc-peering-connection": "VPCPeeringConnection",
    "prefix-list": "PrefixList",
    "vpc-endpoint": "VPCEndpoint",
    "vpc-flow-log": "FlowLog",
}
# Members whose value names a resource, with the resource's type.
_NAMES: Final[dict[str, dict[str, str]]] = {
    "ec2": {"KeyName": "AWS::EC2::KeyPair"},
    "iam": {
        "UserName": "AWS::IAM::User",
        "GroupName": "AWS::IAM::Group",
        "RoleName": "AWS::IAM::Role",
        "PolicyArn": "AWS::IAM::Policy",
        "InstanceProfileName": "AWS::IAM::InstanceProfile",
        "AccessKeyId": "AWS::IAM::AccessKey",
    },
    "s3": {"Bucket": "AWS::S3::Bucket", "Key": "AWS::S3::Object"},
    "sts": {"RoleArn": "AWS::IAM::Role", "AccessKeyId": "AWS::IAM::AccessKey"},
}


# The same, with the names that records of calls use.
_IN_RECORDS: Final[dict[str, dict[str, str]]] = {
    service: {name[:1].lower() + name[1:]: kind for name, kind in names.items()} for service, names in _NAMES.items()
} | {"s3": {"bucketName": "AWS::S3::Bucket", "key": "AWS::S3::Object"}}


def touched(service: str, *documents: _Document) -> list[Touched]:
    """Return the resources that documents name, each once, in order; at most 1,000, the size of the largest launch."""
    return _touched(_NAMES.get(service, {}), _flat(service, documents))


def touched_in_record(service: str, *documents: _Document) -> list[Touched]:
    """Return the same from the parameters and elements of an existing record."""
    return _touched(_IN_RECORDS.get(service, {}), _flat(service, documents))


def _flat(service: str, documents: Sequence[_Document]) -> Sequence[_Document]:
    """Keep only bucket and object of S3's parameters: the others may contain anything."""
    if service != _S3:
        return documents
    named = {*_NAMES[_S3], *_IN_RECORDS[_S3]}
    return [{name: one[name] for name in one if name in named} if one else one for one in documents]


def _touched(names: Mapping[str, str], documents: Iterable[_Document]) -> list[Touched]:
    found: dict[Touched, None] = {}
    for document in documents:
        if document:
            _walk(document, names, 0, found)
    return list(found)


def _walk(value: Any, names: Mapping[str, str], depth: int, found: dict[Touched, None]) -> None:
    """Add what a value names; of the types that values have, those that are most frequent are asked for first."""
    if depth > _DEPTH or len(found) >= _MOST:
        return
    if isinstance(value, str):
        if len(value) <= _ID_LENGTH and "-" in value:
            kind = _TYPES.get(ids.resource_type_of(value) or "")
            if kind is not None:
                found[f"AWS::EC2::{kind}", value] = None
    elif isinstance(value, dict) or (not isinstance(value, _SINGLE) and isinstance(value, Mapping)):
        for name, item in value.items():
            kind = names.get(name)
            if kind is None or not isinstance(item, str):
                _walk(item, names, depth + 1, found)
            elif len(found) < _MOST:
                found[kind, item[:_NAME_LENGTH]] = None
    elif isinstance(value, list | tuple):
        for item in value:
            _walk(item, names, depth + 1, found)
