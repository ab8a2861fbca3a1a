"""Volumes through boto3: made, attached, detached, modified, deleted; what hosts say settles it."""

import pytest
from sqlalchemy import update

from stead_controller.db.tables import HostResource, Instance, StoragePool, Volume
from stead_controller.hosts.reports import apply_progress
from stead_proto.v1 import desired_pb2 as desired
from stead_proto.v1 import host_pb2 as pb
from tests.support import rows
from tests.support.rows import GIB, NOW

ZONE = "us-east-1a"
AT_SDG = [{"Name": "attachment.device", "Values": ["/dev/sdg"]}]
LATE = 1 << 40
"""A revision that is later than all."""


def settle(api, instance_id, *, plugged=(), host_id=None):
    """Let the host say that a machine is as it was asked to be."""
    report(api, desired.KIND_MACHINE, instance_id, machine=pb.MachineStatus(volume_ids=plugged), host_id=host_id)


def report(api, kind, name, condition=pb.CONDITION_READY, *, host_id=None, **more):
    status = pb.ResourceStatus(kind=kind, id=name, condition=condition, revision=LATE, **more)
    api.run(apply_progress, [(host_id or api.world.host_id, [status])], NOW)


def create(api, **params):
    return api.ec2.create_volume(**{"AvailabilityZone": ZONE, "Size": 10, "VolumeType": "gp3"} | params)["VolumeId"]


def shown(api, volume_id):
    (volume,) = api.ec2.describe_volumes(VolumeIds=[volume_id])["Volumes"]
    return volume


def set_state(api, instance_id, state):
    api.run(lambda tx: tx.session.execute(update(Instance).where(Instance.id == instance_id).values(state=state)))


@pytest.fixture
def instance_id(api):
    return api.launch()


@pytest.fixture
def volume_id(api):
    return create(api)


def attach(api, volume_id, instance_id, device="/dev/sdf"):
    return api.ec2.attach_volume(VolumeId=volume_id, InstanceId=instance_id, Device=device)


# -- made and deleted


def test_create(api):
    made = api.ec2.create_volume(
        AvailabilityZone=ZONE,
        Size=100,
        VolumeType="gp3",
        Iops=4000,
        Throughput=250,
        TagSpecifications=[{"ResourceType": "volume", "Tags": [{"Key": "Name", "Value": "data"}]}],
    )
    assert (made["Size"], made["Iops"], made["Throughput"], made["Encrypted"]) == (100, 4000, 250, False)
    assert (made["AvailabilityZone"], made["SnapshotId"], made["Attachments"]) == (ZONE, "", [])
    assert made["Tags"] == [{"Key": "Name", "Value": "data"}]
    assert made["State"] == "creating"
    volume = shown(api, made["VolumeId"])
    assert volume["State"] == "available"
    assert api.other.describe_volumes()["Volumes"] == []


def test_create_by_zone_id_and_token(api):
    made = api.ec2.create_volume(AvailabilityZoneId="use1-az1", Size=1, ClientToken="t")
    again = api.ec2.create_volume(AvailabilityZoneId="use1-az1", Size=1, ClientToken="t")
    assert (made["VolumeId"], made["VolumeType"], made["Iops"]) == (again["VolumeId"], "gp2", 100)
    api.refused(
        "IdempotentParameterMismatch", api.ec2.create_volume, AvailabilityZoneId="use1-az1", Size=2, ClientToken="t"
    )


