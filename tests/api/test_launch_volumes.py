"""Block device mappings of RunInstances through boto3: the image's and the request's become disks."""

import pytest
from sqlalchemy import select

from stead_controller.db.tables import HostResource, ImageBlockDevice, StoragePool, Volume
from stead_proto.v1 import desired_pb2 as desired
from tests.support import rows
from tests.support.rows import GIB


def launch(api, *mappings, **changes):
    params = {"ImageId": api.world.image_id, "InstanceType": "t3.micro", "MinCount": 1, "MaxCount": 1}
    if mappings:
        params["BlockDeviceMappings"] = list(mappings)
    return params | changes


def run(api, *mappings, **changes):
    (instance,) = api.ec2.run_instances(**launch(api, *mappings, **changes))["Instances"]
    return instance["InstanceId"]


def volumes(api, instance_id):
    """The volumes of an instance by device."""
    found = api.ec2.describe_volumes(Filters=[{"Name": "attachment.instance-id", "Values": [instance_id]}])["Volumes"]
    return {one["Attachments"][0]["Device"]: one for one in found}


def sent(api, instance_id):
    """The machine as its host is sent it."""
    row = api.run(
        lambda tx: tx.session.get_one(HostResource, (api.world.host_id, int(desired.KIND_MACHINE), instance_id))
    )
    return desired.Resource.FromString(row.body).machine


@pytest.fixture
def snapshot_id(api):
    return add_snapshot(api, api.world.one.caller.account_id)


def add_snapshot(api, account_id, **changes):
    def add(tx):
        row = rows.snapshot(account_id, **changes)
        tx.session.add(row)
        return row.id

    return api.run(add)


@pytest.fixture
def image_id(api):
    """An image of snapshots: a root of 4 GiB, data of 8 GiB, a scratch disk, and one device that it leaves out."""

    def add(tx):
        account = rows.CLOUD_ACCOUNT
        root, data = rows.snapshot(account, volume_size=4), rows.snapshot(account, volume_size=8)
        image = rows.image(name="many", snapshot_id=root.id, sha256="", file_size=0, virtual_size=4 * GIB)
        tx.session.add_all([root, data, image])
        tx.session.flush()
        common = {"image_id": image.id}
        tx.session.add_all(
            [
                ImageBlockDevice(device_name="/dev/sda1", snapshot_id=root.id, volume_size=4, **common),
                ImageBlockDevice(
                    device_name="/dev/sdb",
                    snapshot_id=data.id,
                    volume_size=8,
                    volume_type="gp3",
                    iops=4000,
                    delete_on_termination=False,
                    **common,
                ),
                ImageBlockDevice(device_name="/dev/sdc", virtual_name="ephemeral1", **common),
                ImageBlockDevice(device_name="/dev/sdd", no_device=True, **common),
            ]
        )
        return image.id

    return api.run(add)


def test_several_volumes(api, snapshot_id):
    instance_id = run(
        api,
        {"DeviceName": "/dev/sda1", "Ebs": {"VolumeSize": 12, "DeleteOnTermination": False}},
        {"DeviceName": "/dev/sdf", "Ebs": {"VolumeSize": 5, "VolumeType": "gp2"}},
        {"DeviceName": "/dev/sdg", "Ebs": {"SnapshotId": snapshot_id, "DeleteOnTermination": False}},
        TagSpecifications=[{"ResourceType": "volume", "Tags": [{"Key": "a", "Value": "b"}]}],
    )
    found = volumes(api, instance_id)
    shown = {
        device: (one["Size"], one["VolumeType"], one["Attachments"][0]["DeleteOnTermination"])
        for device, one in found.items()
    }
    assert shown["/dev/sda1"] == (12, "gp3", False)
    assert shown["/dev/sdf"] == (5, "gp2", True)
    assert shown["/dev/sdg"][1:] == ("gp3", False)
    assert found["/dev/sdg"]["SnapshotId"] == snapshot_id
    assert all(one["Tags"] == [{"Key": "a", "Value": "b"}] for one in found.values())
    disks = sent(api, instance_id).disks
    assert [disk.device_name for disk in disks] == ["/dev/sda1", "/dev/sdf", "/dev/sdg"]
    base = api.run(
        lambda tx: tx.session.get_one(HostResource, (api.world.host_id, int(desired.KIND_BASE), snapshot_id))
    )
    assert base.body


def test_what_an_image_maps(api, image_id):
    found = volumes(api, run(api, ImageId=image_id))
    assert sorted(found) == ["/dev/sda1", "/dev/sdb"]
    data = found["/dev/sdb"]
    assert (data["Size"], data["Iops"], data["Attachments"][0]["DeleteOnTermination"]) == (8, 4000, False)
    assert found["/dev/sda1"]["Attachments"][0]["DeleteOnTermination"] is True


