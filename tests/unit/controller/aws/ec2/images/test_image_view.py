"""Images as EC2 shows them, with what tools read."""

import pytest

from stead_controller.aws.ec2.images.image_view import attribute_view, image_view, permissions_view
from stead_controller.request.owners import CLOUD_ACCOUNT
from stead_controller.resources.images.image_attributes import Permissions
from stead_controller.resources.images.images import DescribedImage
from tests.support import rows


def view(region=None, tags=(), **changes):
    image = rows.image(**changes)
    return image_view(DescribedImage(image, [rows.image_device(image)], region, tags))


def test_what_tools_read():
    shown = view(account_id=CLOUD_ACCOUNT, name="micro-1")
    assert (shown["OwnerId"], shown["ImageOwnerAlias"]) == (CLOUD_ACCOUNT, "amazon")
    assert shown["ImageLocation"] == "amazon/micro-1"
    assert shown["CreationDate"] == "2026-03-04T05:06:07.089Z"
    assert shown["BlockDeviceMappings"][0]["Ebs"]["VolumeSize"] == 2
    assert shown["RootDeviceName"] == shown["BlockDeviceMappings"][0]["DeviceName"]
    assert (shown["StateReason"], shown["DeprecationTime"], shown["SourceImageRegion"]) == (None, None, None)
    assert shown["Tags"] is None


def test_one_of_an_account():
    shown = view("eu-1", [("Name", "web")], account_id="111111111111", name="mine", deprecate_at=rows.NOW)
    assert (shown["ImageOwnerAlias"], shown["ImageLocation"]) == (None, "111111111111/mine")
    assert shown["DeprecationTime"] == "2026-03-04T05:06:07.089Z"
    assert (shown["SourceImageRegion"], shown["Tags"]) == ("eu-1", [{"Key": "Name", "Value": "web"}])


@pytest.mark.parametrize(
    ("state", "code"),
    [("error", "Server.InternalError"), ("failed", "Client.ImageFailed"), ("pending", "Client.Pending")],
)
def test_the_reason_of_a_state(state, code):
    assert view(state=state, state_reason="why")["StateReason"] == {"Code": code, "Message": "why"}


def test_attributes():
    image = rows.image(description="web", boot_mode="uefi", sriov_net_support="", imds_support="v2.0")
    assert attribute_view(image, "description") == {"ImageId": image.id, "Description": {"Value": "web"}}
    assert attribute_view(image, "bootMode")["BootMode"] == {"Value": "uefi"}
    assert attribute_view(image, "imdsSupport")["ImdsSupport"] == {"Value": "v2.0"}
    assert attribute_view(image, "sriovNetSupport") == {"ImageId": image.id}
    assert attribute_view(image, "kernel") == {"ImageId": image.id}


def test_who_may_launch_it():
    shown = permissions_view("ami-1", Permissions(("111111111111",), all=True))
    assert shown["LaunchPermissions"] == [{"Group": "all"}, {"UserId": "111111111111"}]
    assert permissions_view("ami-1", Permissions())["LaunchPermissions"] == []