@pytest.mark.parametrize(
    ("params", "code"),
    [
        ({}, "MissingParameter"),
        ({"AvailabilityZone": ZONE}, "MissingParameter"),
        ({"Size": 1}, "MissingParameter"),
        ({"AvailabilityZone": "us-east-1z", "Size": 1}, "InvalidZone.NotFound"),
        ({"AvailabilityZoneId": "use1-az9", "Size": 1}, "InvalidZone.NotFound"),
        ({"AvailabilityZone": ZONE, "AvailabilityZoneId": "use1-az1", "Size": 1}, "InvalidParameterCombination"),
        ({"AvailabilityZone": ZONE, "Size": 0}, "InvalidParameterValue"),
        ({"AvailabilityZone": ZONE, "Size": 1, "VolumeType": "gp9"}, "UnknownVolumeType"),
        ({"AvailabilityZone": ZONE, "Size": 8, "VolumeType": "io1"}, "MissingParameter"),
        ({"AvailabilityZone": ZONE, "Size": 8, "Iops": 100}, "InvalidParameterCombination"),
        ({"AvailabilityZone": ZONE, "Size": 8, "MultiAttachEnabled": True}, "InvalidParameterCombination"),
        (
            {"AvailabilityZone": ZONE, "Size": 8, "VolumeType": "io2", "Iops": 100, "MultiAttachEnabled": True},
            "UnsupportedOperation",
        ),
        ({"AvailabilityZone": ZONE, "Size": 8, "OutpostArn": "arn:aws:outposts:x"}, "UnsupportedOperation"),
        ({"AvailabilityZone": ZONE, "SnapshotId": "snap-00000000000000000"}, "InvalidSnapshot.NotFound"),
        ({"AvailabilityZone": ZONE, "SnapshotId": "x"}, "InvalidSnapshotID.Malformed"),
        ({"AvailabilityZone": ZONE, "Size": 8, "DryRun": True}, "DryRunOperation"),
    ],
)
def test_create_refused(api, params, code):
    api.refused(code, api.ec2.create_volume, **params)


def test_create_from_snapshots(api):
    mine, theirs = api.world.one.caller.account_id, api.world.other.caller.account_id

    def add(tx):
        found = [
            rows.snapshot(mine, volume_size=5),
            rows.snapshot(mine, state="pending"),
            rows.snapshot(theirs),
            rows.snapshot(theirs, public=True),
        ]
        tx.session.add_all(found)
        return [one.id for one in found]

    own, pending, foreign, public = api.run(add)
    volume = shown(api, create(api, SnapshotId=own, Size=6))
    assert (volume["SnapshotId"], volume["Size"]) == (own, 6)
    made = api.ec2.create_volume(AvailabilityZone=ZONE, SnapshotId=own)
    assert made["Size"] == 5
    message = api.refused("InvalidParameterValue", api.ec2.create_volume, AvailabilityZone=ZONE, SnapshotId=own, Size=4)
    assert f"smaller than snapshot '{own}', expect size >= 5GB" in message
    api.refused("IncorrectState", api.ec2.create_volume, AvailabilityZone=ZONE, SnapshotId=pending)
    api.refused("InvalidSnapshot.NotFound", api.ec2.create_volume, AvailabilityZone=ZONE, SnapshotId=foreign)
    assert shown(api, create(api, SnapshotId=public))["SnapshotId"] == public


def test_an_initialization_rate_is_refused(api):
    """Why is in `agent/stead_agent/disks/volumes/README.md`; so nothing is said of how far it is."""
    snapshot_id = api.run(_complete_snapshot, api.world.one.caller.account_id)
    asked = {"AvailabilityZone": ZONE, "SnapshotId": snapshot_id}
    for rate in (100, 300):
        message = api.refused("UnsupportedOperation", api.ec2.create_volume, **asked, VolumeInitializationRate=rate)
        assert "VolumeInitializationRate" in message
    volume_id = api.ec2.create_volume(**asked)["VolumeId"]
    [status] = api.ec2.describe_volume_status(VolumeIds=[volume_id])["VolumeStatuses"]
    assert "InitializationStatusDetails" not in status
    assert "VolumeInitializationRate" not in shown(api, volume_id)


def _complete_snapshot(tx, account_id):
    made = rows.snapshot(account_id)
    tx.session.add(made)
    return made.id


def test_delete_a_volume_that_was_never_attached(api, volume_id):
    api.ec2.create_tags(Resources=[volume_id], Tags=[{"Key": "a", "Value": "b"}])
    api.ec2.delete_volume(VolumeId=volume_id)
    api.refused("InvalidVolume.NotFound", api.ec2.describe_volumes, VolumeIds=[volume_id])
    assert api.ec2.describe_tags()["Tags"] == []


