"""Snapshots as EC2 shows them, and who may make volumes of them."""

from stead_controller.aws.ec2.storage.snapshot_view import permissions_view, snapshot_of_set_view, snapshot_view
from stead_controller.request.owners import CLOUD_ACCOUNT
from stead_controller.resources.storage.snapshot_attributes import VolumePermissions
from stead_controller.resources.storage.snapshots import DescribedSnapshot
from tests.support import rows


def described(account_id, tags=(), **changes):
    snapshot = rows.snapshot(account_id, **{"state_message": ""} | changes)
    return DescribedSnapshot(snapshot, "pending", 40, None, None, tags)


def test_one_of_an_account():
    shown = snapshot_view(described("111111111111", volume_size=8))
    assert (shown["OwnerId"], shown["OwnerAlias"], shown["VolumeSize"]) == ("111111111111", None, 8)
    assert (shown["State"], shown["Progress"], shown["StateMessage"]) == ("pending", "40%", None)
    assert (shown["CompletionTime"], shown["FullSnapshotSizeInBytes"], shown["Tags"]) == (None, None, [])


def test_one_of_the_cloud():
    shown = snapshot_view(described(CLOUD_ACCOUNT, [("a", "1")], state_message="why"))
    assert (shown["OwnerAlias"], shown["StateMessage"]) == ("amazon", "why")
    assert shown["Tags"] == [{"Key": "a", "Value": "1"}]


def test_what_is_known_to_ec2_of_one_of_a_set():
    shown = snapshot_of_set_view(described("111111111111"))
    assert (shown["State"], shown["Progress"]) == ("pending", "40%")
    assert not {"StorageTier", "TransferType", "KmsKeyId", "CompletionTime"} & set(shown)


def test_who_may_make_volumes_of_it():
    shown = permissions_view("snap-1", VolumePermissions(True, ["111111111111"]))
    assert shown["CreateVolumePermissions"] == [{"Group": "all"}, {"UserId": "111111111111"}]
    assert permissions_view("snap-1", VolumePermissions(False, []))["CreateVolumePermissions"] == []
