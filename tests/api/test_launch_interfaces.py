"""RunInstances with network interfaces, new and existing; what stays of them when the instance ends."""

from typing import Any

import pytest
from sqlalchemy import select

from stead_controller.db.tables import Instance, NetworkInterface
from stead_controller.hosts import reports
from stead_proto.v1 import desired_pb2
from stead_proto.v1 import host_pb2 as pb
from tests.api.conftest import Api
from tests.api.test_network_interfaces import create, report, sent, sent_vpcs, shown
from tests.api.test_run_instances import run
from tests.support.rows import NOW


def interfaces(answer: dict[str, Any]) -> list[dict[str, Any]]:
    (instance,) = answer["Instances"]
    return list(instance["NetworkInterfaces"])


def stopped(api: Api, instance_id: str) -> None:
    """Let the host report that a stop is done."""
    count = api.run(lambda tx: tx.session.get_one(Instance, instance_id).start_count)
    machine = pb.MachineStatus(power=pb.MACHINE_POWER_OFF, start_count=count, off_reason=pb.OFF_REASON_ASKED)
    status = pb.ResourceStatus(
        kind=desired_pb2.KIND_MACHINE, id=instance_id, condition=pb.CONDITION_READY, machine=machine
    )
    api.run(reports.apply_progress, [(api.world.host_id, [status])], NOW)


def test_several_new_interfaces(api: Api) -> None:
    subnet = api.world.one.subnet_ids[0]
    group = api.ec2.create_security_group(GroupName="web", Description="d", VpcId=api.world.one.vpc_id)["GroupId"]
    answer = run(
        api,
        NetworkInterfaces=[
            {"DeviceIndex": 1, "SubnetId": subnet, "Description": "second", "DeleteOnTermination": False},
            {
                "DeviceIndex": 0,
                "SubnetId": subnet,
                "Groups": [group],
                "PrivateIpAddresses": [
                    {"PrivateIpAddress": "172.31.0.50", "Primary": True},
                    {"PrivateIpAddress": "172.31.0.51", "Primary": False},
                ],
            },
        ],
        TagSpecifications=[{"ResourceType": "network-interface", "Tags": [{"Key": "Name", "Value": "web"}]}],
    )
    first, second = interfaces(answer)
    (instance,) = answer["Instances"]
    assert instance["PrivateIpAddress"] == first["PrivateIpAddress"] == "172.31.0.50"
    assert [one["PrivateIpAddress"] for one in first["PrivateIpAddresses"]] == ["172.31.0.50", "172.31.0.51"]
    assert instance["SecurityGroups"] == [{"GroupId": group, "GroupName": "web"}]
    assert (second["Description"], second["Attachment"]["DeviceIndex"]) == ("second", 1)
    assert [one["Attachment"]["DeleteOnTermination"] for one in (first, second)] == [True, False]
    assert "PublicIpAddress" not in instance  # with several interfaces there is no automatic public address
    for one in (first, second):
        assert shown(api, one["NetworkInterfaceId"])["TagSet"] == [{"Key": "Name", "Value": "web"}]
        assert sent(api, desired_pb2.KIND_INTERFACE, one["NetworkInterfaceId"]) is not None

    api.ec2.terminate_instances(InstanceIds=[instance["InstanceId"]])
    report(api, desired_pb2.KIND_MACHINE, instance["InstanceId"], pb.CONDITION_ABSENT)
    (left,) = api.ec2.describe_network_interfaces()["NetworkInterfaces"]
    assert (left["NetworkInterfaceId"], left["Status"]) == (second["NetworkInterfaceId"], "available")
    assert "Attachment" not in left