def test_delete_waits_for_the_home(api, volume_id, instance_id):
    attach(api, volume_id, instance_id)
    api.refused("VolumeInUse", api.ec2.delete_volume, VolumeId=volume_id)
    api.ec2.detach_volume(VolumeId=volume_id)
    settle(api, instance_id)
    api.ec2.delete_volume(VolumeId=volume_id)
    assert shown(api, volume_id)["State"] == "deleting"
    api.refused("IncorrectState", api.ec2.attach_volume, VolumeId=volume_id, InstanceId=instance_id, Device="/dev/sdf")
    report(api, desired.KIND_VOLUME, volume_id, pb.CONDITION_ABSENT)
    api.refused("InvalidVolume.NotFound", api.ec2.describe_volumes, VolumeIds=[volume_id])


# -- attached and detached


def test_attach_and_detach(api, volume_id, instance_id):
    made = attach(api, volume_id, instance_id)
    assert (made["State"], made["Device"], made["DeleteOnTermination"]) == ("attaching", "/dev/sdf", False)
    assert shown(api, volume_id)["State"] == "in-use"
    settle(api, instance_id, plugged=[volume_id])
    (attachment,) = shown(api, volume_id)["Attachments"]
    assert (attachment["State"], attachment["InstanceId"]) == ("attached", instance_id)
    (reservation,) = api.ec2.describe_instances(InstanceIds=[instance_id])["Reservations"]
    mappings = reservation["Instances"][0]["BlockDeviceMappings"]
    assert [mapping["DeviceName"] for mapping in mappings] == ["/dev/sda1", "/dev/sdf"]
    assert api.ec2.detach_volume(VolumeId=volume_id)["State"] == "detaching"
    api.refused("IncorrectState", api.ec2.detach_volume, VolumeId=volume_id)
    settle(api, instance_id, plugged=[volume_id])
    assert shown(api, volume_id)["Attachments"][0]["State"] == "detaching"
    settle(api, instance_id)
    volume = shown(api, volume_id)
    assert (volume["State"], volume["Attachments"]) == ("available", [])


def test_metadata_has_the_volumes_of_the_last_start(api, volume_id, instance_id):
    def ebs_at_start():
        key = (api.world.host_id, int(desired.KIND_MACHINE), instance_id)
        body = api.run(lambda tx: tx.session.get_one(HostResource, key).body)
        words = desired.Resource.FromString(body).machine.metadata
        return list(words.ebs_at_start.names) if words.HasField("ebs_at_start") else None

    def start_again():
        set_state(api, instance_id, "stopped")
        api.ec2.start_instances(InstanceIds=[instance_id])
        set_state(api, instance_id, "running")

    attach(api, volume_id, instance_id)
    assert ebs_at_start() == []
    start_again()
    assert ebs_at_start() is None  # those that it has
    attach(api, create(api), instance_id, "/dev/sdg")
    assert ebs_at_start() == ["/dev/sdf"]
    settle(api, instance_id)
    api.ec2.detach_volume(VolumeId=volume_id)
    settle(api, instance_id)
    assert ebs_at_start() == ["/dev/sdf"]
    start_again()
    api.ec2.detach_volume(VolumeId=api.ec2.describe_volumes(Filters=AT_SDG)["Volumes"][0]["VolumeId"])
    assert ebs_at_start() == ["/dev/sdg"]
    settle(api, instance_id)
    set_state(api, instance_id, "stopped")
    attach(api, volume_id, instance_id)
    api.ec2.start_instances(InstanceIds=[instance_id])
    assert ebs_at_start() is None
    set_state(api, instance_id, "stopped")
    api.ec2.detach_volume(VolumeId=volume_id)
    assert ebs_at_start() is None


