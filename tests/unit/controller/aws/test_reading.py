"""What counts as reading a request, and what becomes of what nobody read."""

import json
from typing import Any

import pytest

from stead_controller.aws.protocol import codec_for
from stead_controller.aws.protocol.message import Request
from stead_controller.aws.reading import Map, Reading, unread, whole
from stead_controller.aws.without_effect import ACCEPTED, accepted, refuse_unread
from stead_controller.errors import Unsupported

REQUEST: dict[str, Any] = {
    "ImageId": "ami-1",
    "SecurityGroupIds": ["sg-1", "sg-2"],
    "Placement": {"Tenancy": "host", "AvailabilityZone": "a"},
    "NetworkInterfaces": [{"DeviceIndex": 0}, {"DeviceIndex": 1, "EnaSrdSpecification": {"EnaSrdEnabled": True}}],
    "Nothing": {},
    "NoItems": [],
}


def left(params: Reading) -> list[str]:
    return [".".join(str(step) for step in path) for path, _ in unread(params)]


def test_nothing_is_read_at_first_and_what_is_empty_asks_for_nothing() -> None:
    assert left(Reading(REQUEST)) == [
        "ImageId",
        "SecurityGroupIds",
        "Placement.Tenancy",
        "Placement.AvailabilityZone",
        "NetworkInterfaces.0.DeviceIndex",
        "NetworkInterfaces.1.DeviceIndex",
        "NetworkInterfaces.1.EnaSrdSpecification.EnaSrdEnabled",
    ]


def test_a_member_is_read_by_its_name_and_a_structure_by_its_members() -> None:
    params = Reading(REQUEST)
    assert params["ImageId"] == params.get("ImageId") == "ami-1"
    assert params.get("SecurityGroupIds", ()) == ["sg-1", "sg-2"]
    assert params.get("Placement", {}).get("AvailabilityZone") == "a"
    assert [one["DeviceIndex"] for one in params["NetworkInterfaces"]] == [0, 1]
    assert left(params) == ["Placement.Tenancy", "NetworkInterfaces.1.EnaSrdSpecification.EnaSrdEnabled"]
    assert (params.get("KeyName"), params.get("KeyName", "none")) == (None, "none")
    with pytest.raises(KeyError):
        params["KeyName"]


def test_looking_at_a_request_as_a_whole_reads_nothing() -> None:
    params = Reading(REQUEST)
    assert "ImageId" in params
    assert params == REQUEST
    assert json.loads(json.dumps(params)) == REQUEST
    assert {**params, "DryRun": True}
    assert params.keys() & {"ImageId"}
    assert [value for _, value in params.items()] == list(params.values())
    assert left(params) == left(Reading(REQUEST))


def test_what_is_stored_whole_is_read_whole() -> None:
    params = Reading(REQUEST)
    stored = whole(params)
    assert stored == REQUEST
    assert type(stored["Placement"]) is dict
    assert left(params) == []


def test_a_map_is_one_value() -> None:
    params = Reading({"Tags": Map({"a": "1"}), "None": Map()})
    assert left(params) == ["Tags"]
    assert dict(params["Tags"]) == {"a": "1"}
    assert left(params) == []


def test_protocols_distinguish_maps_from_structures() -> None:
    body: dict[str, Any] = {"ExecutionRoleArn": "r", "Description": "d", "State": "ENABLED"}
    body |= {"Tags": {"a": "1"}, "PolicyDetails": {"CopyTags": True}}
    request = Request("POST", "/policies", "", (), json.dumps(body).encode(), "127.0.0.1")
    parsed = codec_for("dlm").parse("CreateLifecyclePolicy", request)
    assert (type(parsed["Tags"]), type(parsed["PolicyDetails"])) == (Map, dict)


def test_the_request_itself_is_not_changed() -> None:
    given = {"Placement": {"Tenancy": "host"}}
    assert Reading(given)["Placement"]["Tenancy"] == "host"
    assert type(given["Placement"]) is dict


@pytest.mark.parametrize(
    ("service", "operation", "params", "name"),
    [
        ("ec2", "RunInstances", {"CpuOptions": {"AmdSevSnp": "enabled"}}, "CpuOptions.AmdSevSnp"),
        ("ec2", "RunInstances", {"BlockDeviceMappings": [{}, {"Ebs": {"Iops": 1}}]}, "BlockDeviceMapping.2.Ebs.Iops"),
        ("ec2", "DescribeVolumes", {"Filters": [{"Values": ["a"]}]}, "Filter.1.Value"),
        ("iam", "CreateUser", {"Tags": [{"Key": "a"}]}, "Tags.member.1.Key"),
        ("sts", "AssumeRole", {"RoleArn": "a"}, "RoleArn"),
        (
            "dlm",
            "CreateLifecyclePolicy",
            {"PolicyDetails": {"Schedules": [{"Name": "a"}]}},
            "PolicyDetails.Schedules.Name",
        ),
        ("dlm", "GetLifecyclePolicies", {"State": "ENABLED"}, "state"),
        ("service-quotas", "GetServiceQuota", {"QuotaCode": "L-1"}, "QuotaCode"),
    ],
)
def test_a_refusal_names_the_member_as_requests_write_it(
    service: str, operation: str, params: dict[str, Any], name: str
) -> None:
    with pytest.raises(Unsupported, match=rf"^The parameter {name} is not supported by this cloud\.$"):
        refuse_unread(codec_for(service), operation, Reading(params))


def test_what_asks_for_what_is_so_anyway_is_accepted() -> None:
    codec = codec_for("ec2")
    assert accepted("ec2", "RunInstances", ("EnclaveOptions", "Enabled")) is not None
    refuse_unread(codec, "RunInstances", Reading({"EnclaveOptions": {"Enabled": False}, "DryRun": True}))
    with pytest.raises(Unsupported, match=r"EnclaveOptions\.Enabled"):
        refuse_unread(codec, "RunInstances", Reading({"EnclaveOptions": {"Enabled": True}}))
    assert accepted("ec2", "StartInstances", ("EnclaveOptions", "Enabled")) is None


def test_each_exemption_is_of_a_member_and_has_a_reason() -> None:
    for (service, operation, path), found in ACCEPTED.items():
        assert len(found.reason) > 20, (service, operation, path)
        if service != "*" and operation != "*":
            shape: Any = codec_for(service).service.operation(operation).input_shape
            for step in path.split("."):
                shape = shape.member if shape.type_name == "list" else shape
                shape = shape.members[step]