def test_the_request_goes_before_the_image(api, image_id):
    instance_id = run(
        api,
        {"DeviceName": "/dev/sda1", "Ebs": {"VolumeType": "io1", "Iops": 200}},
        {"DeviceName": "/dev/sdb", "Ebs": {"VolumeSize": 9, "DeleteOnTermination": True}},
        {"DeviceName": "/dev/sdc", "NoDevice": ""},
        {"DeviceName": "/dev/sdd", "Ebs": {"VolumeSize": 1}},
        ImageId=image_id,
    )
    found = volumes(api, instance_id)
    assert sorted(found) == ["/dev/sda1", "/dev/sdb", "/dev/sdd"]
    assert (found["/dev/sda1"]["VolumeType"], found["/dev/sda1"]["Size"]) == ("io1", 4)
    assert (found["/dev/sdb"]["Size"], found["/dev/sdb"]["Iops"]) == (9, 4000)
    assert found["/dev/sdb"]["SnapshotId"]
    without = run(api, {"DeviceName": "/dev/sdb", "NoDevice": ""}, ImageId=image_id)
    assert sorted(volumes(api, without)) == ["/dev/sda1"]


def test_scratch_disks_of_a_type(api, image_id):
    instance_id = run(
        api, {"DeviceName": "/dev/sdf", "VirtualName": "ephemeral0"}, ImageId=image_id, InstanceType="m5d.4xlarge"
    )
    scratch = [disk for disk in sent(api, instance_id).disks if disk.HasField("instance_store")]
    assert [(disk.device_name, disk.instance_store.virtual_name) for disk in scratch] == [
        ("/dev/sdf", "ephemeral0"),
        ("/dev/sdc", "ephemeral1"),
    ]
    assert {disk.instance_store.size for disk in scratch} == {300 * 1000**3}
    volume_id = api.ec2.create_volume(AvailabilityZone="us-east-1a", Size=1)["VolumeId"]
    set_running(api, instance_id)
    api.refused(
        "InvalidParameterValue",
        api.ec2.attach_volume,
        VolumeId=volume_id,
        InstanceId=instance_id,
        Device="/dev/sdf",
    )


def set_running(api, instance_id):
    def change(tx):
        tx.session.get_one(rows.Instance, instance_id).state = "running"

    api.run(change)


def test_scratch_disks_get_names_of_their_own(api):
    instance_id = run(api, {"DeviceName": "/dev/sdb", "Ebs": {"VolumeSize": 1}}, InstanceType="m5d.large")
    (scratch,) = [disk for disk in sent(api, instance_id).disks if disk.HasField("instance_store")]
    assert scratch.device_name == "/dev/sdc"


def test_another_type_has_other_scratch_disks(api):
    instance_id = run(api, {"DeviceName": "/dev/sdf", "VirtualName": "ephemeral0"}, InstanceType="m5d.large")

    def change(name):
        def stop(tx):
            tx.session.get_one(rows.Instance, instance_id).state = "stopped"

        api.run(stop)
        api.ec2.modify_instance_attribute(InstanceId=instance_id, InstanceType={"Value": name})
        return [disk.device_name for disk in sent(api, instance_id).disks if disk.HasField("instance_store")]

    assert change("m5d.4xlarge") == ["/dev/sdf", "/dev/sdb"]
    assert change("t3.micro") == []
    assert change("i3.large") == ["/dev/sdb"]


def test_the_scratch_disks_of_an_old_type_are_there_if_they_are_mapped(api):
    def scratch(instance_id):
        return [disk.device_name for disk in sent(api, instance_id).disks if disk.HasField("instance_store")]

    assert scratch(run(api, InstanceType="m1.small")) == []
    mapped = run(api, {"DeviceName": "/dev/sdf", "VirtualName": "ephemeral0"}, InstanceType="m1.small")
    assert scratch(mapped) == ["/dev/sdf"]


def test_a_type_without_scratch_disks_has_none(api):
    instance_id = run(api, {"DeviceName": "/dev/sdb", "VirtualName": "ephemeral0"})
    assert [disk.device_name for disk in sent(api, instance_id).disks] == ["/dev/sda1"]


