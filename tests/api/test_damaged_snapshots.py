"""A block of a snapshot is damaged, and sound again: what clients see, through boto3."""

import asyncio
import secrets

import pytest
from botocore.exceptions import ClientError

from stead_controller.blocks.scrub import scrub
from stead_controller.clock import now
from stead_controller.resources.storage.snapshot_damage import MESSAGE, OF_IMAGE
from stead_proto.blocks import BLOCK_BYTES
from tests.api.test_ebs_direct import compose, ebs, write

__all__ = ["compose", "ebs", "write"]


@pytest.fixture
def check(api):
    """Check all blocks."""

    async def work():
        async for _ in scrub(api.database, api.blocks, api.blocks._files, now):
            pass

    return lambda: asyncio.run(work())


@pytest.fixture
def flip(api):
    """Flip a byte of each block, or back."""

    def change():
        for one in api.blocks._files.list_all():
            path = api.blocks._files._folder / one.name.path
            content = path.read_bytes()
            path.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))

    return change


def test_all_that_needs_a_damaged_block_says_so_until_it_is_sound(api, ebs, write, check, flip):
    snapshot_id = write({0: secrets.token_bytes(BLOCK_BYTES)})
    image_id = api.ec2.register_image(
        Name="mine",
        RootDeviceName="/dev/sda1",
        BlockDeviceMappings=[{"DeviceName": "/dev/sda1", "Ebs": {"SnapshotId": snapshot_id}}],
    )["ImageId"]
    made = {"SnapshotId": snapshot_id, "AvailabilityZone": "us-east-1a"}
    launch = {"ImageId": image_id, "InstanceType": "t3.micro", "MinCount": 1, "MaxCount": 1}
    volume_id = api.ec2.create_volume(**made)["VolumeId"]
    instance_id = api.launch()

    def shown():
        (snapshot,) = api.ec2.describe_snapshots(SnapshotIds=[snapshot_id])["Snapshots"]
        (image,) = api.ec2.describe_images(ImageIds=[image_id])["Images"]
        (volume,) = api.ec2.describe_volume_status(VolumeIds=[volume_id])["VolumeStatuses"]
        found = api.ec2.describe_snapshots(Filters=[{"Name": "status", "Values": ["error"]}])["Snapshots"]
        return (
            (snapshot["State"], snapshot.get("StateMessage"), len(found)),
            (image["State"], image.get("StateReason", {}).get("Message")),
            (volume["VolumeStatus"]["Status"], [event["EventType"] for event in volume["Events"]]),
        )

    sound = (("completed", None, 0), ("available", None), ("ok", []))
    assert shown() == sound
    flip()
    check()
    assert shown() == (("error", MESSAGE, 1), ("error", OF_IMAGE), ("impaired", ["potential-data-inconsistency"]))
    api.refused("IncorrectState", api.ec2.create_volume, **made)
    api.refused("InvalidAMIID.Unavailable", api.ec2.run_instances, **launch)
    api.refused("IncorrectState", api.ec2.attach_volume, VolumeId=volume_id, InstanceId=instance_id, Device="/dev/sdf")
    api.refused("ValidationException", ebs.list_snapshot_blocks, SnapshotId=snapshot_id)
    flip()
    check()
    assert shown() == sound
    assert api.ec2.create_volume(**made)["State"] == "creating"


def test_who_reads_a_damaged_block_is_refused(api, ebs, write, flip):
    snapshot_id = write({0: secrets.token_bytes(BLOCK_BYTES)})
    (block,) = ebs.list_snapshot_blocks(SnapshotId=snapshot_id)["Blocks"]
    flip()
    with pytest.raises(ClientError) as refusal:
        ebs.get_snapshot_block(SnapshotId=snapshot_id, BlockIndex=0, BlockToken=block["BlockToken"])
    assert refusal.value.response["Error"]["Code"] == "ValidationException"
    (shown,) = api.ec2.describe_snapshots(SnapshotIds=[snapshot_id])["Snapshots"]
    assert shown["State"] == "error"