def test_an_existing_interface_with_an_elastic_address_stays_when_the_instance_ends(api: Api) -> None:
    interface_id = create(api, PrivateIpAddress="172.31.0.60")["NetworkInterfaceId"]
    eip = api.ec2.allocate_address()
    api.ec2.associate_address(AllocationId=eip["AllocationId"], NetworkInterfaceId=interface_id)
    answer = run(api, NetworkInterfaces=[{"DeviceIndex": 0, "NetworkInterfaceId": interface_id}])
    (instance,) = answer["Instances"]
    assert (instance["PrivateIpAddress"], instance["PublicIpAddress"]) == ("172.31.0.60", eip["PublicIp"])
    assert interfaces(answer)[0]["Attachment"]["DeleteOnTermination"] is False
    again = {"DeviceIndex": 0, "NetworkInterfaceId": interface_id}
    api.refused("InvalidNetworkInterface.InUse", lambda: run(api, NetworkInterfaces=[again]))
    api.ec2.terminate_instances(InstanceIds=[instance["InstanceId"]])
    report(api, desired_pb2.KIND_MACHINE, instance["InstanceId"], pb.CONDITION_ABSENT)
    (address,) = api.ec2.describe_addresses()["Addresses"]
    assert address["NetworkInterfaceId"] == interface_id
    assert "InstanceId" not in address


def test_a_public_address_is_as_the_request_or_the_subnet_says(api: Api) -> None:
    subnet = api.world.one.subnet_ids[0]
    only = {"DeviceIndex": 0, "SubnetId": subnet}
    for params, expected in [(only, True), (only | {"AssociatePublicIpAddress": False}, False)]:
        answer = run(api, NetworkInterfaces=[params])
        (instance,) = answer["Instances"]
        assert ("PublicIpAddress" in instance) is expected
        api.set_running(instance["InstanceId"])
        api.ec2.stop_instances(InstanceIds=[instance["InstanceId"]])
        stopped(api, instance["InstanceId"])
        api.ec2.start_instances(InstanceIds=[instance["InstanceId"]])
        (started,) = api.ec2.describe_instances(InstanceIds=[instance["InstanceId"]])["Reservations"][0]["Instances"]
        assert ("PublicIpAddress" in started) is expected


def test_an_elastic_address_stays_through_a_stop(api: Api) -> None:
    (instance,) = run(api)["Instances"]
    instance_id = instance["InstanceId"]
    eip = api.ec2.allocate_address()
    api.ec2.associate_address(AllocationId=eip["AllocationId"], InstanceId=instance_id)
    api.set_running(instance_id)
    api.ec2.stop_instances(InstanceIds=[instance_id])
    stopped(api, instance_id)
    for act in (lambda: None, lambda: api.ec2.start_instances(InstanceIds=[instance_id])):
        act()
        (found,) = api.ec2.describe_instances(InstanceIds=[instance_id])["Reservations"][0]["Instances"]
        assert found["PublicIpAddress"] == eip["PublicIp"]


@pytest.mark.parametrize(
    ("code", "params"),
    [
        ("InvalidParameterValue", [{"Description": "no index"}]),
        ("InvalidParameterValue", [{"DeviceIndex": 1}]),
        ("InvalidParameterCombination", [{"DeviceIndex": 0}, {"DeviceIndex": 0}]),
        ("AttachmentLimitExceeded", [{"DeviceIndex": number} for number in range(3)]),
        ("InvalidParameterCombination", [{"DeviceIndex": 0, "AssociatePublicIpAddress": True}, {"DeviceIndex": 1}]),
        ("PrivateIpAddressLimitExceeded", [{"DeviceIndex": 0, "SecondaryPrivateIpAddressCount": 2}]),
        ("InvalidNetworkInterfaceID.NotFound", [{"DeviceIndex": 0, "NetworkInterfaceId": "eni-00000000000000000"}]),
        (
            "InvalidParameterCombination",
            [{"DeviceIndex": 0, "NetworkInterfaceId": "eni-00000000000000000", "Description": "x"}],
        ),
        ("InvalidSubnetID.NotFound", [{"DeviceIndex": 0, "SubnetId": "subnet-00000000000000000"}]),
        ("InvalidParameterValue", [{"DeviceIndex": 0, "PrivateIpAddress": "10.0.0.1"}]),
        ("UnsupportedOperation", [{"DeviceIndex": 0, "InterfaceType": "efa"}]),
    ],
)
def test_bad_interfaces_are_refused_and_change_no_row(api: Api, code: str, params: list[dict[str, Any]]) -> None:
    api.refused(code, lambda: run(api, NetworkInterfaces=params))


