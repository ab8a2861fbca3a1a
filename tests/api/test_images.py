"""Images made of snapshots, and what becomes of them, through boto3."""

import pytest

from tests.support import rows

ABSENT = "ami-00000000000000000"
UEFI_DATA = "eA=="  # which is refused before it is read


@pytest.fixture
def snapshot_id(api):
    """A completed snapshot of the first tenant, 8 GiB."""
    return make_snapshot(api)


def make_snapshot(api, **changes):
    def add(tx):
        row = rows.snapshot(changes.pop("account_id", api.world.one.caller.account_id), **changes)
        tx.session.add(row)
        return row.id

    return api.run(add)


def devices(snapshot_id, **ebs):
    return [{"DeviceName": "/dev/sda1", "Ebs": {"SnapshotId": snapshot_id, **ebs}}]


def register(api, snapshot_id, name="mine", **changes):
    params = {"Name": name, "BlockDeviceMappings": devices(snapshot_id), "RootDeviceName": "/dev/sda1"}
    return api.ec2.register_image(**params | changes)["ImageId"]


def the_image(client, image_id, **asked):
    (image,) = client.describe_images(ImageIds=[image_id], **asked)["Images"]
    return image


def test_an_image_is_what_was_registered(api, snapshot_id):
    mappings = [
        *devices(snapshot_id, VolumeSize=20, VolumeType="gp3", Iops=4000, Throughput=250, DeleteOnTermination=False),
        {"DeviceName": "/dev/sdb", "Ebs": {"VolumeSize": 5, "VolumeType": "gp2"}},
        {"DeviceName": "/dev/sdc", "VirtualName": "ephemeral0"},
        {"DeviceName": "/dev/sdd", "NoDevice": ""},
    ]
    image_id = register(
        api,
        snapshot_id,
        "all of it",
        BlockDeviceMappings=mappings,
        Architecture="x86_64",
        Description="d",
        BootMode="uefi",
        EnaSupport=True,
        ImdsSupport="v2.0",
        TpmSupport="v2.0",
        SriovNetSupport="simple",
        VirtualizationType="hvm",
        TagSpecifications=[{"ResourceType": "image", "Tags": [{"Key": "a", "Value": "b"}]}],
    )
    image = the_image(api.ec2, image_id)
    root, blank, scratch, none = image["BlockDeviceMappings"]
    assert root["Ebs"] == {
        "SnapshotId": snapshot_id,
        "VolumeSize": 20,
        "VolumeType": "gp3",
        "Iops": 4000,
        "Throughput": 250,
        "DeleteOnTermination": False,
        "Encrypted": False,
    }
    assert blank["Ebs"] == {"VolumeSize": 5, "VolumeType": "gp2", "DeleteOnTermination": True, "Encrypted": False}
    assert scratch == {"DeviceName": "/dev/sdc", "VirtualName": "ephemeral0"}
    assert none["DeviceName"] == "/dev/sdd"
    assert "Ebs" not in none
    shown = {
        name: image[name]
        for name in ("State", "BootMode", "EnaSupport", "ImdsSupport", "Description", "Public", "OwnerId", "Tags")
    }
    assert shown == {
        "State": "available",
        "BootMode": "uefi",
        "EnaSupport": True,
        "ImdsSupport": "v2.0",
        "Description": "d",
        "Public": False,
        "OwnerId": api.world.one.caller.account_id,
        "Tags": [{"Key": "a", "Value": "b"}],
    }


@pytest.mark.parametrize(
    ("code", "changes"),
    [
        ("InvalidAMIName.Malformed", {"Name": "with*star"}),
        ("InvalidParameterValue", {"Name": "x" * 129}),
        ("InvalidAMIName.Duplicate", {"Name": "taken"}),
        ("InvalidParameterValue", {"Architecture": "i386"}),
        ("InvalidParameterCombination", {"Architecture": "arm64", "BootMode": "legacy-bios"}),
        ("UnsupportedOperation", {"Architecture": "arm64", "UefiData": UEFI_DATA}),
        ("InvalidParameterValue", {"ImdsSupport": "v1.0"}),
        ("InvalidParameterValue", {"SriovNetSupport": "complex"}),
        ("UnsupportedOperation", {"VirtualizationType": "paravirtual"}),
        ("InvalidParameterCombination", {"TpmSupport": "v2.0"}),
        ("InvalidParameterCombination", {"TpmSupport": "v2.0", "BootMode": "uefi-preferred"}),
        ("InvalidParameterValue", {"TpmSupport": "v1.2", "BootMode": "uefi"}),
        ("UnsupportedOperation", {"ImageLocation": "bucket/manifest.xml"}),
        ("UnsupportedOperation", {"KernelId": "aki-1"}),
        ("InvalidBlockDeviceMapping", {"RootDeviceName": "/dev/xvda"}),
        ("MissingParameter", {"BlockDeviceMappings": []}),
    ],
)
def test_bad_images_change_nothing(api, snapshot_id, code, changes):
    register(api, snapshot_id, "taken")
    before = api.dump()
    api.refused(code, lambda **params: register(api, snapshot_id, params.pop("Name", "new name"), **params), **changes)
    assert api.dump() == before


