"""Snapshots through boto3."""

import pytest

from stead_controller.db.tables import Host, HostResource, Image, ImageBlockDevice, Instance, Snapshot, Volume
from stead_controller.hosts import reports
from stead_controller.resources.storage import snapshot_life
from stead_proto.v1 import desired_pb2 as desired
from stead_proto.v1 import host_pb2 as pb
from tests.support import rows

ABSENT = "snap-00000000000000000"


@pytest.fixture
def instance(api):
    """An instance with its root volume and two more; gives its id and theirs, the root's first."""
    instance_id = api.launch()

    def more(tx):
        row = tx.session.get_one(Instance, instance_id)
        names = ("/dev/sdf", "/dev/sdg")
        volumes = [rows.volume(row, api.world, device_name=name, snapshot_id=None) for name in names]
        tx.session.add_all(volumes)
        return [volume.id for volume in volumes]

    (root,) = api.ec2.describe_volumes()["Volumes"]
    return instance_id, [root["VolumeId"], *api.run(more)]


@pytest.fixture
def sent(api):
    """What the host is to take, by id."""

    def read():
        def rows_of(tx):
            query = tx.session.query(HostResource).filter_by(kind=desired.KIND_SNAPSHOT)
            return {row.resource_id: row.body for row in query}

        bodies = {name: body for name, body in api.run(rows_of).items() if body is not None}
        return {name: desired.Resource.FromString(body).snapshot for name, body in bodies.items()}

    return read


@pytest.fixture
def report(api):
    """Report how far the host is with a snapshot."""

    def send(snapshot_id, simulated=False, **status):
        sent = pb.ResourceStatus(
            kind=desired.KIND_SNAPSHOT,
            id=snapshot_id,
            condition=pb.CONDITION_PENDING,
            snapshot=pb.SnapshotStatus(**status),
        )
        assert reports.is_news(sent, ())

        def apply(tx):
            tx.session.get_one(Host, api.world.host_id).simulated = simulated
            reports.apply_progress(tx, [(api.world.host_id, [sent])], api.world.now)

        api.run(apply)

    return send


@pytest.fixture
def complete(api):
    def end(snapshot_id):
        api.run(lambda tx: snapshot_life.complete(tx, tx.session.get_one(Snapshot, snapshot_id), api.world.now))

    return end


def described(api, snapshot_id):
    (found,) = api.ec2.describe_snapshots(SnapshotIds=[snapshot_id])["Snapshots"]
    return found


def test_a_snapshot_lives(api, instance, sent, report):
    _, (root, data, _) = instance
    tags = [{"ResourceType": "snapshot", "Tags": [{"Key": "a", "Value": "b"}]}]
    made = api.ec2.create_snapshot(VolumeId=data, Description="before", TagSpecifications=tags)
    snapshot_id = made["SnapshotId"]
    assert (made["State"], made["Progress"], made["VolumeId"]) == ("pending", "0%", data)
    assert (made["VolumeSize"], made["Encrypted"], made["Description"]) == (8, False, "before")
    assert made["Tags"] == [{"Key": "a", "Value": "b"}]
    assert sent() == {snapshot_id: desired.Snapshot(volume_id=data)}
    report(snapshot_id, blocks=10, blocks_done=4)
    assert described(api, snapshot_id)["Progress"] == "40%"
    report(snapshot_id, blocks=10, blocks_done=3)
    report(snapshot_id, blocks=10, blocks_done=10, complete=True)
    # Only what the block store has makes a real host's snapshot complete.
    shown = described(api, snapshot_id)
    assert (shown["State"], shown["Progress"]) == ("pending", "99%")
    report(snapshot_id, simulated=True, complete=True)
    shown = described(api, snapshot_id)
    assert (shown["State"], shown["Progress"], shown["FullSnapshotSizeInBytes"]) == ("completed", "100%", 0)
    assert shown["CompletionTime"] == api.world.now
    assert sent() == {}
    child = api.ec2.create_snapshot(VolumeId=data)["SnapshotId"]
    api.ec2.create_snapshot(VolumeId=root)
    assert sent()[child] == desired.Snapshot(volume_id=data, parent_id=snapshot_id)
    api.ec2.delete_snapshot(SnapshotId=snapshot_id)
    api.refused("InvalidSnapshot.NotFound", api.ec2.delete_snapshot, SnapshotId=snapshot_id)
    assert api.ec2.describe_tags()["Tags"] == []


