"""CreateImage and CopyImage through boto3; the host's part is played by the test."""

import asyncio
import contextlib
import json
from datetime import UTC, datetime, timedelta
from functools import partial

import pytest
from sqlalchemy import select

from stead_controller.db.tables import HostResource, Image, Instance, Snapshot, Volume, Workflow
from stead_controller.resources import workflow_rows
from stead_controller.resources.storage import snapshot_life
from stead_controller.workflows.create_image import CreateImage
from stead_controller.workflows.engine import Engine, GiveUp
from stead_proto.v1 import desired_pb2 as desired
from tests.support import rows


@pytest.fixture
def instance_id(api):
    """A running instance with a root volume at /dev/sda1 and a data volume at /dev/sdf, attached."""
    instance_id = api.launch()

    def add(tx):
        instance = tx.session.get_one(Instance, instance_id)
        data = rows.volume(instance, api.world, device_name="/dev/sdf", size=3, delete_on_termination=False)
        data.snapshot_id = None
        data.host_id = data.attached_host_id = api.world.host_id
        tx.session.add(data)

    api.run(add)
    return instance_id


@pytest.fixture
def run_once(api):
    """Run every step that is due once, each as a controller that took over from a killed one; time moves by a minute."""
    moment = [datetime.now(UTC)]  # the endpoint has the real time

    def run():
        moment[0] += timedelta(minutes=1)
        clock = lambda: moment[0]  # noqa: E731 - a clock is a function
        make = {CreateImage.kind: partial(CreateImage, api.database, clock)}
        engine = Engine(api.database, clock, make, monotonic=lambda: clock().timestamp())
        past = clock() - timedelta(seconds=1)

        async def step():
            # Each step is run twice, as when its controller was killed before it could write what is next.
            due = await api.database.run(lambda tx: workflow_rows.lease_due(tx, engine.holder, clock(), past, 10))
            for row in due:
                life = engine.make[row.kind](row.id, json.loads(row.facts))
                with contextlib.suppress(GiveUp):  # the second run fails alike, and is the one that counts
                    await getattr(life, row.step)()
                await engine.step(row, clock())
            return len(due)

        return asyncio.run(step())

    return run


def create(api, instance_id, name="mine", **changes):
    return api.ec2.create_image(InstanceId=instance_id, Name=name, **changes)["ImageId"]


def described(api, image_id):
    (image,) = api.ec2.describe_images(ImageIds=[image_id])["Images"]
    return image


def snapshots(api):
    return {one["VolumeId"]: one for one in api.ec2.describe_snapshots(OwnerIds=["self"])["Snapshots"]}


def complete_all(api):
    def end(tx):
        for snapshot in tx.session.query(Snapshot).filter_by(state="pending").all():
            snapshot_life.complete(tx, snapshot, api.world.now)

    api.run(end)


def finish(api, run_once):
    complete_all(api)
    for _ in range(5):
        run_once()


def test_an_image_without_reboot_is_of_the_instant_it_is_asked_for(api, instance_id, run_once):
    tags = [
        {"ResourceType": "image", "Tags": [{"Key": "a", "Value": "b"}]},
        {"ResourceType": "snapshot", "Tags": [{"Key": "c", "Value": "d"}]},
    ]
    image_id = create(api, instance_id, Description="d", NoReboot=True, TagSpecifications=tags)
    image = described(api, image_id)
    assert (image["State"], image["SourceInstanceId"], image["Public"]) == ("pending", instance_id, False)
    data, root = sorted(snapshots(api).values(), key=lambda one: one["VolumeSize"])
    assert {one["Description"] for one in (data, root)} == {f"Created by CreateImage({instance_id}) for {image_id}"}
    assert data["Tags"] == [{"Key": "c", "Value": "d"}]
    launch = {"ImageId": image_id, "InstanceType": "t3.micro", "MinCount": 1, "MaxCount": 1}
    api.refused("InvalidAMIID.Unavailable", api.ec2.run_instances, **launch)
    run_once()
    run_once()
    assert described(api, image_id)["State"] == "pending"
    finish(api, run_once)
    image = described(api, image_id)
    assert (image["State"], image["Tags"], image["Description"]) == ("available", [{"Key": "a", "Value": "b"}], "d")
    first, second = image["BlockDeviceMappings"]
    assert first == {
        "DeviceName": "/dev/sda1",
        "Ebs": {
            "SnapshotId": root["SnapshotId"],
            "VolumeSize": 8,
            "VolumeType": "gp3",
            "Iops": 3000,
            "Throughput": 125,
            "DeleteOnTermination": True,
            "Encrypted": False,
        },
    }
    assert second["DeviceName"] == "/dev/sdf"
    assert (second["Ebs"]["VolumeSize"], second["Ebs"]["DeleteOnTermination"]) == (3, False)
    assert api.run(lambda tx: tx.session.query(Workflow).count()) == 0
    assert len(snapshots(api)) == 2
    launched = api.ec2.run_instances(**launch)["Instances"][0]["InstanceId"]
    volumes = api.run(lambda tx: tx.session.query(Volume).filter_by(instance_id=launched).all())
    assert {(one.device_name, one.snapshot_id, one.size) for one in volumes} == {
        ("/dev/sda1", root["SnapshotId"], 8),
        ("/dev/sdf", data["SnapshotId"], 3),
    }