@pytest.mark.parametrize(
    ("code", "mapping"),
    [
        ("InvalidSnapshot.NotFound", {"Ebs": {"SnapshotId": "snap-00000000000000000"}}),
        ("InvalidSnapshotID.Malformed", {"Ebs": {"SnapshotId": "snap-x"}}),
        ("MissingParameter", {"Ebs": {"VolumeType": "gp3"}}),
        ("InvalidParameterValue", {"Ebs": {"VolumeSize": 70000, "VolumeType": "gp3"}}),
        ("UnknownVolumeType", {"Ebs": {"VolumeSize": 7, "VolumeType": "fast"}}),
        ("MissingParameter", {"Ebs": {"VolumeSize": 7, "VolumeType": "io1"}}),
        ("UnsupportedOperation", {"Ebs": {"VolumeSize": 7, "KmsKeyId": "k"}}),
        ("InvalidBlockDeviceMapping", {"VirtualName": "ephemeral99"}),
        ("InvalidBlockDeviceMapping", {"DeviceName": "/dev/../etc", "Ebs": {"VolumeSize": 7}}),
        ("InvalidBlockDeviceMapping", {"DeviceName": "/dev/sda1", "Ebs": {"VolumeSize": 7}}),
    ],
)
def test_bad_mappings_change_nothing(api, snapshot_id, code, mapping):
    before = api.dump()
    params = [*devices(snapshot_id), {"DeviceName": "/dev/sdb"} | mapping]
    api.refused(code, lambda: register(api, snapshot_id, BlockDeviceMappings=params))
    small = devices(snapshot_id, VolumeSize=7)
    api.refused("InvalidBlockDeviceMapping", lambda: register(api, snapshot_id, BlockDeviceMappings=small))
    assert api.dump() == before


def test_snapshots_must_be_complete_and_usable(api):
    pending = make_snapshot(api, state="pending")
    api.refused("IncorrectState", lambda: register(api, pending))
    theirs = make_snapshot(api, account_id=api.world.other.caller.account_id)
    api.refused("InvalidSnapshot.NotFound", lambda: register(api, theirs))
    shared = make_snapshot(api, account_id=api.world.other.caller.account_id, public=True)
    register(api, shared)


def test_launch_permissions(api, snapshot_id):
    image_id = register(api, snapshot_id)
    other = api.world.other.caller.account_id
    change = api.ec2.modify_image_attribute

    def shown():
        answer = api.ec2.describe_image_attribute(ImageId=image_id, Attribute="launchPermission")
        return answer["LaunchPermissions"]

    api.refused("InvalidAMIID.NotFound", api.other.describe_images, ImageIds=[image_id])
    change(ImageId=image_id, LaunchPermission={"Add": [{"UserId": other}]})
    change(ImageId=image_id, LaunchPermission={"Add": [{"UserId": other}]})
    assert shown() == [{"UserId": other}]
    assert the_image(api.other, image_id)["Public"] is False
    found = api.other.describe_images(ExecutableUsers=["self"])["Images"]
    assert [image["ImageId"] for image in found] == [image_id]
    api.refused("AuthFailure", api.other.describe_image_attribute, ImageId=image_id, Attribute="launchPermission")
    api.refused("AuthFailure", api.other.modify_image_attribute, ImageId=image_id, Description={"Value": "x"})
    change(ImageId=image_id, Attribute="launchPermission", OperationType="add", UserGroups=["all"])
    assert shown() == [{"Group": "all"}, {"UserId": other}]
    change(ImageId=image_id, LaunchPermission={"Remove": [{"UserId": other}, {"Group": "all"}]})
    assert shown() == []
    change(ImageId=image_id, LaunchPermission={"Add": [{"Group": "all"}, {"UserId": "333333333333"}]})
    api.ec2.reset_image_attribute(ImageId=image_id, Attribute="launchPermission")
    assert shown() == []