def test_all_volumes_of_an_instance_at_one_instant(api, instance, sent):
    instance_id, (root, data, other) = instance
    api.ec2.create_tags(Resources=[data], Tags=[{"Key": "Name", "Value": "data"}, {"Key": "a", "Value": "old"}])
    tags = [{"ResourceType": "snapshot", "Tags": [{"Key": "a", "Value": "new"}]}]
    made = api.ec2.create_snapshots(
        InstanceSpecification={"InstanceId": instance_id}, CopyTagsFromSource="volume", TagSpecifications=tags
    )["Snapshots"]
    assert {one["VolumeId"] for one in made} == {root, data, other}
    by_volume = {one["VolumeId"]: one for one in made}
    assert by_volume[data]["Tags"] == [{"Key": "Name", "Value": "data"}, {"Key": "a", "Value": "new"}]
    assert by_volume[other]["Tags"] == [{"Key": "a", "Value": "new"}]
    taken = sent()
    assert {one.volume_id for one in taken.values()} == {root, data, other}
    assert len({one.set_id for one in taken.values()}) == 1
    assert all(list(one.set_volume_ids) == sorted((root, data, other)) for one in taken.values())
    spec = {"InstanceId": instance_id, "ExcludeBootVolume": True, "ExcludeDataVolumeIds": [other]}
    (one,) = api.ec2.create_snapshots(InstanceSpecification=spec)["Snapshots"]
    assert one["VolumeId"] == data
    assert sent()[one["SnapshotId"]].set_id == ""


def test_with_one_of_a_set_all_of_it_fail(api, instance, sent, complete):
    """As in EC2: what is not of one instant with the others is of no use; the volumes can be snapshot again."""
    instance_id, _ = instance
    one, other, third = (
        made["SnapshotId"]
        for made in api.ec2.create_snapshots(InstanceSpecification={"InstanceId": instance_id})["Snapshots"]
    )
    apart = api.ec2.create_snapshots(InstanceSpecification={"InstanceId": instance_id})["Snapshots"]
    complete(third)
    api.run(lambda tx: snapshot_life.fail(tx, tx.session.get_one(Snapshot, one), snapshot_life.FAILED))
    shown = {made: described(api, made) for made in (one, other, third)}
    assert [made["State"] for made in shown.values()] == ["error", "error", "completed"]
    assert [shown[made]["StateMessage"] for made in (one, other)] == [snapshot_life.FAILED, snapshot_life.OF_SET]
    assert set(sent()) == {made["SnapshotId"] for made in apart}
    api.ec2.delete_snapshot(SnapshotId=apart[0]["SnapshotId"])  # which is no failure of the others
    assert [described(api, made["SnapshotId"])["State"] for made in apart[1:]] == ["pending", "pending"]


def test_what_cannot_be_taken(api, instance):
    instance_id, (root, data, other) = instance
    create, create_all = api.ec2.create_snapshot, api.ec2.create_snapshots
    api.refused("InvalidVolume.NotFound", create, VolumeId="vol-00000000000000000")
    api.refused("InvalidParameterValue", create, VolumeId="x")
    api.refused("InvalidParameterValue", create, VolumeId=data, Description="x" * 256)
    api.refused("UnsupportedOperation", create, VolumeId=data, Location="local")
    api.refused("DryRunOperation", create, VolumeId=data, DryRun=True)
    api.refused("InvalidInstanceID.NotFound", create_all, InstanceSpecification={"InstanceId": "i-00000000000000000"})
    for excluded, code in (([root], "InvalidParameterValue"), (["vol-00000000000000000"], "InvalidVolume.NotFound")):
        api.refused(
            code, create_all, InstanceSpecification={"InstanceId": instance_id, "ExcludeDataVolumeIds": excluded}
        )
    spec = {"InstanceId": instance_id, "ExcludeBootVolume": True, "ExcludeDataVolumeIds": [data, other]}
    api.refused("InvalidParameterValue", create_all, InstanceSpecification=spec)
    api.run(lambda tx: setattr(tx.session.get_one(Volume, other), "state", "creating"))
    api.refused("IncorrectState", create, VolumeId=other)
    for _ in range(5):
        create(VolumeId=data)
    api.refused("ConcurrentSnapshotLimitExceeded", create, VolumeId=data)
    api.run(lambda tx: setattr(tx.session.get_one(Volume, root), "volume_type", "st1"))
    create(VolumeId=root)
    assert "type st1" in api.refused("ConcurrentSnapshotLimitExceeded", create, VolumeId=root)


