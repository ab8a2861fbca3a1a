"""Attributes of volumes by EC2's names of them."""

import pytest

from stead_controller.aws.ec2.storage.volume_view import attribute_view
from stead_controller.errors import InvalidParameter
from stead_controller.resources.storage.volume_status import VolumeAttributes


def test_attributes():
    known = VolumeAttributes("vol-1", auto_enable_io=True)
    assert attribute_view(known, "autoEnableIO") == {"VolumeId": "vol-1", "AutoEnableIO": {"Value": True}}
    assert attribute_view(known, "productCodes") == {"VolumeId": "vol-1", "ProductCodes": []}
    with pytest.raises(InvalidParameter, match="Unknown attribute"):
        attribute_view(known, "colour")
