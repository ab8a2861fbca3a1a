"""Blocking of public images and snapshots through boto3: what is refused, what stays public, what is private meanwhile."""

import pytest

from tests.api.test_images import make_snapshot, register

ALL = {"CreateVolumePermission": {"Add": [{"Group": "all"}]}}


@pytest.fixture
def snapshot_id(api):
    return make_snapshot(api)


def permissions(api, snapshot_id):
    described = api.ec2.describe_snapshot_attribute(SnapshotId=snapshot_id, Attribute="createVolumePermission")
    return described["CreateVolumePermissions"]


def seen_by_others(api, snapshot_id):
    pages = api.other.get_paginator("describe_snapshots").paginate(OwnerIds=[api.world.one.caller.account_id])
    return snapshot_id in [each["SnapshotId"] for page in pages for each in page["Snapshots"]]


def test_nothing_is_blocked_at_first_and_the_setting_is_an_accounts_own(api):
    state = api.ec2.get_image_block_public_access_state()
    assert (state["ImageBlockPublicAccessState"], state["ManagedBy"]) == ("unblocked", "account")
    state = api.ec2.get_snapshot_block_public_access_state()
    assert (state["State"], state["ManagedBy"]) == ("unblocked", "account")
    api.ec2.enable_image_block_public_access(ImageBlockPublicAccessState="block-new-sharing")
    api.ec2.enable_snapshot_block_public_access(State="block-all-sharing")
    assert api.ec2.get_image_block_public_access_state()["ImageBlockPublicAccessState"] == "block-new-sharing"
    assert api.ec2.get_snapshot_block_public_access_state()["State"] == "block-all-sharing"
    assert api.other.get_image_block_public_access_state()["ImageBlockPublicAccessState"] == "unblocked"
    assert api.other.get_snapshot_block_public_access_state()["State"] == "unblocked"


def test_images_are_not_made_public_while_that_is_blocked(api, snapshot_id):
    open_one, image_id = register(api, snapshot_id), register(api, snapshot_id, "another")
    everybody = {"LaunchPermission": {"Add": [{"Group": "all"}]}}
    api.ec2.modify_image_attribute(ImageId=open_one, **everybody)
    api.ec2.enable_image_block_public_access(ImageBlockPublicAccessState="block-new-sharing")
    api.refused("OperationNotPermitted", api.ec2.modify_image_attribute, ImageId=image_id, **everybody)
    other = {"UserId": api.world.other.caller.account_id}
    api.ec2.modify_image_attribute(ImageId=image_id, LaunchPermission={"Add": [other]})
    shown = api.other.describe_images(ImageIds=[open_one, image_id])["Images"]
    assert {each["ImageId"]: each["Public"] for each in shown} == {open_one: True, image_id: False}
    assert api.ec2.disable_image_block_public_access()["ImageBlockPublicAccessState"] == "unblocked"
    api.ec2.modify_image_attribute(ImageId=image_id, **everybody)


def test_snapshots_that_are_public_stay_so_while_new_ones_are_blocked(api, snapshot_id):
    api.ec2.modify_snapshot_attribute(SnapshotId=snapshot_id, **ALL)
    api.ec2.enable_snapshot_block_public_access(State="block-new-sharing")
    assert seen_by_others(api, snapshot_id)
    api.refused("OperationNotPermitted", api.ec2.modify_snapshot_attribute, SnapshotId=make_snapshot(api), **ALL)


def test_snapshots_that_are_public_are_private_while_all_are_blocked(api, snapshot_id):
    api.ec2.modify_snapshot_attribute(SnapshotId=snapshot_id, **ALL)
    api.ec2.enable_snapshot_block_public_access(State="block-all-sharing")
    assert permissions(api, snapshot_id) == [{"Group": "all"}]
    assert not seen_by_others(api, snapshot_id)
    zone = api.ec2.describe_availability_zones()["AvailabilityZones"][0]["ZoneName"]
    params = {"SnapshotId": snapshot_id, "AvailabilityZone": zone}
    api.refused("InvalidSnapshot.NotFound", api.other.create_volume, **params)
    api.refused("OperationNotPermitted", api.ec2.modify_snapshot_attribute, SnapshotId=make_snapshot(api), **ALL)
    assert api.ec2.disable_snapshot_block_public_access()["State"] == "unblocked"
    assert seen_by_others(api, snapshot_id)
    assert api.other.create_volume(**params)["SnapshotId"] == snapshot_id


def test_what_is_taken_back_while_all_are_blocked_is_not_public_afterwards(api, snapshot_id):
    another = make_snapshot(api)
    for each in (snapshot_id, another):
        api.ec2.modify_snapshot_attribute(SnapshotId=each, **ALL)
    api.ec2.enable_snapshot_block_public_access(State="block-all-sharing")
    api.ec2.modify_snapshot_attribute(SnapshotId=snapshot_id, CreateVolumePermission={"Remove": [{"Group": "all"}]})
    api.ec2.reset_snapshot_attribute(SnapshotId=another, Attribute="createVolumePermission")
    api.ec2.disable_snapshot_block_public_access()
    for each in (snapshot_id, another):
        assert permissions(api, each) == []
        assert not seen_by_others(api, each)


@pytest.mark.parametrize("state", ["unblocked", "block", "BLOCK-ALL-SHARING"])
def test_a_state_that_is_none_is_refused(api, state):
    api.refused("InvalidParameterValue", api.ec2.enable_snapshot_block_public_access, State=state)
    params = {"ImageBlockPublicAccessState": state}
    api.refused("InvalidParameterValue", api.ec2.enable_image_block_public_access, **params)