def test_a_volume_without_a_disk_is_as_what_it_was_made_of(api, instance, sent):
    _, (*_, other) = instance

    def take_home(tx):
        volume = tx.session.get_one(Volume, other)
        volume.host_id = volume.attached_host_id = None

    api.run(take_home)
    made = api.ec2.create_snapshot(VolumeId=other)
    assert made["State"] == "pending"
    assert described(api, made["SnapshotId"])["State"] == "completed"
    assert sent() == {}


def test_a_volume_stays_until_its_snapshot_is_taken(api, instance, complete):
    _, (_, data, _) = instance
    snapshot_id = api.ec2.create_snapshot(VolumeId=data)["SnapshotId"]
    api.run(lambda tx: setattr(tx.session.get_one(Volume, data), "state", "deleting"))
    complete(snapshot_id)
    removal = api.run(lambda tx: tx.session.get(HostResource, (api.world.host_id, int(desired.KIND_VOLUME), data)))
    assert removal is None or removal.body is None


def test_copies(api, instance, complete):
    _, (_, data, _) = instance
    source = api.ec2.create_snapshot(VolumeId=data)["SnapshotId"]
    copy = api.ec2.copy_snapshot
    asked = {"SourceRegion": "us-east-1", "SourceSnapshotId": source}
    api.refused("IncorrectState", copy, **asked)
    complete(source)
    tags = [{"ResourceType": "snapshot", "Tags": [{"Key": "a", "Value": "b"}]}]
    made = copy(**asked, Description="again", TagSpecifications=tags)
    assert made["Tags"] == [{"Key": "a", "Value": "b"}]
    shown = described(api, made["SnapshotId"])
    assert (shown["State"], shown["VolumeId"], shown["Description"]) == ("completed", "vol-ffffffff", "again")
    api.refused("InvalidParameterValue", copy, SourceRegion="eu-west-1", SourceSnapshotId=source)
    api.refused("InvalidSnapshot.NotFound", copy, SourceRegion="us-east-1", SourceSnapshotId=ABSENT)
    api.refused("InvalidSnapshot.NotFound", api.other.copy_snapshot, **asked)


ATTRIBUTE = "createVolumePermission"


@pytest.fixture
def snapshot_id(api, instance, complete):
    """The id of a complete snapshot."""
    _, (_, data, _) = instance
    made = api.ec2.create_snapshot(VolumeId=data)["SnapshotId"]
    complete(made)
    return made


@pytest.fixture
def permissions(api, snapshot_id):
    """Ask who may make volumes of it."""

    def ask():
        shown = api.ec2.describe_snapshot_attribute(SnapshotId=snapshot_id, Attribute=ATTRIBUTE)
        return shown["CreateVolumePermissions"]

    return ask