def test_launch_permissions_in_both_forms(api, snapshot_id):
    """As Packer (UserIds, UserGroups) and Cloud Custodian (OperationType) send them: both must say the same."""
    image_id, them = register(api, snapshot_id), api.world.other.caller.account_id
    change = api.ec2.modify_image_attribute
    change(ImageId=image_id, LaunchPermission={"Add": [{"UserId": them}]}, UserIds=[them])
    change(ImageId=image_id, LaunchPermission={"Add": [{"Group": "all"}]}, UserGroups=["all"])
    change(ImageId=image_id, LaunchPermission={"Remove": [{"UserId": them}]}, OperationType="remove")
    answer = api.ec2.describe_image_attribute(ImageId=image_id, Attribute="launchPermission")
    assert answer["LaunchPermissions"] == [{"Group": "all"}]
    for contradicting in ({"OperationType": "remove"}, {"UserIds": ["333333333333"]}, {"UserGroups": ["all"]}):
        given = {"LaunchPermission": {"Add": [{"UserId": them}]}, **contradicting}
        api.refused("InvalidParameterCombination", change, ImageId=image_id, **given)


def test_who_may_launch_an_image_gives_that_up(api, snapshot_id):
    image_id = register(api, snapshot_id)
    add = [{"UserId": api.world.other.caller.account_id}, {"UserId": "333333333333"}]
    api.ec2.modify_image_attribute(ImageId=image_id, LaunchPermission={"Add": add})
    api.refused("AuthFailure", api.ec2.cancel_image_launch_permission, ImageId=image_id)
    assert api.other.cancel_image_launch_permission(ImageId=image_id)["Return"]
    api.refused("InvalidAMIID.NotFound", api.other.cancel_image_launch_permission, ImageId=image_id)
    answer = api.ec2.describe_image_attribute(ImageId=image_id, Attribute="launchPermission")
    assert answer["LaunchPermissions"] == [{"UserId": "333333333333"}]
    api.ec2.modify_image_attribute(ImageId=image_id, LaunchPermission={"Add": [{"Group": "all"}]})
    api.refused("AuthFailure", api.other.cancel_image_launch_permission, ImageId=image_id)


@pytest.mark.parametrize(
    ("code", "params"),
    [
        ("InvalidAMIAttributeItemValue", {"LaunchPermission": {"Add": [{"UserId": "me"}]}}),
        ("InvalidAMIAttributeItemValue", {"LaunchPermission": {"Add": [{"Group": "some"}]}}),
        ("InvalidAMIAttributeItemValue", {"Description": {"Value": "x" * 256}}),
        ("InvalidAMIAttributeItemValue", {"ImdsSupport": {"Value": "v1.0"}}),
        (
            "UnsupportedOperation",
            {"LaunchPermission": {"Add": [{"OrganizationArn": "arn:aws:organizations::1:o/o-1"}]}},
        ),
        ("UnsupportedOperation", {"ProductCodes": ["x"]}),
        ("InvalidParameterCombination", {}),
        ("InvalidParameterCombination", {"Attribute": "colour"}),
        ("InvalidParameterCombination", {"Attribute": "launchPermission"}),
        ("InvalidParameter", {"Attribute": "blockDeviceMapping"}),
        ("MissingParameter", {"Attribute": "description"}),
        ("MissingParameter", {"Attribute": "ImdsSupport"}),
        ("MissingParameter", {"Attribute": "launchPermission", "UserIds": ["111111111111"]}),
        ("InvalidParameterCombination", {"Attribute": "bootMode", "Description": {"Value": "x"}}),
        ("InvalidParameterValue", {"Attribute": "colour", "Value": "red"}),
        ("InvalidParameterCombination", {"Description": {"Value": "x"}, "ImdsSupport": {"Value": "v2.0"}}),
    ],
)
def test_bad_changes_of_attributes(api, snapshot_id, code, params):
    image_id = register(api, snapshot_id)
    before = api.dump()
    api.refused(code, api.ec2.modify_image_attribute, ImageId=image_id, **params)
    api.refused("InvalidRequest", api.ec2.reset_image_attribute, ImageId=image_id, Attribute="description")
    assert api.dump() == before


def test_an_encrypted_image_is_never_public(api):
    image_id = register(api, make_snapshot(api, encrypted=True))
    params = {"Add": [{"Group": "all"}]}
    api.refused("OperationNotPermitted", api.ec2.modify_image_attribute, ImageId=image_id, LaunchPermission=params)
    assert the_image(api.ec2, image_id)["BlockDeviceMappings"][0]["Ebs"]["Encrypted"] is True


