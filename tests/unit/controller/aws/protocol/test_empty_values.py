"""Empty strings in requests to EC2 are as if they were not sent, except where they say something."""

import re
from typing import Any

import pytest
from botocore.model import ListShape, StructureShape
from hypothesis import given, settings
from hypothesis import strategies as st

from stead_controller.aws import operations
from stead_controller.aws.call import OPERATIONS
from stead_controller.aws.protocol import codec_for
from stead_controller.aws.protocol.empty_values import MEANINGFUL
from stead_controller.aws.protocol.message import Request
from stead_controller.aws.protocol.models import load_service
from stead_controller.errors import BadRequest, MissingParameter, UnknownParameter
from tests.support.examples import examples

operations.load()
EC2 = load_service("ec2")
NAMES = sorted(name for service, name in OPERATIONS if service == "ec2")


def parse(operation: str, body: str, service: str = "ec2") -> dict[str, Any]:
    form = (("Content-Type", "application/x-www-form-urlencoded"),)
    return codec_for(service).parse(operation, Request("POST", "/", "", form, body.encode(), "127.0.0.1"))


LAUNCH = "ImageId=ami-1&MinCount=1&MaxCount=1"
LAUNCHED = {"ImageId": "ami-1", "MinCount": 1, "MaxCount": 1}
FLEET = "TargetCapacitySpecification.TotalTargetCapacity=1"
FLEET_OF = {"TargetCapacitySpecification": {"TotalTargetCapacity": 1}}


@pytest.mark.parametrize(
    ("operation", "body", "expected"),
    [
        ("RunInstances", f"{LAUNCH}&KeyName=&SubnetId=&UserData=", LAUNCHED),
        ("RunInstances", f"{LAUNCH}&Placement.AvailabilityZone=&Placement.Tenancy=", LAUNCHED),
        ("RunInstances", f"{LAUNCH}&IamInstanceProfile.Name=&Monitoring=", LAUNCHED),
        (
            "RunInstances",
            f"{LAUNCH}&InstanceMarketOptions.MarketType=&InstanceMarketOptions.SpotOptions.MaxPrice=",
            LAUNCHED,
        ),
        (
            "RunInstances",
            f"{LAUNCH}&BlockDeviceMapping.1.DeviceName=/dev/sdb&BlockDeviceMapping.1.Ebs.SnapshotId=",
            LAUNCHED | {"BlockDeviceMappings": [{"DeviceName": "/dev/sdb"}]},
        ),
        ("RunInstances", f"{LAUNCH}&HibernationOptions.Configured=false", LAUNCHED | {"HibernationOptions": {"Configured": False}}),
        ("RunInstances", f"{LAUNCH}&LicenseSpecification.1.LicenseConfigurationArn=", LAUNCHED | {"LicenseSpecifications": [{}]}),
        ("RunInstances", f"{LAUNCH}&SecurityGroupId.1=", LAUNCHED | {"SecurityGroupIds": [""]}),
        ("DescribeVpcs", "Filter.1.Name=tag:a&Filter.1.Value.1=", {"Filters": [{"Name": "tag:a", "Values": [""]}]}),
        ("CreateTags", "ResourceId.1=i-1&Tag.1.Key=a&Tag.1.Value=", {"Resources": ["i-1"], "Tags": [{"Key": "a", "Value": ""}]}),
        ("DeleteTags", "ResourceId.1=i-1&Tag.1.Key=a&Tag.1.Value=", {"Resources": ["i-1"], "Tags": [{"Key": "a", "Value": ""}]}),
        (
            "RunInstances",
            f"{LAUNCH}&BlockDeviceMapping.1.DeviceName=/dev/sdb&BlockDeviceMapping.1.NoDevice=",
            LAUNCHED | {"BlockDeviceMappings": [{"DeviceName": "/dev/sdb", "NoDevice": ""}]},
        ),
        (
            "CreateFleet",
            f"{FLEET}&LaunchTemplateConfigs.1.Overrides.1.BlockDeviceMapping.1.NoDevice=",
            FLEET_OF | {"LaunchTemplateConfigs": [{"Overrides": [{"BlockDeviceMappings": [{"NoDevice": ""}]}]}]},
        ),
        (
            "ModifyInstanceAttribute",
            "InstanceId=i-1&BlockDeviceMapping.1.DeviceName=/dev/sdb&BlockDeviceMapping.1.NoDevice=",
            {"InstanceId": "i-1", "BlockDeviceMappings": [{"DeviceName": "/dev/sdb", "NoDevice": ""}]},
        ),
        ("ModifyImageAttribute", "ImageId=ami-1&Description.Value=", {"ImageId": "ami-1", "Description": {"Value": ""}}),
        (
            "ModifyImageAttribute",
            "ImageId=ami-1&Attribute=description&Value=",
            {"ImageId": "ami-1", "Attribute": "description", "Value": ""},
        ),
        (
            "ModifyInstanceAttribute",
            "InstanceId=i-1&Attribute=userData&Value=",
            {"InstanceId": "i-1", "Attribute": "userData", "Value": ""},
        ),
        ("CreateSnapshot", "VolumeId=vol-1&Description=", {"VolumeId": "vol-1", "Description": ""}),
    ],
)  # fmt: skip
def test_an_empty_string_is_absent_where_it_says_nothing(operation: str, body: str, expected: dict[str, Any]) -> None:
    assert parse(operation, body) == expected