def test_sharing(api, snapshot_id, permissions):
    them = api.world.other.caller.account_id
    modify, attribute = api.ec2.modify_snapshot_attribute, ATTRIBUTE

    def seen():
        return [one["SnapshotId"] for one in api.other.describe_snapshots()["Snapshots"]]

    assert (permissions(), seen()) == ([], [])
    modify(SnapshotId=snapshot_id, Attribute=attribute, OperationType="add", UserIds=[them])
    modify(SnapshotId=snapshot_id, CreateVolumePermission={"Add": [{"UserId": them}]})
    assert (permissions(), seen()) == ([{"UserId": them}], [snapshot_id])
    api.refused("InvalidSnapshot.NotFound", api.other.delete_snapshot, SnapshotId=snapshot_id)
    modify(SnapshotId=snapshot_id, CreateVolumePermission={"Add": [{"Group": "all"}], "Remove": [{"UserId": them}]})
    assert (permissions(), seen()) == ([{"Group": "all"}], [snapshot_id])
    assert api.other.describe_snapshots(RestorableByUserIds=["all"])["Snapshots"][0]["SnapshotId"] == snapshot_id
    api.ec2.reset_snapshot_attribute(SnapshotId=snapshot_id, Attribute=attribute)
    assert (permissions(), seen()) == ([], [])
    assert "CreateVolumePermissions" not in api.ec2.describe_snapshot_attribute(
        SnapshotId=snapshot_id, Attribute="productCodes"
    )
    for code, asked in (
        ("InvalidParameterCombination", {}),
        ("MissingParameter", {"UserIds": [them]}),
        ("InvalidUserID.Malformed", {"OperationType": "add", "UserIds": ["me"]}),
        ("InvalidGroup.Malformed", {"OperationType": "add", "GroupNames": ["some"]}),
        ("InvalidParameterValue", {"Attribute": "productCodes", "OperationType": "add", "UserIds": [them]}),
    ):
        api.refused(code, modify, SnapshotId=snapshot_id, **asked)


def test_permissions_in_both_forms(api, snapshot_id, permissions):
    """As Packer (UserIds, GroupNames) and Cloud Custodian (OperationType) send them: both must say the same."""
    them = api.world.other.caller.account_id
    modify = api.ec2.modify_snapshot_attribute

    add, remove = ({kind: [{"UserId": them}, {"Group": "all"}]} for kind in ("Add", "Remove"))
    modify(SnapshotId=snapshot_id, CreateVolumePermission=add, UserIds=[them])
    assert permissions() == [{"Group": "all"}, {"UserId": them}]
    modify(SnapshotId=snapshot_id, CreateVolumePermission=remove, OperationType="remove", GroupNames=["all"])
    assert permissions() == []
    modify(SnapshotId=snapshot_id, CreateVolumePermission=add, OperationType="add")
    for code, asked in (
        ("InvalidParameterValue", {"OperationType": "give"}),
        ("InvalidParameterCombination", {"OperationType": "add"}),
        ("InvalidParameterCombination", {"UserIds": ["333333333333"]}),
        ("InvalidParameterCombination", {"GroupNames": ["some"]}),
    ):
        api.refused(code, modify, SnapshotId=snapshot_id, CreateVolumePermission=remove, **asked)
    assert permissions() == [{"Group": "all"}, {"UserId": them}]


def test_a_snapshot_of_an_image_cannot_be_deleted(api, instance, complete):
    _, (_, data, _) = instance
    snapshot_id = api.ec2.create_snapshot(VolumeId=data)["SnapshotId"]
    complete(snapshot_id)

    def use(tx):
        image = rows.image(account_id=api.world.one.caller.account_id, public=False)
        tx.session.add(image)
        tx.session.flush()
        tx.session.add(ImageBlockDevice(image_id=image.id, device_name="/dev/sda1", snapshot_id=snapshot_id))
        return image.id

    image_id = api.run(use)
    message = api.refused("InvalidSnapshot.InUse", api.ec2.delete_snapshot, SnapshotId=snapshot_id)
    assert image_id in message
    api.run(lambda tx: tx.session.delete(tx.session.get_one(Image, image_id)))
    api.ec2.delete_snapshot(SnapshotId=snapshot_id)


def test_pages(api, instance):
    _, volumes = instance
    made = [api.ec2.create_snapshot(VolumeId=volume)["SnapshotId"] for volume in volumes for _ in range(2)]
    pages = api.ec2.get_paginator("describe_snapshots").paginate(OwnerIds=["self"], PaginationConfig={"PageSize": 5})
    assert [one["SnapshotId"] for page in pages for one in page["Snapshots"]] == sorted(made)