def test_a_guest_that_does_not_release_a_volume(api, volume_id, instance_id):
    attach(api, volume_id, instance_id)
    settle(api, instance_id)
    api.ec2.detach_volume(VolumeId=volume_id)
    machine = pb.MachineStatus(volume_ids=[volume_id])
    report(api, desired.KIND_MACHINE, instance_id, pb.CONDITION_FAILED, machine=machine, error="in use")
    assert shown(api, volume_id)["Attachments"][0]["State"] == "busy"
    settle(api, instance_id)
    assert shown(api, volume_id)["State"] == "available"


def test_attach_refused(api, volume_id, instance_id):
    def refused(code, **changes):
        params = {"VolumeId": volume_id, "InstanceId": instance_id, "Device": "/dev/sdf"}
        return api.refused(code, api.ec2.attach_volume, **params | changes)

    assert refused("InvalidParameterValue", Device="hdf") == (
        "Value (hdf) for parameter device is invalid. hdf is not a valid EBS device name."
    )
    assert refused("InvalidParameterValue", Device="/dev/sda1") == (
        "Invalid value '/dev/sda1' for unixDevice. Attachment point /dev/sda1 is already in use"
    )
    refused("InvalidVolume.NotFound", VolumeId="vol-00000000000000000")
    refused("InvalidInstanceID.NotFound", InstanceId="i-00000000000000000")
    elsewhere = api.launch(zone="us-east-1b", number=1)
    refused("InvalidVolume.ZoneMismatch", InstanceId=elsewhere)
    refused("IncorrectState", InstanceId=api.launch(state="shutting-down", number=2))
    refused("DryRunOperation", DryRun=True)
    assert attach(api, volume_id, instance_id, "xvdh")["Device"] == "xvdh"  # as EC2's own example has it
    assert refused("VolumeInUse", Device="/dev/sdg") == f"{volume_id} is already attached to an instance"
    taken = {"VolumeId": create(api), "InstanceId": instance_id, "Device": "/dev/sdh"}
    api.refused("InvalidParameterValue", api.ec2.attach_volume, **taken)
    assert attach(api, taken["VolumeId"], instance_id, "sdi")["Device"] == "sdi"  # as RunInstances takes it


def test_a_full_instance(api, instance_id):
    for letter in "bcdefghijklmnopqrstuvwxyz":
        attach(api, create(api, Size=1), instance_id, f"/dev/sd{letter}")
    attach(api, create(api, Size=1), instance_id, "/dev/xvdba")
    one_more = create(api, Size=1)
    api.refused(
        "AttachmentLimitExceeded",
        api.ec2.attach_volume,
        VolumeId=one_more,
        InstanceId=instance_id,
        Device="/dev/xvdbb",
    )


def test_detach_refused(api, volume_id, instance_id):
    api.refused("IncorrectState", api.ec2.detach_volume, VolumeId=volume_id)
    attach(api, volume_id, instance_id)
    other_instance = api.launch(number=1)
    detach = api.ec2.detach_volume
    api.refused("InvalidAttachment.NotFound", detach, VolumeId=volume_id, InstanceId=other_instance)
    api.refused("InvalidAttachment.NotFound", detach, VolumeId=volume_id, Device="/dev/sdg")
    root = next(one["VolumeId"] for one in api.ec2.describe_volumes()["Volumes"] if one["VolumeId"] != volume_id)
    api.refused("OperationNotPermitted", detach, VolumeId=root)


def test_another_root_volume(api, instance_id):
    (root,) = api.ec2.describe_volumes()["Volumes"]
    set_state(api, instance_id, "stopped")
    api.ec2.detach_volume(VolumeId=root["VolumeId"])
    settle(api, instance_id)
    message = api.refused("InvalidParameterValue", api.ec2.start_instances, InstanceIds=[instance_id])
    assert "does not have a volume attached at root (/dev/sda1)" in message
    cold = create(api, VolumeType="sc1", Size=125)
    params = {"VolumeId": cold, "InstanceId": instance_id, "Device": "/dev/sda1"}
    assert "sc1 volumes cannot be used as root" in api.refused("InvalidParameterValue", api.ec2.attach_volume, **params)
    other_root = create(api)
    attach(api, other_root, instance_id, "/dev/sda1")
    settle(api, instance_id)
    api.ec2.start_instances(InstanceIds=[instance_id])
    attach(api, root["VolumeId"], api.launch(number=1), "/dev/sdf")


