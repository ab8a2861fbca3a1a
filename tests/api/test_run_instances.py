"""RunInstances and the lives of instances through boto3: what is made, and that bad input changes no row."""

import base64
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import boto3
import pytest
from botocore.exceptions import ClientError
from sqlalchemy import select

from stead_controller.db.tables import Host, HostResource, Instance
from stead_proto.v1 import desired_pb2 as pb
from tests.api.conftest import SECRET, Api
from tests.support import rows

ABSENT = {
    "image": "ami-00000000000000000",
    "instance": "i-00000000000000000",
    "subnet": "subnet-00000000000000000",
    "group": "sg-00000000000000000",
}


def run(api: Api, **changes: Any) -> dict[str, Any]:
    values = {"ImageId": api.world.image_id, "InstanceType": "t3.micro", "MinCount": 1, "MaxCount": 1} | changes
    answer: dict[str, Any] = api.ec2.run_instances(**values)
    return answer


def test_a_launch_is_answered_as_ec2_does(api: Api) -> None:
    answer = run(
        api,
        MinCount=2,
        MaxCount=2,
        UserData="#!/bin/sh\n",
        ClientToken="once",
        TagSpecifications=[{"ResourceType": "instance", "Tags": [{"Key": "Name", "Value": "web"}]}],
        BlockDeviceMappings=[{"DeviceName": "/dev/sda1", "Ebs": {"VolumeSize": 9}}],
        MetadataOptions={"HttpTokens": "required", "HttpPutResponseHopLimit": 2},
    )
    assert answer["OwnerId"] == api.world.one.caller.account_id
    first, second = answer["Instances"]
    assert (first["AmiLaunchIndex"], second["AmiLaunchIndex"]) == (0, 1)
    assert first["State"] == {"Code": 0, "Name": "pending"}
    assert first["Tags"] == [{"Key": "Name", "Value": "web"}]
    assert first["MetadataOptions"]["HttpTokens"] == "required"
    assert first["MetadataOptions"]["State"] == "pending"
    assert first["PrivateIpAddress"] != second["PrivateIpAddress"]
    [volume] = api.ec2.describe_volumes(Filters=[{"Name": "attachment.instance-id", "Values": [first["InstanceId"]]}])[
        "Volumes"
    ]
    assert (volume["Size"], volume["State"]) == (9, "in-use")
    user_data = api.ec2.describe_instance_attribute(InstanceId=first["InstanceId"], Attribute="userData")
    assert base64.b64decode(user_data["UserData"]["Value"]) == b"#!/bin/sh\n"


def test_a_launch_as_terraform_asks_for_it(api: Api) -> None:
    """Its provider sends each string that is not set as an empty one, also inside structures."""
    answered = run(
        api,
        KeyName="",
        SubnetId="",
        PrivateIpAddress="",
        Placement={"AvailabilityZone": "", "GroupName": "", "HostId": "", "Tenancy": ""},
        IamInstanceProfile={"Name": ""},
        BlockDeviceMappings=[{"DeviceName": "/dev/sdb", "Ebs": {"SnapshotId": "", "KmsKeyId": "", "VolumeSize": 1}}],
    )
    (instance,) = answered["Instances"]
    assert "KeyName" not in instance
    assert "IamInstanceProfile" not in instance
    assert instance["Placement"]["AvailabilityZone"] in api.world.cloud.zones


def test_a_repeated_client_token_launches_nothing_more(api: Api) -> None:
    first = run(api, ClientToken="t")
    assert run(api, ClientToken="t")["ReservationId"] == first["ReservationId"]
    api.refused("IdempotentParameterMismatch", lambda: run(api, ClientToken="t", InstanceType="t3.nano"))


def test_fifty_at_once_with_one_client_token_launch_one_instance(api: Api) -> None:
    with ThreadPoolExecutor(25) as pool:
        answers = list(pool.map(lambda _number: run(api, ClientToken="of fifty"), range(50)))
    assert len({answer["ReservationId"] for answer in answers}) == 1
    assert len({instance["InstanceId"] for answer in answers for instance in answer["Instances"]}) == 1
    assert len(api.ec2.describe_instances()["Reservations"]) == 1