def test_what_is_said_twice_or_of_several_instances_is_refused(api: Api) -> None:
    spare = create(api)["NetworkInterfaceId"]
    subnets = api.world.one.subnet_ids
    only = {"DeviceIndex": 0, "NetworkInterfaceId": spare}
    combination = "InvalidParameterCombination"
    api.refused(combination, lambda: run(api, NetworkInterfaces=[only], SubnetId=subnets[0]))
    api.refused(combination, lambda: run(api, NetworkInterfaces=[only], MaxCount=2))
    theirs = api.other.create_network_interface(SubnetId=api.world.other.subnet_ids[0])["NetworkInterface"]
    foreign = {"DeviceIndex": 0, "NetworkInterfaceId": theirs["NetworkInterfaceId"]}
    api.refused("InvalidNetworkInterfaceID.NotFound", lambda: run(api, NetworkInterfaces=[foreign]))
    apart = [{"DeviceIndex": number, "SubnetId": subnet} for number, subnet in enumerate(subnets[:2])]
    api.refused(combination, lambda: run(api, NetworkInterfaces=apart))
    ids = set(api.run(lambda tx: tx.session.scalars(select(NetworkInterface.id)).all()))
    assert ids == {spare, theirs["NetworkInterfaceId"]}


def test_an_existing_interface_is_not_deleted_with_the_instance(api: Api) -> None:
    only = {"DeviceIndex": 0, "NetworkInterfaceId": create(api)["NetworkInterfaceId"]}
    message = api.refused(
        "InvalidParameterCombination", lambda: run(api, NetworkInterfaces=[only | {"DeleteOnTermination": True}])
    )
    assert message == "A network interface may not specify a network interface ID and delete on termination as true"
    (one,) = interfaces(run(api, NetworkInterfaces=[only | {"DeleteOnTermination": False}]))
    assert one["Attachment"]["DeleteOnTermination"] is False


def test_an_instance_is_launched_into_two_vpcs_and_leaves_both(api: Api) -> None:
    vpc_id = api.ec2.create_vpc(CidrBlock="10.0.0.0/16")["Vpc"]["VpcId"]
    there = {"VpcId": vpc_id, "CidrBlock": "10.0.0.0/24", "AvailabilityZone": "us-east-1a"}
    subnet = api.ec2.create_subnet(**there)["Subnet"]["SubnetId"]
    existing = create(api, SubnetId=subnet)["NetworkInterfaceId"]
    answer = run(
        api,
        NetworkInterfaces=[
            {"DeviceIndex": 0, "SubnetId": api.world.one.subnet_ids[0]},
            {"DeviceIndex": 1, "SubnetId": subnet},
        ],
    )
    (instance,) = answer["Instances"]
    assert (instance["VpcId"], [one["VpcId"] for one in instance["NetworkInterfaces"]]) == (
        api.world.one.vpc_id,
        [api.world.one.vpc_id, vpc_id],
    )
    assert sent_vpcs(api) == {api.world.one.vpc_id, vpc_id}
    api.ec2.terminate_instances(InstanceIds=[instance["InstanceId"]])
    report(api, desired_pb2.KIND_MACHINE, instance["InstanceId"], pb.CONDITION_ABSENT)
    assert sent_vpcs(api) == set()
    again = run(
        api,
        NetworkInterfaces=[
            {"DeviceIndex": 0, "SubnetId": api.world.one.subnet_ids[0]},
            {"DeviceIndex": 1, "NetworkInterfaceId": existing},
        ],
    )
    assert [one["VpcId"] for one in interfaces(again)] == [api.world.one.vpc_id, vpc_id]