def test_delete_on_termination(api, volume_id, instance_id):
    attach(api, volume_id, instance_id)
    settle(api, instance_id)
    remaining = create(api)
    attach(api, remaining, instance_id, "/dev/sdg")
    settle(api, instance_id)
    api.ec2.modify_instance_attribute(
        InstanceId=instance_id,
        BlockDeviceMappings=[{"DeviceName": "/dev/sdf", "Ebs": {"DeleteOnTermination": True}}],
    )
    shown_mappings = api.ec2.describe_instance_attribute(InstanceId=instance_id, Attribute="blockDeviceMapping")
    deleted_with = {
        one["DeviceName"]: one["Ebs"]["DeleteOnTermination"] for one in shown_mappings["BlockDeviceMappings"]
    }
    assert deleted_with == {"/dev/sda1": True, "/dev/sdf": True, "/dev/sdg": False}
    api.ec2.terminate_instances(InstanceIds=[instance_id])
    report(api, desired.KIND_MACHINE, instance_id, pb.CONDITION_ABSENT)
    states = {one["VolumeId"]: one["State"] for one in api.ec2.describe_volumes()["Volumes"]}
    assert (states[volume_id], states[remaining]) == ("deleting", "available")
    report(api, desired.KIND_VOLUME, volume_id, pb.CONDITION_ABSENT)
    attach(api, remaining, api.launch(number=1))


# -- pools


def pool(api, **changes):
    values = {"host_id": api.world.host_id, "name": "main", "backend": "directory", "is_default": True}
    values |= {"total": 10 * GIB, "free": 10 * GIB, "provisioned": 0}

    def add(tx):
        tx.session.add(StoragePool(**values | changes))

    api.run(add)


def provisioned(api, name="main"):
    return api.run(lambda tx: tx.session.get_one(StoragePool, (api.world.host_id, name)).provisioned) // GIB


def test_capacity_is_taken_when_a_volume_gets_its_home_and_released(api, instance_id):
    pool(api)
    volume_id = create(api, Size=30)
    assert provisioned(api) == 0
    attach(api, volume_id, instance_id)
    assert provisioned(api) == 30
    settle(api, instance_id)
    api.refused("InsufficientVolumeCapacity", api.ec2.modify_volume, VolumeId=volume_id, Size=41)
    api.ec2.modify_volume(VolumeId=volume_id, Size=40)
    assert provisioned(api) == 40
    api.ec2.detach_volume(VolumeId=volume_id)
    settle(api, instance_id)
    api.ec2.delete_volume(VolumeId=volume_id)
    assert provisioned(api) == 40
    report(api, desired.KIND_VOLUME, volume_id, pb.CONDITION_ABSENT)
    assert provisioned(api) == 0


def test_no_pool_has_room(api, instance_id):
    pool(api)
    api.refused("InsufficientVolumeCapacity", api.ec2.create_volume, AvailabilityZone=ZONE, Size=41)
    first, second = create(api, Size=25), create(api, Size=25)
    attach(api, first, instance_id)
    api.refused(
        "InsufficientVolumeCapacity",
        api.ec2.attach_volume,
        VolumeId=second,
        InstanceId=instance_id,
        Device="/dev/sdg",
    )


def test_pools_of_types(api, instance_id):
    pool(api)
    pool(api, name="slow", is_default=False, volume_types="sc1 st1", total=1000 * GIB)
    attach(api, create(api, VolumeType="st1", Size=125), instance_id)
    assert (provisioned(api), provisioned(api, "slow")) == (0, 125)


# -- modified