BAD_LAUNCHES = [
    ("InvalidAMIID.Malformed", {"ImageId": "ami-zzz"}),
    ("InvalidAMIID.NotFound", {"ImageId": ABSENT["image"]}),
    ("InvalidParameterValue", {"InstanceType": "t3.gigantic"}),
    ("InvalidSubnetID.Malformed", {"SubnetId": "subnet"}),
    ("InvalidSubnetID.NotFound", {"SubnetId": ABSENT["subnet"]}),
    ("InvalidGroupId.Malformed", {"SecurityGroupIds": ["sg"]}),
    ("InvalidGroup.NotFound", {"SecurityGroupIds": [ABSENT["group"]]}),
    ("InvalidGroup.NotFound", {"SecurityGroups": ["nobody"]}),
    ("InvalidKeyPair.NotFound", {"KeyName": "nobody"}),
    ("InvalidParameterValue", {"UserData": "x" * 16385}),
    ("InvalidParameterValue", {"MinCount": 3, "MaxCount": 2}),
    ("InvalidParameterValue", {"MinCount": 0}),
    ("InvalidParameterValue", {"PrivateIpAddress": "10.9.9.9"}),
    ("InvalidParameterCombination", {"PrivateIpAddress": "172.31.0.50", "MinCount": 2, "MaxCount": 2}),
    ("InvalidBlockDeviceMapping", {"BlockDeviceMappings": [{"DeviceName": "/dev/sda1", "Ebs": {"VolumeSize": 1}}]}),
    ("InvalidParameterValue", {"InstanceInitiatedShutdownBehavior": "explode"}),
    ("InvalidParameterValue", {"MetadataOptions": {"HttpTokens": "perhaps"}}),
    ("InvalidParameterValue", {"MetadataOptions": {"HttpPutResponseHopLimit": 0}}),
    ("InvalidParameterValue", {"IamInstanceProfile": {"Name": "role"}}),
    ("Unsupported", {"InstanceType": "t2.micro", "EbsOptimized": True}),
]


@pytest.mark.parametrize(("code", "changes"), BAD_LAUNCHES)
def test_a_bad_launch_is_refused_by_ec2s_code_and_changes_no_row(api: Api, code: str, changes: dict[str, Any]) -> None:
    api.refused(code, lambda: run(api, **changes))


def test_more_than_fits_is_refused_whole_and_with_a_server_status(api: Api) -> None:
    api.run(lambda tx: setattr(tx.session.get_one(Host, api.world.host_id), "cpus_offered", 5))
    before = api.dump()
    with pytest.raises(ClientError) as refused:
        run(api, MinCount=3, MaxCount=3)
    assert refused.value.response["Error"]["Code"] == "InsufficientInstanceCapacity"
    assert refused.value.response["ResponseMetadata"]["HTTPStatusCode"] == 500
    assert api.dump() == before
    assert len(run(api, MinCount=1, MaxCount=3)["Instances"]) == 2


@pytest.mark.parametrize("name", ["start_instances", "stop_instances", "reboot_instances", "terminate_instances"])
def test_ids_are_checked_for_their_form_before_their_existence(api: Api, name: str) -> None:
    call = getattr(api.ec2, name)
    mine = api.launch()
    foreign = api.launch(api.world.other)
    api.refused("InvalidInstanceID.Malformed", call, InstanceIds=[ABSENT["instance"], "i-nonsense"])
    absent = api.refused("InvalidInstanceID.NotFound", call, InstanceIds=[mine, ABSENT["instance"]])
    other = api.refused("InvalidInstanceID.NotFound", call, InstanceIds=[mine, foreign])
    assert absent.replace(ABSENT["instance"], "X") == other.replace(foreign, "X")


def test_the_instances_of_one_launch_are_on_different_hosts(api: Api) -> None:
    """Also where one host has much more room than the others."""
    smaller = [rows.host(memory_free=8 << 30, cpus_free=8) for _ in range(2)]
    api.run(lambda tx: tx.session.add_all(smaller))
    reservation = run(api, MinCount=6, MaxCount=6)["ReservationId"]
    query = select(Instance.host_id).where(Instance.reservation_id == reservation)
    placed = Counter(api.run(lambda tx: list(tx.session.scalars(query))))
    assert placed == dict.fromkeys([api.world.host_id, *(host.id for host in smaller)], 2)


def test_a_dry_run_says_it_would_work_and_changes_nothing(api: Api) -> None:
    api.refused("DryRunOperation", lambda: run(api, DryRun=True))
    api.refused("InvalidAMIID.NotFound", lambda: run(api, DryRun=True, ImageId=ABSENT["image"]))


def test_stop_and_terminate_show_the_states_they_went_through(api: Api) -> None:
    instance_id = api.launch()
    [change] = api.ec2.stop_instances(InstanceIds=[instance_id])["StoppingInstances"]
    assert (change["PreviousState"]["Name"], change["CurrentState"]["Name"]) == ("running", "stopping")
    api.refused("IncorrectInstanceState", api.ec2.reboot_instances, InstanceIds=[instance_id])
    api.refused("IncorrectInstanceState", api.ec2.start_instances, InstanceIds=[instance_id])
    [change] = api.ec2.terminate_instances(InstanceIds=[instance_id])["TerminatingInstances"]
    assert (change["PreviousState"]["Name"], change["CurrentState"]["Name"]) == ("stopping", "shutting-down")


def test_a_wrong_secret_is_no_caller(api: Api) -> None:
    client: Any = boto3.client(
        "ec2",
        region_name="us-east-1",
        endpoint_url=f"http://127.0.0.1:{api.port}",
        aws_access_key_id=api.world.one.caller.access_key_id,
        aws_secret_access_key=SECRET + "x",
    )
    with pytest.raises(ClientError) as refused:
        client.describe_instances()
    assert refused.value.response["Error"]["Code"] == "AuthFailure"
    assert refused.value.response["ResponseMetadata"]["HTTPStatusCode"] == 401