def test_attributes(api, snapshot_id):
    image_id = register(api, snapshot_id, Description="hello")

    def shown(attribute):
        answer = api.ec2.describe_image_attribute(ImageId=image_id, Attribute=attribute)
        return {name: value for name, value in answer.items() if name not in ("ImageId", "ResponseMetadata")}

    assert shown("description") == {"Description": {"Value": "hello"}}
    assert shown("bootMode") == {"BootMode": {"Value": "legacy-bios"}}
    assert shown("deregistrationProtection") == {"DeregistrationProtection": {"Value": "disabled"}}
    api.ec2.modify_image_attribute(ImageId=image_id, ImdsSupport={"Value": "v2.0"})
    api.ec2.modify_image_attribute(ImageId=image_id, Attribute="Description", Value="bye")  # as Ansible writes it
    assert shown("imdsSupport") == {"ImdsSupport": {"Value": "v2.0"}}
    assert shown("description") == {"Description": {"Value": "bye"}}
    for attribute in ("kernel", "ramdisk", "tpmSupport", "uefiData", "lastLaunchedTime", "sriovNetSupport"):
        assert shown(attribute) == {}
    api.refused("InvalidRequest", api.ec2.describe_image_attribute, ImageId=image_id, Attribute="colour")
    api.refused("AuthFailure", api.ec2.describe_image_attribute, ImageId=image_id, Attribute="blockDeviceMapping")


@pytest.mark.parametrize("attribute", ["description", "launchPermission", "bootMode"])
def test_attributes_of_a_public_image_are_its_owners_to_see(api, attribute):
    params = {"ImageId": api.world.image_id, "Attribute": attribute}
    assert api.world.image_id in api.refused("AuthFailure", api.ec2.describe_image_attribute, **params)
    params["ImageId"] = ABSENT
    api.refused("InvalidAMIID.NotFound", api.ec2.describe_image_attribute, **params)


def test_tags_of_a_shared_image_are_the_taggers_alone(api, snapshot_id):
    image_id = register(api, snapshot_id)
    params = {"Resources": [image_id, snapshot_id], "Tags": [{"Key": "whose", "Value": "other"}]}
    api.refused("InvalidAMIID.NotFound", api.other.create_tags, **params)
    everybody = {"Add": [{"Group": "all"}]}
    api.ec2.modify_image_attribute(ImageId=image_id, LaunchPermission=everybody)
    api.refused("InvalidSnapshot.NotFound", api.other.create_tags, **params)
    api.ec2.modify_snapshot_attribute(SnapshotId=snapshot_id, CreateVolumePermission=everybody)
    api.other.create_tags(**params)
    assert the_image(api.other, image_id)["Tags"] == params["Tags"]
    found = api.other.describe_images(Filters=[{"Name": "tag:whose", "Values": ["other"]}])["Images"]
    assert [image["ImageId"] for image in found] == [image_id]
    assert "Tags" not in the_image(api.ec2, image_id)
    assert api.ec2.describe_tags()["Tags"] == []
    api.ec2.delete_tags(Resources=[image_id])
    assert the_image(api.other, image_id)["Tags"] == params["Tags"]
    api.other.delete_tags(Resources=[image_id, snapshot_id])
    assert api.other.describe_tags()["Tags"] == []


def test_an_image_shared_with_an_account_is_tagged_by_it(api, snapshot_id):
    image_id = register(api, snapshot_id)
    other = {"UserId": api.world.other.caller.account_id}
    api.ec2.modify_image_attribute(ImageId=image_id, LaunchPermission={"Add": [other]})
    api.other.create_tags(Resources=[image_id], Tags=[{"Key": "a", "Value": "b"}])
    assert the_image(api.other, image_id)["Tags"] == [{"Key": "a", "Value": "b"}]


def test_a_disabled_image_is_its_owners_alone(api, snapshot_id):
    image_id = register(api, snapshot_id)
    other = api.world.other.caller.account_id
    api.ec2.modify_image_attribute(ImageId=image_id, LaunchPermission={"Add": [{"UserId": other}, {"Group": "all"}]})
    assert api.ec2.disable_image(ImageId=image_id)["Return"] is True
    assert api.ec2.describe_images(Owners=["self"])["Images"] == []
    (image,) = api.ec2.describe_images(Owners=["self"], IncludeDisabled=True)["Images"]
    assert (image["State"], image["Public"]) == ("disabled", False)
    api.refused("InvalidAMIID.NotFound", api.other.describe_images, ImageIds=[image_id])
    launch = {"ImageId": image_id, "InstanceType": "t3.micro", "MinCount": 1, "MaxCount": 1}
    api.refused("InvalidAMIID.Unavailable", api.ec2.run_instances, **launch)
    assert api.ec2.enable_image(ImageId=image_id)["Return"] is True
    api.refused("InvalidAMIID.NotFound", api.other.describe_images, ImageIds=[image_id])
    assert the_image(api.ec2, image_id)["State"] == "available"