def test_modify(api, volume_id, instance_id):
    attach(api, volume_id, instance_id)
    settle(api, instance_id)
    begun = api.ec2.modify_volume(VolumeId=volume_id, Size=20, Iops=5000)["VolumeModification"]
    assert (begun["ModificationState"], begun["OriginalSize"], begun["TargetIops"]) == ("modifying", 10, 5000)
    report(api, desired.KIND_VOLUME, volume_id, volume=pb.VolumeStatus(size=20 * GIB))
    (after,) = api.ec2.describe_volumes_modifications(VolumeIds=[volume_id])["VolumesModifications"]
    assert (after["ModificationState"], after["Progress"]) == ("completed", 100)
    for size in (30, 40, 50):  # EC2 lets a volume be modified four times in a rolling day
        api.ec2.modify_volume(VolumeId=volume_id, Size=size)
        report(api, desired.KIND_VOLUME, volume_id, volume=pb.VolumeStatus(size=size * GIB))
    api.refused("VolumeModificationRateExceeded", api.ec2.modify_volume, VolumeId=volume_id, Size=60)


def test_modify_a_volume_without_a_home(api, volume_id):
    api.ec2.modify_volume(VolumeId=volume_id, VolumeType="io1", Iops=200)
    (after,) = api.ec2.describe_volumes_modifications()["VolumesModifications"]
    assert after["ModificationState"] == "completed"
    assert shown(api, volume_id)["Iops"] == 200


# -- health


def test_a_full_pool(api, volume_id, instance_id):
    attach(api, volume_id, instance_id)
    settle(api, instance_id)

    def status():
        (found,) = api.ec2.describe_volume_status(VolumeIds=[volume_id])["VolumeStatuses"]
        return found["VolumeStatus"]["Status"], [event["EventType"] for event in found["Events"]]

    report(api, desired.KIND_VOLUME, volume_id, pb.CONDITION_PENDING, volume=pb.VolumeStatus(full=True))
    assert status() == ("impaired", ["stalled"])
    api.refused("IncorrectState", api.ec2.enable_volume_io, VolumeId=volume_id)
    report(api, desired.KIND_VOLUME, volume_id, volume=pb.VolumeStatus())
    assert status() == ("ok", [])
    api.ec2.enable_volume_io(VolumeId=volume_id)
    report(api, desired.KIND_VOLUME, volume_id, volume=pb.VolumeStatus(full=True, stalled=True))
    api.ec2.detach_volume(VolumeId=volume_id)
    settle(api, instance_id, plugged=[volume_id])
    assert status() == ("impaired", ["stalled", "stalled"])
    settle(api, instance_id)
    assert status() == ("ok", []), "no guest waits any more"


def test_a_full_pool_of_another_host(api, volume_id, instance_id):
    """Only the host of the guest knows that it waits for room; that the home says nothing of it ends nothing."""
    attach(api, volume_id, instance_id)
    settle(api, instance_id)
    home = api.run(add_host)
    api.run(lambda tx: tx.session.execute(update(Volume).where(Volume.id == volume_id).values(host_id=home)))

    def says(host_id, *, full):
        report(api, desired.KIND_VOLUME, volume_id, host_id=host_id, volume=pb.VolumeStatus(size=10 * GIB, full=full))
        (found,) = api.ec2.describe_volume_status(VolumeIds=[volume_id])["VolumeStatuses"]
        return found["VolumeStatus"]["Status"]

    assert says(api.world.host_id, full=True) == "impaired"
    assert says(home, full=False) == "impaired"
    assert says(api.world.host_id, full=False) == "ok"
    assert says(home, full=True) == "ok"


def add_host(tx):
    host = rows.host()
    tx.session.add(host)
    return host.id


def test_attributes(api, volume_id):
    api.refused("InvalidParameterCombination", api.ec2.modify_volume_attribute, VolumeId=volume_id)
    api.ec2.modify_volume_attribute(VolumeId=volume_id, AutoEnableIO={"Value": True})
    shown_attribute = api.ec2.describe_volume_attribute(VolumeId=volume_id, Attribute="autoEnableIO")
    assert shown_attribute["AutoEnableIO"] == {"Value": True}