def test_a_zone_is_named_or_given_by_its_id(api: Api) -> None:
    api.run(lambda tx: tx.session.add(rows.host(hostname="other", zone="us-east-1b")))
    placed = run(api, Placement={"AvailabilityZoneId": "use1-az2"})["Instances"][0]["Placement"]
    assert (placed["AvailabilityZone"], placed["AvailabilityZoneId"]) == ("us-east-1b", "use1-az2")
    subnet_id = next(
        one["SubnetId"] for one in api.ec2.describe_subnets()["Subnets"] if one["AvailabilityZoneId"] == "use1-az1"
    )

    def refused(code: str, **params: Any) -> str:
        values = {"ImageId": api.world.image_id, "MinCount": 1, "MaxCount": 1}
        return api.refused(code, api.ec2.run_instances, **values, **params)

    refused("InvalidParameterValue", Placement={"AvailabilityZoneId": "use1-az9"})
    refused("InvalidParameterValue", Placement={"AvailabilityZoneId": "use1-az2"}, SubnetId=subnet_id)
    both = {"AvailabilityZoneId": "use1-az2", "AvailabilityZone": "us-east-1b"}
    refused("InvalidParameterCombination", Placement=both)


UNBUILT: list[dict[str, Any]] = [
    {"CpuOptions": {"CoreCount": 1, "ThreadsPerCore": 1, "AmdSevSnp": "enabled"}},
    {"EnclaveOptions": {"Enabled": True}},
    {"Placement": {"HostResourceGroupArn": "arn:aws:x"}},
    {"Placement": {"SpreadDomain": "x"}},
    {"CapacityReservationSpecification": {"CapacityReservationTarget": {"CapacityReservationResourceGroupArn": "arn"}}},
    {"NetworkPerformanceOptions": {"BandwidthWeighting": "vpc-1"}},
    {"AdditionalInfo": "more"},
    {"BlockDeviceMappings": [{"DeviceName": "/dev/sdf", "Ebs": {"VolumeSize": 1, "EbsCardIndex": 0}}]},
]


@pytest.mark.parametrize("asked", UNBUILT, ids=lambda asked: next(iter(asked)))
def test_what_is_not_built_is_refused_by_name(api: Api, asked: dict[str, Any]) -> None:
    values = {"ImageId": api.world.image_id, "MinCount": 1, "MaxCount": 1}
    message = api.refused("UnsupportedOperation", api.ec2.run_instances, **values, **asked)
    assert message.startswith(f"The parameter {next(iter(asked)).rstrip('s')}")
    refused = api.ec2.run_instances
    with pytest.raises(ClientError, match="UnsupportedOperation"):
        refused(**values, **asked, DryRun=True)


def test_what_asks_for_ec2s_defaults_is_launched(api: Api) -> None:
    made = run(
        api,
        HibernationOptions={"Configured": False},
        EnclaveOptions={"Enabled": False},
        Placement={"Tenancy": "default"},
        CapacityReservationSpecification={"CapacityReservationPreference": "open"},
        CreditSpecification={"CpuCredits": "unlimited"},
    )
    assert made["Instances"][0]["Placement"]["Tenancy"] == "default"


def test_a_guest_has_less_time_to_shut_down_or_none(api: Api) -> None:
    stopped, ended = (one["InstanceId"] for one in run(api, MinCount=2, MaxCount=2)["Instances"])
    api.set_running(stopped)

    def gone(*, force: bool) -> None:
        def look(tx: Any) -> None:
            query = tx.session.query(HostResource).filter_by(kind=pb.KIND_MACHINE, resource_id=ended)
            assert query.one().force is force

        api.run(look)

    def how() -> tuple[bool, bool]:
        machine = pb.Resource.FromString(_body(api, stopped)).machine
        return machine.hasten_stop, machine.force_stop

    asked = api.ec2.stop_instances
    for flags, expected in (
        ({}, (False, False)),
        ({"Force": True}, (True, False)),
        ({"Force": False}, (True, False)),
        ({}, (True, False)),
        ({"SkipOsShutdown": True}, (True, True)),
        ({"Force": True}, (True, True)),
    ):
        asked(InstanceIds=[stopped], **flags)
        assert how() == expected, flags
    for flags, forced in (({"Force": True}, False), ({}, False), ({"SkipOsShutdown": True}, True)):
        api.ec2.terminate_instances(InstanceIds=[ended], **flags)
        gone(force=forced)


def _body(api: Api, instance_id: str) -> bytes:
    """What the host of an instance is sent of it."""
    query = select(HostResource.body).where(
        HostResource.kind == pb.KIND_MACHINE, HostResource.resource_id == instance_id
    )
    return api.run(lambda tx: tx.session.scalars(query).one())
