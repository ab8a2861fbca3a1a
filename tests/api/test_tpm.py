"""Images with TPM support and their instances, through boto3."""

import pytest

from stead_controller.db.tables import Host, HostResource, Image, Instance
from stead_controller.resources.storage import volume_keys
from stead_proto.v1 import desired_pb2 as pb
from tests.support import rows


@pytest.fixture
def with_tpm(api):
    """The world's image asks for a TPM."""

    def change(tx):
        image = tx.session.get_one(Image, api.world.image_id)
        image.boot_mode, image.tpm_support = "uefi", "v2.0"

    api.run(change)


def run(api):
    params = {"ImageId": api.world.image_id, "InstanceType": "t3.micro", "MinCount": 1, "MaxCount": 1}
    return api.ec2.run_instances(**params)["Instances"][0]["InstanceId"]


def found(api, value):
    answer = api.ec2.describe_instances(Filters=[{"Name": "tpm-support", "Values": [value]}])
    return [instance["InstanceId"] for one in answer["Reservations"] for instance in one["Instances"]]


def machine_of(api, instance_id):
    key = (api.world.host_id, pb.KIND_MACHINE, instance_id)
    return pb.Resource.FromString(api.run(lambda tx: tx.session.get_one(HostResource, key).body)).machine


def test_an_image_says_so_and_is_found_by_it(api):
    def add(tx):
        row = rows.snapshot(api.world.one.caller.account_id)
        tx.session.add(row)
        return row.id

    mapping = [{"DeviceName": "/dev/sda1", "Ebs": {"SnapshotId": api.run(add)}}]
    params = {"BlockDeviceMappings": mapping, "RootDeviceName": "/dev/sda1", "BootMode": "uefi"}
    plain = api.ec2.register_image(Name="plain", **params)["ImageId"]
    image_id = api.ec2.register_image(Name="with a TPM", TpmSupport="v2.0", **params)["ImageId"]
    copy = api.ec2.copy_image(Name="copy", SourceImageId=image_id, SourceRegion=api.world.cloud.region)["ImageId"]
    by = api.ec2.describe_images(Filters=[{"Name": "tpm-support", "Values": ["v2.0"]}])["Images"]
    assert {image["ImageId"]: image["TpmSupport"] for image in by} == {image_id: "v2.0", copy: "v2.0"}
    assert "TpmSupport" not in api.ec2.describe_images(ImageIds=[plain])["Images"][0]
    shown = api.ec2.describe_image_attribute(ImageId=image_id, Attribute="tpmSupport")
    assert shown["TpmSupport"] == {"Value": "v2.0"}


def test_an_instance_has_one_and_its_host_learns_of_it_with_a_key_of_its_own(api, with_tpm):
    first, second = run(api), run(api)
    keys = [machine_of(api, instance_id).tpm.encryption_key for instance_id in (first, second)]
    opened = [api.world.cloud.sealer.open(key, volume_keys.CONTEXT) for key in keys]
    assert len(set(opened)) == 2
    assert {len(key) for key in opened} == {32}
    assert sorted(found(api, "v2.0")) == sorted([first, second])
    shown = api.ec2.describe_instances(InstanceIds=[first])["Reservations"][0]["Instances"][0]
    assert (shown["TpmSupport"], shown["CurrentInstanceBootMode"]) == ("v2.0", "uefi")
    api.run(lambda tx: setattr(tx.session.get_one(Instance, first), "state", "running"))
    image_id = api.ec2.create_image(InstanceId=first, Name="of it", NoReboot=True)["ImageId"]
    assert api.ec2.describe_images(ImageIds=[image_id])["Images"][0]["TpmSupport"] == "v2.0"


def test_other_instances_have_none(api):
    instance_id = run(api)
    assert not machine_of(api, instance_id).HasField("tpm")
    assert "TpmSupport" not in api.ec2.describe_instances()["Reservations"][0]["Instances"][0]
    assert found(api, "*") == []


def test_where_no_host_has_one_a_launch_and_a_start_are_refused(api, with_tpm):
    instance_id = run(api)

    def change(tx):
        tx.session.get_one(Host, api.world.host_id).tpm = False
        tx.session.get_one(Instance, instance_id).state = "stopped"

    api.run(change)
    assert "TPM" in api.refused("InsufficientInstanceCapacity", lambda: run(api))
    assert "TPM" in api.refused("InsufficientInstanceCapacity", api.ec2.start_instances, InstanceIds=[instance_id])


def test_instance_types_say_that_they_can_have_one(api):
    asked = [{"Name": "nitro-tpm-info.supported-versions", "Values": ["2.0"]}]
    shown = api.ec2.describe_instance_types(InstanceTypes=["t3.micro"], Filters=asked)["InstanceTypes"][0]
    assert (shown["NitroTpmSupport"], shown["NitroTpmInfo"]) == ("supported", {"SupportedVersions": ["2.0"]})
    asked = [{"Name": "nitro-tpm-support", "Values": ["unsupported"]}]
    assert api.ec2.describe_instance_types(Filters=asked)["InstanceTypes"] == []