def test_a_running_guest_is_rebooted_and_taken_then(api, instance_id, run_once):
    image_id = create(api, instance_id)
    assert api.run(lambda tx: tx.session.get_one(Instance, instance_id).reboot_count) == 1
    sent = select(HostResource.body).where(HostResource.kind == int(desired.KIND_SNAPSHOT))
    bodies = api.run(lambda tx: [desired.Resource.FromString(one) for one in tx.session.scalars(sent)])
    assert {one.id: one.snapshot.after_reboot for one in bodies} == dict.fromkeys(
        (one["SnapshotId"] for one in snapshots(api).values()), 1
    )
    assert len(bodies) == 2
    finish(api, run_once)
    assert described(api, image_id)["State"] == "available"
    assert api.run(lambda tx: tx.session.get_one(Instance, instance_id).reboot_count) == 1


def test_a_stopped_instance_is_taken_as_it_is(api, instance_id, run_once):
    api.run(lambda tx: setattr(tx.session.get_one(Instance, instance_id), "state", "stopped"))
    image_id = create(api, instance_id)
    assert len(snapshots(api)) == 2
    finish(api, run_once)
    assert described(api, image_id)["State"] == "available"
    assert api.run(lambda tx: tx.session.get_one(Instance, instance_id).reboot_count) == 0


def test_mappings_change_what_the_image_has(api, instance_id, run_once):
    mappings = [
        {"DeviceName": "/dev/sda1", "Ebs": {"VolumeSize": 20, "VolumeType": "gp2", "DeleteOnTermination": False}},
        {"DeviceName": "/dev/sdf", "NoDevice": ""},
        {"DeviceName": "/dev/sdg", "Ebs": {"VolumeSize": 7}},
        {"DeviceName": "/dev/sdh", "VirtualName": "ephemeral0"},
    ]
    image_id = create(api, instance_id, NoReboot=True, BlockDeviceMappings=mappings)
    (snapshot,) = snapshots(api).values()
    finish(api, run_once)
    root, blank, scratch = described(api, image_id)["BlockDeviceMappings"]
    assert root["Ebs"] == {
        "SnapshotId": snapshot["SnapshotId"],
        "VolumeSize": 20,
        "VolumeType": "gp2",
        "DeleteOnTermination": False,
        "Encrypted": False,
    }
    assert (blank["DeviceName"], blank["Ebs"]["VolumeSize"]) == ("/dev/sdg", 7)
    assert scratch["VirtualName"] == "ephemeral0"


@pytest.mark.parametrize(
    ("code", "changes"),
    [
        ("InvalidInstanceID.NotFound", {"InstanceId": "i-00000000000000000"}),
        ("InvalidAMIName.Malformed", {"Name": "with*star"}),
        ("InvalidAMIName.Duplicate", {"Name": "taken"}),
        ("UnsupportedOperation", {"SnapshotLocation": "local"}),
        ("InvalidBlockDeviceMapping", {"BlockDeviceMappings": [{"DeviceName": "/dev/sda1", "NoDevice": ""}]}),
        ("InvalidBlockDeviceMapping", {"BlockDeviceMappings": [{"DeviceName": "/dev/sda1", "Ebs": {"VolumeSize": 1}}]}),
        (
            "InvalidBlockDeviceMapping",
            {"BlockDeviceMappings": [{"DeviceName": "/dev/sda1", "Ebs": {"Encrypted": True}}]},
        ),
        ("MissingParameter", {"BlockDeviceMappings": [{"DeviceName": "/dev/sdg", "Ebs": {}}]}),
    ],
)
def test_bad_requests_change_nothing(api, instance_id, code, changes):
    create(api, instance_id, "taken", NoReboot=True)
    before = api.dump()
    params = {"InstanceId": instance_id, "Name": "another", "NoReboot": True} | changes
    api.refused(code, api.ec2.create_image, **params)
    assert api.dump() == before


def test_an_instance_must_be_running_or_stopped(api, instance_id):
    api.run(lambda tx: setattr(tx.session.get_one(Instance, instance_id), "state", "stopping"))
    api.refused("IncorrectState", api.ec2.create_image, InstanceId=instance_id, Name="mine")


def test_a_snapshot_that_fails_fails_the_image(api, instance_id, run_once):
    image_id = create(api, instance_id, NoReboot=True)

    def fail(tx):
        snapshot = tx.session.query(Snapshot).filter_by(state="pending").first()
        snapshot_life.fail(tx, snapshot, "no room")

    api.run(fail)
    finish(api, run_once)
    image = described(api, image_id)
    assert image["State"] == "failed"
    assert image["StateReason"]["Message"] == "A snapshot of the image could not be taken."
    api.ec2.deregister_image(ImageId=image_id)