def test_deprecation_is_rounded_to_minutes(api, snapshot_id):
    image_id = register(api, snapshot_id)
    api.ec2.enable_image_deprecation(ImageId=image_id, DeprecateAt="2033-05-01T10:20:30Z")
    assert the_image(api.ec2, image_id)["DeprecationTime"] == "2033-05-01T10:21:00.000Z"
    for bad in ("2026-03-04T05:06:07Z", "2066-05-01T00:00:00Z"):
        api.refused("InvalidParameterValue", api.ec2.enable_image_deprecation, ImageId=image_id, DeprecateAt=bad)
    api.ec2.disable_image_deprecation(ImageId=image_id)
    assert "DeprecationTime" not in the_image(api.ec2, image_id)


def test_a_deregistered_image_is_gone(api, snapshot_id):
    image_id = register(api, snapshot_id)
    api.ec2.create_tags(Resources=[image_id], Tags=[{"Key": "a", "Value": "b"}])
    assert api.ec2.deregister_image(ImageId=image_id)["Return"] is True
    api.refused("InvalidAMIID.NotFound", api.ec2.describe_images, ImageIds=[image_id])
    api.refused("InvalidAMIID.NotFound", api.ec2.deregister_image, ImageId=image_id)
    assert api.ec2.describe_tags()["Tags"] == []
    assert api.ec2.describe_snapshots(SnapshotIds=[snapshot_id])["Snapshots"]
    register(api, snapshot_id)


@pytest.mark.parametrize("state", ["running", "stopped", "shutting-down", "terminated"])
def test_a_deregistered_image_is_empty_while_instances_refer_to_it(api, snapshot_id, state):
    image_id = register(api, snapshot_id)
    api.launch(image_id=image_id, state=state)
    api.ec2.deregister_image(ImageId=image_id)
    if state == "terminated":
        api.refused("InvalidAMIID.NotFound", api.ec2.describe_images, ImageIds=[image_id])
    else:
        assert api.ec2.describe_images(ImageIds=[image_id])["Images"] == []
        message = api.refused("InvalidAMIID.NotFound", api.ec2.describe_images, ImageIds=[image_id, ABSENT])
        assert ABSENT in message
        assert image_id not in message
    api.refused("InvalidAMIID.NotFound", api.other.describe_images, ImageIds=[image_id])
    code = f"InvalidAMIID.{'NotFound' if state == 'terminated' else 'Unavailable'}"
    api.refused(code, api.ec2.deregister_image, ImageId=image_id)
    launch = {"ImageId": image_id, "InstanceType": "t3.micro", "MinCount": 1, "MaxCount": 1}
    api.refused(code, api.ec2.run_instances, **launch)
    api.refused("InvalidAMIID.NotFound", api.other.run_instances, **launch)


def test_a_protected_image_stays(api, snapshot_id):
    image_id = register(api, snapshot_id)
    assert api.ec2.enable_image_deregistration_protection(ImageId=image_id)["Return"] == "enabled-without-cooldown"
    api.refused("OperationNotPermitted", api.ec2.deregister_image, ImageId=image_id)
    assert api.ec2.disable_image_deregistration_protection(ImageId=image_id)["Return"] == "disabled"
    api.ec2.deregister_image(ImageId=image_id)
    image_id = register(api, snapshot_id)
    api.ec2.enable_image_deregistration_protection(ImageId=image_id, WithCooldown=True)
    assert the_image(api.ec2, image_id)["DeregistrationProtection"] == "enabled-with-cooldown"
    api.ec2.disable_image_deregistration_protection(ImageId=image_id)
    api.refused("OperationNotPermitted", api.ec2.deregister_image, ImageId=image_id)


def test_no_account_may_change_the_clouds_images(api):
    for operation, params in (
        ("deregister_image", {}),
        ("disable_image", {}),
        ("enable_image_deprecation", {"DeprecateAt": "2033-05-01T00:00:00Z"}),
        ("modify_image_attribute", {"Description": {"Value": "x"}}),
        ("reset_image_attribute", {"Attribute": "launchPermission"}),
    ):
        api.refused("AuthFailure", getattr(api.ec2, operation), ImageId=api.world.image_id, **params)
        expected = "InvalidAMIID.NotFound"
        api.refused(expected, getattr(api.ec2, operation), ImageId=ABSENT, **params)
