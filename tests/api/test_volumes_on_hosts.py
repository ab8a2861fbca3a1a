"""Volumes of a whole cloud with simulated hosts, as a user sees them: hosts settle what was asked."""

from typing import Any

import pytest

from tests.support.clients import FAST, Account
from tests.support.waiting import wait_for


def shown(ec2: Any, volume_id: str) -> dict[str, Any]:
    (volume,) = ec2.describe_volumes(VolumeIds=[volume_id])["Volumes"]
    return volume


def is_absent(ec2: Any, volume_id: str) -> bool:
    found = ec2.describe_volumes(Filters=[{"Name": "volume-id", "Values": [volume_id]}])
    return found["Volumes"] == []


def is_attached(ec2: Any, volume_id: str) -> bool:
    attachments = shown(ec2, volume_id)["Attachments"]
    return bool(attachments) and attachments[0]["State"] == "attached"


@pytest.fixture
def launch(account: Account, image_id: str):
    """Launch running instances, which are terminated after the test."""
    ec2, made = account.ec2, []

    def run(count: int = 1, **params: Any) -> list[str]:
        asked = {"ImageId": image_id, "InstanceType": "stead.tiny", "MinCount": count, "MaxCount": count} | params
        found = [one["InstanceId"] for one in ec2.run_instances(**asked)["Instances"]]
        made.extend(found)
        ec2.get_waiter("instance_running").wait(InstanceIds=found, WaiterConfig=FAST)
        return found

    yield run
    ec2.terminate_instances(InstanceIds=made)
    ec2.get_waiter("instance_terminated").wait(InstanceIds=made, WaiterConfig=FAST)


@pytest.fixture
def volume_id(account: Account):
    """A blank gp3 volume of 2 GiB, deleted after the test."""
    ec2 = account.ec2
    made = ec2.create_volume(AvailabilityZone="us-east-1a", Size=2, VolumeType="gp3")["VolumeId"]
    yield made
    ec2.get_waiter("volume_available").wait(VolumeIds=[made], WaiterConfig=FAST)
    ec2.delete_volume(VolumeId=made)
    wait_for(lambda: is_absent(ec2, made), "the volume is gone")


def test_a_volume_goes_from_instance_to_instance(account, launch, volume_id):
    """On whichever hosts these are: another host than the volume's home is served by it."""
    ec2 = account.ec2
    for number, instance_id in enumerate(launch(4)):
        ec2.attach_volume(VolumeId=volume_id, InstanceId=instance_id, Device="/dev/sdf")
        wait_for(lambda: is_attached(ec2, volume_id), "the volume is attached")
        ec2.detach_volume(VolumeId=volume_id, Force=number == 2)
        wait_for(lambda: shown(ec2, volume_id)["State"] == "available", "the volume is free")


def test_a_volume_grows_while_its_instance_runs(account, launch, volume_id):
    ec2 = account.ec2
    (instance_id,) = launch()
    ec2.attach_volume(VolumeId=volume_id, InstanceId=instance_id, Device="/dev/sdf")
    wait_for(lambda: is_attached(ec2, volume_id), "the volume is attached")
    ec2.modify_volume(VolumeId=volume_id, Size=5)

    def modification() -> str:
        (found,) = ec2.describe_volumes_modifications(VolumeIds=[volume_id])["VolumesModifications"]
        return str(found["ModificationState"])

    wait_for(lambda: modification() == "completed", "the volume has grown")
    ec2.detach_volume(VolumeId=volume_id)


def test_termination_deletes_volumes_by_their_setting(account, launch, volume_id):
    ec2 = account.ec2
    mapping = [
        {"DeviceName": "/dev/sdf", "Ebs": {"VolumeSize": 1}},
        {"DeviceName": "/dev/sdg", "Ebs": {"VolumeSize": 1, "DeleteOnTermination": False}},
    ]
    (instance_id,) = launch(BlockDeviceMappings=mapping)
    mine = [{"Name": "attachment.instance-id", "Values": [instance_id]}]
    found = ec2.describe_volumes(Filters=mine)["Volumes"]
    volumes = {volume["Attachments"][0]["Device"]: volume["VolumeId"] for volume in found}
    wait_for(lambda: all(is_attached(ec2, each) for each in volumes.values()), "all are attached")
    ec2.attach_volume(VolumeId=volume_id, InstanceId=instance_id, Device="/dev/sdh")
    ec2.terminate_instances(InstanceIds=[instance_id])
    remaining = volumes.pop("/dev/sdg")
    wait_for(lambda: all(is_absent(ec2, each) for each in volumes.values()), "the others end with their instance")
    assert shown(ec2, remaining)["State"] == "available"
    ec2.delete_volume(VolumeId=remaining)
    wait_for(lambda: is_absent(ec2, remaining), "the remaining one is deleted")


def test_another_root_volume(account, launch):
    ec2 = account.ec2
    first, second = launch(2)
    ec2.stop_instances(InstanceIds=[first, second])
    ec2.get_waiter("instance_stopped").wait(InstanceIds=[first, second], WaiterConfig=FAST)
    (root,) = ec2.describe_volumes(Filters=[{"Name": "attachment.instance-id", "Values": [second]}])["Volumes"]
    (old,) = ec2.describe_volumes(Filters=[{"Name": "attachment.instance-id", "Values": [first]}])["Volumes"]
    for each in (root, old):
        ec2.detach_volume(VolumeId=each["VolumeId"])
    free = [root["VolumeId"], old["VolumeId"]]
    ec2.get_waiter("volume_available").wait(VolumeIds=free, WaiterConfig=FAST)
    device = root["Attachments"][0]["Device"]
    ec2.attach_volume(VolumeId=root["VolumeId"], InstanceId=first, Device=device)
    ec2.start_instances(InstanceIds=[first])
    ec2.get_waiter("instance_running").wait(InstanceIds=[first], WaiterConfig=FAST)
    wait_for(lambda: is_attached(ec2, root["VolumeId"]), "the other root volume is attached")
    ec2.delete_volume(VolumeId=old["VolumeId"])
    ec2.terminate_instances(InstanceIds=[first])
    ec2.get_waiter("volume_available").wait(VolumeIds=[root["VolumeId"]], WaiterConfig=FAST)
    ec2.delete_volume(VolumeId=root["VolumeId"])
    wait_for(lambda: is_absent(ec2, root["VolumeId"]), "it outlived its instance, not its deletion")