@pytest.mark.parametrize(
    ("mapping", "code"),
    [
        ({"Ebs": {"VolumeSize": 1}}, "MissingParameter"),
        ({"DeviceName": "sdf/..", "Ebs": {"VolumeSize": 1}}, "InvalidBlockDeviceMapping"),
        ({"DeviceName": "/dev/sdf", "Ebs": {}}, "MissingParameter"),
        ({"DeviceName": "/dev/sdf", "Ebs": {"VolumeSize": 0}}, "InvalidParameterValue"),
        ({"DeviceName": "/dev/sdf", "Ebs": {"VolumeSize": 4, "VolumeType": "io1"}}, "MissingParameter"),
        ({"DeviceName": "/dev/sdf", "VirtualName": "ephemeral99"}, "InvalidBlockDeviceMapping"),
        (
            {"DeviceName": "/dev/sdf", "Ebs": {"VolumeSize": 1}, "VirtualName": "ephemeral0"},
            "InvalidBlockDeviceMapping",
        ),
        ({"DeviceName": "/dev/sda1", "NoDevice": ""}, "InvalidBlockDeviceMapping"),
        ({"DeviceName": "/dev/sda1", "VirtualName": "ephemeral0"}, "InvalidBlockDeviceMapping"),
        ({"DeviceName": "/dev/sda1", "Ebs": {"VolumeSize": 1}}, "InvalidBlockDeviceMapping"),
        ({"DeviceName": "/dev/sda1", "Ebs": {"VolumeSize": 125, "VolumeType": "sc1"}}, "InvalidParameterValue"),
        ({"DeviceName": "/dev/sdf", "Ebs": {"SnapshotId": "snap-00000000000000000"}}, "InvalidSnapshot.NotFound"),
    ],
)
def test_refused(api, mapping, code):
    api.refused(code, api.ec2.run_instances, **launch(api, mapping))


def test_another_name_than_the_roots_is_a_second_volume(api):
    instance_id = run(api, {"DeviceName": "/dev/xvda", "Ebs": {"VolumeSize": 3}})
    found = volumes(api, instance_id)
    assert sorted(found) == ["/dev/sda1", "/dev/xvda"]
    assert found["/dev/xvda"]["Size"] == 3
    assert [disk.device_name for disk in sent(api, instance_id).disks] == ["/dev/sda1", "/dev/xvda"]
    two = [{"DeviceName": f"/dev/{name}", "Ebs": {"VolumeSize": 1}} for name in ("sdf", "xvdf")]
    api.refused("InvalidBlockDeviceMapping", api.ec2.run_instances, **launch(api, *two))


def test_refused_snapshots(api, snapshot_id):
    foreign = add_snapshot(api, api.world.other.caller.account_id)
    pending = add_snapshot(api, api.world.one.caller.account_id, state="pending")
    large = add_snapshot(api, api.world.one.caller.account_id, volume_size=7)
    for asked, code in (
        ({"SnapshotId": foreign}, "InvalidSnapshot.NotFound"),
        ({"SnapshotId": pending}, "IncorrectState"),
        ({"SnapshotId": large, "VolumeSize": 6}, "InvalidBlockDeviceMapping"),
    ):
        api.refused(code, api.ec2.run_instances, **launch(api, {"DeviceName": "/dev/sdf", "Ebs": asked}))
    root = {"DeviceName": "/dev/sda1", "Ebs": {"SnapshotId": snapshot_id}}
    api.refused("InvalidBlockDeviceMapping", api.ec2.run_instances, **launch(api, root))


def test_too_many_devices(api):
    mappings = [{"DeviceName": f"/dev/sd{one}", "Ebs": {"VolumeSize": 1}} for one in "bcdefghijklmnopqrstuvwxyz"]
    mappings += [{"DeviceName": f"/dev/xvdb{one}", "Ebs": {"VolumeSize": 1}} for one in "abc"]
    api.refused("AttachmentLimitExceeded", api.ec2.run_instances, **launch(api, *mappings))


def test_no_pool_has_room_for_a_launch(api):
    def add(tx):
        values = {"host_id": api.world.host_id, "name": "main", "backend": "directory", "is_default": True}
        tx.session.add(StoragePool(total=2 * GIB, free=GIB, provisioned=0, **values))

    api.run(add)
    instance_id = run(api)
    begun = api.run(
        lambda tx: tx.session.execute(
            select(Volume.pool, Volume.generation, Volume.attachment_state).where(Volume.instance_id == instance_id)
        ).all()
    )
    assert begun == [("main", 1, "attaching")]
    large = launch(api, {"DeviceName": "/dev/sdf", "Ebs": {"VolumeSize": 7}})
    api.refused("InsufficientVolumeCapacity", api.ec2.run_instances, **large)
    pool = api.run(lambda tx: tx.session.get_one(StoragePool, (api.world.host_id, "main")))
    assert pool.provisioned == 2 * GIB


def test_an_initialization_rate_is_refused(api):
    mapping = {"DeviceName": "/dev/sda1", "Ebs": {"VolumeInitializationRate": 100}}
    message = api.refused("UnsupportedOperation", api.ec2.run_instances, **launch(api, mapping))
    assert "VolumeInitializationRate" in message