def test_what_must_be_there_is_missing_when_it_is_empty() -> None:
    with pytest.raises(MissingParameter, match="VolumeId"):
        parse("DeleteVolume", "VolumeId=")


def test_a_structure_with_something_in_it_still_needs_all_it_must_have() -> None:
    assert parse("CreateVpc", "VpcEncryptionControl.Mode=&VpcEncryptionControl.LambdaExclusion=") == {}
    with pytest.raises(MissingParameter, match=r"VpcEncryptionControl\.Mode"):
        parse("CreateVpc", "VpcEncryptionControl.Mode=&VpcEncryptionControl.LambdaExclusion=enable")


@pytest.mark.parametrize("operation", ["RunInstances", "CreateSubnet"])
def test_an_unknown_name_is_refused_though_it_is_empty(operation: str) -> None:
    with pytest.raises(UnknownParameter, match="Bogus"):
        parse(operation, "Bogus=")
    with pytest.raises(UnknownParameter, match=r"Placement\.Bogus"):
        parse("RunInstances", "Placement.Bogus=")


def test_iam_and_sts_see_what_was_sent() -> None:
    assert parse("UpdateRole", "RoleName=r&Description=", "iam")["Description"] == ""


def _sent(key: str, member: Any) -> str:
    """The name under which clients send a member."""
    name: str = member.serialization.get("name", key)
    query_name: str = member.serialization.get("queryName", name[0].upper() + name[1:])
    return query_name


def _strings(shape: Any, prefix: str = "", seen: tuple[str, ...] = ()) -> list[tuple[str, str, str]]:
    """Each string that no list is around: its shape, its member and the name that clients send."""
    found = []
    for key, member in shape.members.items():
        name = _sent(key, member)
        if isinstance(member, StructureShape) and member.name not in seen:
            found += _strings(member, f"{prefix}{name}.", (*seen, member.name))
        elif member.type_name == "string" and not isinstance(member, ListShape):
            found.append((shape.name, key, prefix + name))
    return found


_REQUIRED = {"string": "xxxxxxxx", "integer": "1", "boolean": "true"}


def _required(shape: Any) -> list[tuple[str, str]]:
    """Each member that must be there: the name that clients send, and its type."""
    return [(_sent(key, shape.members[key]), shape.members[key].type_name) for key in shape.required_members]


@settings(max_examples=examples(60))
@given(st.data())
def test_any_request_reads_the_same_with_empty_strings_added(data: st.DataObject) -> None:
    operation = data.draw(st.sampled_from(NAMES))
    shape: Any = EC2.operation(operation).input_shape
    silent = [
        name
        for owner, key, name in _strings(shape)
        if (owner, key) not in MEANINGFUL and ("*", key) not in MEANINGFUL and key not in shape.required_members
    ]
    required = {name: _REQUIRED[kind] for name, kind in _required(shape) if kind in _REQUIRED}
    chosen = data.draw(st.lists(st.sampled_from(silent), unique=True)) if silent else []
    without = "&".join(f"{name}={value}" for name, value in required.items())
    added = "&".join([without, *(f"{name}=" for name in chosen)])
    try:
        plain: Any = parse(operation, without)
    except BadRequest as refusal:
        with pytest.raises(type(refusal), match=re.escape(refusal.message)):
            parse(operation, added)
    else:
        assert parse(operation, added) == plain


@pytest.mark.parametrize(("owner", "member"), sorted(MEANINGFUL))
def test_each_exception_is_a_string_of_the_model(owner: str, member: str) -> None:
    shapes = (
        [EC2.model.shape_for(name) for name in EC2.model.shape_names] if owner == "*" else [EC2.model.shape_for(owner)]
    )
    owners = [shape for shape in shapes if isinstance(shape, StructureShape) and member in shape.members]
    assert owners
    assert any(shape.members[member].type_name == "string" for shape in owners)
