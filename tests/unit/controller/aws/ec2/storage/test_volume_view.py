"""Volumes as EC2 shows them, and their attributes by EC2's names."""

import pytest

from stead_controller.aws.ec2.storage.volume_view import attribute_view, volume_view
from stead_controller.db.tables import Volume
from stead_controller.errors import InvalidParameter
from stead_controller.resources.storage.volume_status import VolumeAttributes
from stead_controller.resources.storage.volumes import DescribedVolume


def test_attributes():
    known = VolumeAttributes("vol-1", auto_enable_io=True)
    assert attribute_view(known, "autoEnableIO") == {"VolumeId": "vol-1", "AutoEnableIO": {"Value": True}}
    assert attribute_view(known, "productCodes") == {"VolumeId": "vol-1", "ProductCodes": []}
    with pytest.raises(InvalidParameter, match="Unknown attribute"):
        attribute_view(known, "colour")


def test_one_that_is_attached_and_one_that_is_not():
    loose = volume_view(DescribedVolume(Volume(id="vol-1", snapshot_id=None), "creating", "use1-az1", ()))
    assert (loose["State"], loose["AvailabilityZoneId"], loose["SnapshotId"]) == ("creating", "use1-az1", "")
    assert (loose["Attachments"], loose["Tags"]) == ([], None)
    attached = Volume(id="vol-2", instance_id="i-1", device_name="/dev/sdf", snapshot_id="snap-1")
    shown = volume_view(DescribedVolume(attached, "in-use", None, [("Name", "data")]))
    assert [(one["InstanceId"], one["Device"]) for one in shown["Attachments"]] == [("i-1", "/dev/sdf")]
    assert (shown["SnapshotId"], shown["Tags"]) == ("snap-1", [{"Key": "Name", "Value": "data"}])