def test_an_instance_that_ends_before_its_reboot_becomes_an_image_all_the_same(api, instance_id, run_once):
    image_id = create(api, instance_id)

    def gone(tx):
        tx.session.get_one(Instance, instance_id).state = "terminated"
        tx.session.query(Volume).filter_by(instance_id=instance_id).delete()

    api.run(gone)
    finish(api, run_once)
    assert described(api, image_id)["State"] == "available"


def test_a_copy_has_snapshots_of_its_own(api):
    api.ec2.create_tags(Resources=[mine := own_image(api)], Tags=[{"Key": "a", "Value": "b"}])
    params = {"SourceImageId": mine, "SourceRegion": "us-east-1", "Name": "a copy"}
    copy_id = api.ec2.copy_image(**params, CopyImageTags=True, ClientToken="t")["ImageId"]
    assert api.ec2.copy_image(**params, CopyImageTags=True, ClientToken="t")["ImageId"] == copy_id
    source, image = described(api, mine), described(api, copy_id)
    assert (image["SourceImageId"], image["SourceImageRegion"]) == (mine, "us-east-1")
    assert image["Description"] == f"[Copied {mine} from us-east-1] own"
    assert image["Tags"] == [{"Key": "a", "Value": "b"}]
    (device,), (of_source,) = image["BlockDeviceMappings"], source["BlockDeviceMappings"]
    assert device["Ebs"]["SnapshotId"] != of_source["Ebs"]["SnapshotId"]
    assert device["Ebs"]["VolumeSize"] == of_source["Ebs"]["VolumeSize"]
    (snapshot,) = api.ec2.describe_snapshots(SnapshotIds=[device["Ebs"]["SnapshotId"]])["Snapshots"]
    assert (snapshot["State"], snapshot["Description"]) == (
        "completed",
        f"Copied for DestinationAmi {copy_id} from SourceAmi {mine}",
    )
    results = api.ec2.deregister_image(ImageId=copy_id, DeleteAssociatedSnapshots=True)["DeleteSnapshotResults"]
    assert results == [{"SnapshotId": snapshot["SnapshotId"], "ReturnCode": "success"}]
    api.refused("InvalidSnapshot.NotFound", api.ec2.describe_snapshots, SnapshotIds=[snapshot["SnapshotId"]])


def test_the_clouds_image_can_be_copied(api):
    params = {"SourceImageId": api.world.image_id, "SourceRegion": "us-east-1", "Name": "micro of mine"}
    image = described(api, api.ec2.copy_image(**params, Description="mine now")["ImageId"])
    assert image["Description"] == "mine now"
    assert image["OwnerId"] == api.world.one.caller.account_id
    assert image["Public"] is False
    for code, changes in (
        ("InvalidAMIName.Duplicate", {}),
        ("InvalidParameterValue", {"Name": "other", "SourceRegion": "eu-west-1"}),
        ("InvalidAMIID.NotFound", {"Name": "other", "SourceImageId": "ami-00000000000000000"}),
        ("InvalidParameterDependency", {"Name": "other", "KmsKeyId": "alias/mine"}),
        ("InvalidParameterValue", {"Name": "other", "Encrypted": True, "KmsKeyId": "k"}),
    ):
        api.refused(code, api.ec2.copy_image, **params | changes)


def own_image(api):
    def add(tx):
        image = rows.image(account_id=api.world.one.caller.account_id, public=False, name="own")
        tx.session.add(image)
        tx.session.flush()
        tx.session.add_all([rows.image_device(image), rows.image_snapshot(image)])
        return image.id

    return api.run(add)


def test_a_pending_image_can_be_no_source(api, instance_id):
    image_id = create(api, instance_id, NoReboot=True)
    params = {"SourceImageId": image_id, "SourceRegion": "us-east-1", "Name": "a copy"}
    api.refused("InvalidAMIID.Unavailable", api.ec2.copy_image, **params)
    assert api.run(lambda tx: tx.session.get_one(Image, image_id).state) == "pending"


@pytest.mark.parametrize("with_snapshots", [False, True])
def test_a_pending_image_is_deregistered(api, instance_id, run_once, with_snapshots):
    """As Packer does that was interrupted."""
    image_id = create(api, instance_id, NoReboot=True)
    results = api.ec2.deregister_image(ImageId=image_id, DeleteAssociatedSnapshots=with_snapshots)
    assert len(results.get("DeleteSnapshotResults", [])) == (2 if with_snapshots else 0)
    finish(api, run_once)
    api.refused("InvalidAMIID.NotFound", api.ec2.describe_images, ImageIds=[image_id])
    assert [one["State"] for one in snapshots(api).values()] == ([] if with_snapshots else ["completed"] * 2)
    create(api, instance_id, NoReboot=True)
