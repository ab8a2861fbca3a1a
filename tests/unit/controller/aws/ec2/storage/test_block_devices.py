"""Block device mappings as requests write them, and as images show them."""

import pytest

from stead_controller.aws.ec2.storage import block_devices
from stead_controller.aws.ec2.storage.block_device_view import block_device_view
from stead_controller.db.tables import ImageBlockDevice
from stead_controller.errors import InvalidParameter, Unsupported
from stead_controller.resources.storage.block_devices import BlockDevice

EBS = {"SnapshotId": "snap-1", "VolumeSize": 9, "VolumeType": "gp3", "DeleteOnTermination": False}


@pytest.mark.parametrize(
    ("given", "read"),
    [
        ({"Ebs": EBS}, BlockDevice("sdf", "snap-1", 9, "gp3", delete_on_termination=False)),
        ({"Ebs": {"SnapshotId": "", "KmsKeyId": "", "VolumeSize": 1}}, BlockDevice("sdf", size=1)),
        ({"VirtualName": "ephemeral0"}, BlockDevice("sdf", virtual_name="ephemeral0")),
        ({"VirtualName": "sda1"}, BlockDevice("sdf", virtual_name="sda1")),
        ({"Ebs": {"VolumeSize": 1}, "VirtualName": "sda1"}, BlockDevice("sdf", size=1)),
        ({"NoDevice": "", "Ebs": EBS}, BlockDevice("sdf", no_device=True)),
    ],
)
def test_what_a_request_says(given, read):
    assert block_devices.parse([{"DeviceName": "sdf", **given}]) == (read,)


@pytest.mark.parametrize(
    ("given", "error", "code"),
    [
        ({"DeviceName": "", "Ebs": EBS}, InvalidParameter, "MissingParameter"),
        ({"DeviceName": "sdf", "Ebs": EBS, "VirtualName": "ephemeral0"}, InvalidParameter, "InvalidBlockDeviceMapping"),
        ({"DeviceName": "sdf", "Ebs": EBS | {"OutpostArn": "arn:aws:outposts"}}, Unsupported, None),
    ],
)
def test_what_is_refused(given, error, code):
    with pytest.raises(error) as refusal:
        block_devices.parse([given])
    assert refusal.value.code == code


def test_how_an_image_shows_them():
    assert block_device_view(ImageBlockDevice(device_name="sdf", no_device=True)) == {
        "DeviceName": "sdf",
        "NoDevice": "",
    }
    scratch = ImageBlockDevice(device_name="sdf", virtual_name="ephemeral0")
    assert block_device_view(scratch) == {"DeviceName": "sdf", "VirtualName": "ephemeral0"}
    disk = ImageBlockDevice(device_name="sdf", snapshot_id="snap-1", volume_size=9, encrypted=False)
    shown = block_device_view(disk)["Ebs"]
    assert (shown["SnapshotId"], shown["VolumeSize"], shown["Encrypted"]) == ("snap-1", 9, False)
