"""A host cannot fetch a block that is damaged: the attachment that waits for it ends, and all is well with the block."""

import secrets

import pytest
from botocore.exceptions import ClientError

from stead_proto.blocks import BLOCK_BYTES
from tests.api.test_ebs_direct import written
from tests.support.clients import FAST
from tests.support.waiting import wait_for

pytestmark = pytest.mark.story


def test_an_attachment_ends_whose_volume_cannot_be_made(own_cloud):
    cloud = own_cloud(hosts=1)
    account, image_id = cloud.first_account, cloud.add_image()
    ec2, ebs = account.ec2, account.client("ebs")
    before = set((cloud.settings.controller_dir / "blocks").rglob("*.*"))
    snapshot_id = ebs.start_snapshot(VolumeSize=1)["SnapshotId"]
    ebs.put_snapshot_block(SnapshotId=snapshot_id, **written(0, secrets.token_bytes(BLOCK_BYTES)))
    ebs.complete_snapshot(SnapshotId=snapshot_id, ChangedBlocksCount=1)
    (path,) = set((cloud.settings.controller_dir / "blocks").rglob("*.*")) - before
    ec2.get_waiter("snapshot_completed").wait(SnapshotIds=[snapshot_id], WaiterConfig=FAST)
    launch = {"ImageId": image_id, "InstanceType": "t3.micro", "MinCount": 1, "MaxCount": 1}
    (instance,) = ec2.run_instances(**launch)["Instances"]
    instance_id, zone = instance["InstanceId"], instance["Placement"]["AvailabilityZone"]
    ec2.get_waiter("instance_running").wait(InstanceIds=[instance_id], WaiterConfig=FAST)
    volume_id = ec2.create_volume(SnapshotId=snapshot_id, AvailabilityZone=zone)["VolumeId"]

    def attachments():
        (volume,) = ec2.describe_volumes(VolumeIds=[volume_id])["Volumes"]
        return volume["State"], [each["State"] for each in volume["Attachments"]]

    def health():
        (volume,) = ec2.describe_volume_status(VolumeIds=[volume_id])["VolumeStatuses"]
        (snapshot,) = ec2.describe_snapshots(SnapshotIds=[snapshot_id])["Snapshots"]
        return volume["VolumeStatus"]["Status"], snapshot["State"]

    def flip():
        content = path.read_bytes()
        path.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
        return cloud.operator.scrub_blocks(lambda _progress: None)

    # Simulated hosts have sizes without bytes, so that one cannot fetch is said to it.
    (host,) = cloud.let_happen(do="hosts")["hosts"]
    cloud.let_happen(do="fail_next", host=host, name="bases.ensure", error="DATA_LOSS: block", times=1000)
    ec2.attach_volume(VolumeId=volume_id, InstanceId=instance_id, Device="/dev/sdf")
    assert attachments() == ("in-use", ["attaching"])
    found = flip()
    assert [list(each.snapshot_ids) for each in found.damaged] == [[snapshot_id]]
    wait_for(lambda: attachments() == ("available", []), "the attachment has ended", 60)
    assert health() == ("impaired", "error")
    with pytest.raises(ClientError, match="IncorrectState"):
        ec2.attach_volume(VolumeId=volume_id, InstanceId=instance_id, Device="/dev/sdf")
    (guest,) = ec2.describe_instances(InstanceIds=[instance_id])["Reservations"][0]["Instances"]
    assert guest["State"]["Name"] == "running"
    flip()
    assert health() == ("ok", "completed")
    flip()
    ec2.delete_volume(VolumeId=volume_id)
    ec2.get_waiter("volume_deleted").wait(VolumeIds=[volume_id], WaiterConfig=FAST)
    ec2.delete_snapshot(SnapshotId=snapshot_id)
