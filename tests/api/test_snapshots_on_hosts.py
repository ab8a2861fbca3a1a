"""Snapshots that simulated hosts take."""

from tests.support.clients import FAST
from tests.support.waiting import wait_for


def state(account, snapshot_id):
    (found,) = account.ec2.describe_snapshots(SnapshotIds=[snapshot_id])["Snapshots"]
    return found["State"], found["Progress"]


def test_an_instances_volumes_are_snapshot_and_made_again(account, image_id):
    ec2 = account.ec2
    data = {"DeviceName": "/dev/sdf", "Ebs": {"VolumeSize": 2}}
    (instance,) = ec2.run_instances(
        ImageId=image_id, InstanceType="t3.micro", MinCount=1, MaxCount=1, BlockDeviceMappings=[data]
    )["Instances"]
    instance_id = instance["InstanceId"]
    ec2.get_waiter("instance_running").wait(InstanceIds=[instance_id], WaiterConfig=FAST)
    made = ec2.create_snapshots(InstanceSpecification={"InstanceId": instance_id})["Snapshots"]
    assert len(made) == 2
    for snapshot in made:
        wait_for(
            lambda snapshot=snapshot: state(account, snapshot["SnapshotId"]) == ("completed", "100%"),
            "the snapshot is complete",
            20,
        )
    of_data = next(one["SnapshotId"] for one in made if one["VolumeSize"] == 2)
    volume = ec2.create_volume(SnapshotId=of_data, AvailabilityZone=instance["Placement"]["AvailabilityZone"])
    again = ec2.create_snapshot(VolumeId=volume["VolumeId"])["SnapshotId"]
    assert state(account, again) == ("completed", "100%")  # it has no disk yet: it is as its snapshot
    ec2.attach_volume(VolumeId=volume["VolumeId"], InstanceId=instance_id, Device="/dev/sdg")
    ec2.get_waiter("volume_in_use").wait(VolumeIds=[volume["VolumeId"]], WaiterConfig=FAST)
    # Deleted, it is gone for everybody, but not for the volume that is laid over it.
    ec2.delete_snapshot(SnapshotId=of_data)
    taken = ec2.create_snapshot(VolumeId=volume["VolumeId"])["SnapshotId"]
    wait_for(lambda: state(account, taken) == ("completed", "100%"), "the second volume's snapshot is complete", 20)
    ec2.terminate_instances(InstanceIds=[instance_id])
    ec2.get_waiter("instance_terminated").wait(InstanceIds=[instance_id], WaiterConfig=FAST)
    ec2.delete_volume(VolumeId=volume["VolumeId"])
