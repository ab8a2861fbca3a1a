"""What is stored of a request for Spot Instances: its launch, and what filters compare."""

from dataclasses import replace
from decimal import Decimal

import pytest

from stead_controller.aws.ec2.fleet import spot_launch
from stead_controller.errors import InvalidCombination, InvalidParameter, SteadError, Unsupported

SPECIFICATION = {
    "ImageId": "ami-1",
    "InstanceType": "t3.nano",
    "KeyName": "me",
    "Monitoring": {"Enabled": True},
    "Placement": {"AvailabilityZone": "us-east-1b", "GroupName": "g", "Tenancy": "default"},
    "SecurityGroupIds": ["sg-1", "sg-2"],
    "SecurityGroups": ["mine"],
    "UserData": "eA==",
    "BlockDeviceMappings": [
        {"DeviceName": "/dev/sdf", "Ebs": {"VolumeSize": 7, "VolumeType": "gp3", "DeleteOnTermination": False}},
        {"DeviceName": "/dev/sdg", "Ebs": {"SnapshotId": "snap-1"}},
        {"DeviceName": "/dev/sdh", "VirtualName": "ephemeral0"},
    ],
}
INTERFACES = [
    {
        "DeviceIndex": 0,
        "SubnetId": "subnet-1",
        "Groups": ["sg-3"],
        "Description": "It",
        "DeleteOnTermination": True,
        "PrivateIpAddress": "10.0.0.9",
    },
    {"DeviceIndex": 1, "NetworkInterfaceId": "eni-1"},
]


def test_the_launch_that_was_stored_is_the_one_that_was_asked_for():
    params = {"LaunchSpecification": SPECIFICATION, "InstanceCount": 3}
    wanted = spot_launch.wanted(params)
    launch = spot_launch.read(wanted.specification, 3)
    assert replace(launch, digest="", tags={}) == replace(wanted.launch, digest="", tags={})
    assert (launch.image_id, launch.min_count, launch.max_count, launch.spot) == ("ami-1", 1, 3, True)
    assert (launch.zone, launch.group.name, launch.user_data) == ("us-east-1b", "g", b"x")
    assert (launch.group_ids, launch.group_names, launch.monitoring) == (("sg-1", "sg-2"), ("mine",), True)
    assert wanted.count == 3
    assert spot_launch.wanted({"LaunchSpecification": {"ImageId": "ami-1"}}).count == 1


def test_what_filters_compare():
    wanted = spot_launch.wanted({"LaunchSpecification": SPECIFICATION})
    mapping = "launch.block-device-mapping"
    assert wanted.values == {
        ("launch.image-id", "ami-1"),
        ("launch.instance-type", "t3.nano"),
        ("launch.key-name", "me"),
        ("launch.monitoring-enabled", "true"),
        ("launch.group-id", "sg-1"),
        ("launch.group-id", "sg-2"),
        ("launch.group-name", "mine"),
        (f"{mapping}.device-name", "/dev/sdf"),
        (f"{mapping}.device-name", "/dev/sdg"),
        (f"{mapping}.device-name", "/dev/sdh"),
        (f"{mapping}.volume-size", "7"),
        (f"{mapping}.volume-type", "gp3"),
        (f"{mapping}.delete-on-termination", "false"),
        (f"{mapping}.snapshot-id", "snap-1"),
    }
    few = spot_launch.wanted({"LaunchSpecification": {"ImageId": "ami-1", "NetworkInterfaces": INTERFACES}})
    assert few.values == {
        ("launch.image-id", "ami-1"),
        ("launch.instance-type", "t3.micro"),
        ("launch.monitoring-enabled", "false"),
        ("network-interface.delete-on-termination", "true"),
        ("network-interface.description", "It"),
        ("network-interface.device-index", "0"),
        ("network-interface.device-index", "1"),
        ("network-interface.group-id", "sg-3"),
        ("network-interface.network-interface-id", "eni-1"),
        ("network-interface.private-ip-address", "10.0.0.9"),
        ("network-interface.subnet-id", "subnet-1"),
    }


def test_the_most_that_it_may_cost_is_of_each_launch():
    found = spot_launch.wanted({"LaunchSpecification": SPECIFICATION, "SpotPrice": "0.1"})
    assert (found.launch.max_price, spot_launch.read(found.specification, 3).max_price) == (Decimal("0.1"),) * 2
    without = spot_launch.wanted({"LaunchSpecification": SPECIFICATION, "SpotPrice": ""})
    assert (without.launch.max_price, "SpotPrice" in without.specification) == (None, False)


def test_persistent_is_what_is_asked_for():
    kinds = (None, "one-time", "persistent")
    found = [spot_launch.wanted({"LaunchSpecification": SPECIFICATION, "Type": kind}).persistent for kind in kinds]
    assert found == [False, False, True]


@pytest.mark.parametrize(
    ("asked", "kind", "named"),
    [
        ({"Type": "daily"}, InvalidParameter, "daily"),
        ({"InstanceInterruptionBehavior": "stop"}, InvalidCombination, "'stop'"),
        ({"Type": "persistent", "InstanceInterruptionBehavior": "stop"}, Unsupported, "stop"),
        ({"LaunchSpecification": {"Placement": {"Tenancy": "dedicated"}}}, Unsupported, "dedicated"),
        ({"TagSpecifications": [{"ResourceType": "instance"}]}, InvalidParameter, "instance"),
    ],
)
def test_what_cannot_be_had_is_refused_by_name(asked, kind, named):
    with pytest.raises(SteadError, match=named) as refused:
        spot_launch.check(asked)
    assert type(refused.value) is kind


@pytest.mark.parametrize(
    "asked", [{}, {"Type": "one-time"}, {"Type": "persistent", "LaunchSpecification": SPECIFICATION}]
)
def test_what_can_be_had_is_not_refused(asked):
    spot_launch.check(asked)
