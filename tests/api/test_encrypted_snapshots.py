"""Encrypted snapshots through boto3: whose key they have, who is sent it and when, and what is encrypted anew."""

import asyncio
import contextlib
import json
from datetime import UTC, datetime, timedelta
from functools import partial

import pytest

from stead_controller.db.tables import Snapshot, StoredBlock, Volume, WrittenBlock
from stead_controller.resources import workflow_rows
from stead_controller.resources.storage import snapshot_life, volume_keys
from stead_controller.workflows.copy_image import CopyImage
from stead_controller.workflows.engine import Engine, GiveUp
from stead_controller.workflows.recode_snapshot import RecodeSnapshot
from stead_proto.blocks import ZERO_BLOCK, digest_of
from tests.api.test_ebs_direct import compose, noise, read, write  # noqa: F401 - fixtures
from tests.api.test_ebs_encryption import OTHER_KEY, key_of, make, sent
from tests.api.test_images import register, the_image
from tests.api.test_volumes import attach, settle, shown

COPY = {"SourceRegion": "us-east-1"}


@pytest.fixture
def instance_id(api):
    return api.launch()


@pytest.fixture
def ebs(api):
    return api.client(api.world.one, "ebs")


@pytest.fixture
def run_once(api):
    """Run the workflows that are due, each step twice, as when its controller was killed; gives how many there were.

    Time moves by a minute.
    """
    moment = [datetime.now(UTC)]  # the endpoint has the real time
    clock = lambda: moment[0]  # noqa: E731 - a clock is a function
    makers = {
        RecodeSnapshot.kind: partial(
            RecodeSnapshot, api.database, clock, store=api.blocks, sealer=api.world.cloud.sealer
        ),
        CopyImage.kind: partial(CopyImage, api.database, clock),
    }
    engine = Engine(api.database, clock, makers, monotonic=lambda: clock().timestamp())

    async def step():
        moment[0] += timedelta(minutes=1)
        past = clock() - timedelta(seconds=1)
        due = await api.database.run(lambda tx: workflow_rows.lease_due(tx, engine.holder, clock(), past, 10))
        for row in due:
            life = engine.make[row.kind](row.id, json.loads(row.facts))
            with contextlib.suppress(GiveUp):  # the second run fails alike, and is the one that counts
                await getattr(life, row.step)()
            await engine.step(row, clock())
        return len(due)

    return lambda: asyncio.run(step())


def snapshot_of(api, volume_id):
    return api.ec2.create_snapshot(VolumeId=volume_id)["SnapshotId"]


def described(api, snapshot_id):
    (found,) = api.ec2.describe_snapshots(SnapshotIds=[snapshot_id])["Snapshots"]
    return found


def complete(api, snapshot_id):
    """Let the host have brought all of it to the store."""
    api.run(lambda tx: snapshot_life.complete(tx, tx.session.get_one(Snapshot, snapshot_id), api.world.now))


def snapshot_key(api, snapshot_id):
    def opened(tx):
        sealed = tx.session.get_one(Snapshot, snapshot_id).sealed_key
        return sealed and api.world.cloud.sealer.open(sealed, volume_keys.CONTEXT)

    return api.run(opened)


def encrypted_volume(api, instance_id, device="/dev/sdf", plugged=(), **params):
    """One that an instance has."""
    volume_id = make(api, Size=1, Encrypted=True, **params)["VolumeId"]
    attach(api, volume_id, instance_id, device)
    settle(api, instance_id, plugged=[*plugged, volume_id])
    return volume_id


def detach(api, volume_id, instance_id):
    api.ec2.detach_volume(VolumeId=volume_id)
    settle(api, instance_id)


def test_a_snapshot_has_its_volumes_key_and_the_host_while_it_takes_it(api, instance_id):
    volume_id = encrypted_volume(api, instance_id)
    first = snapshot_of(api, volume_id)
    shown_first = described(api, first)
    assert (shown_first["Encrypted"], shown_first["KmsKeyId"]) == (True, shown(api, volume_id)["KmsKeyId"])
    assert sent(api, "snapshot", first).encryption_key == key_of(api, volume_id) == snapshot_key(api, first)
    complete(api, first)
    assert sent(api, "snapshot", first) is None
    assert sent(api, "volume", volume_id).encryption_key == key_of(api, volume_id)

    detach(api, volume_id, instance_id)
    assert sent(api, "volume", volume_id).encryption_key == b""
    second = snapshot_of(api, volume_id)
    assert sent(api, "snapshot", second).parent_id == first
    assert sent(api, "volume", volume_id).encryption_key == key_of(api, volume_id), "its home must read it"
    complete(api, second)
    assert sent(api, "volume", volume_id).encryption_key == b""


def test_volumes_of_an_encrypted_snapshot_share_its_key_under_the_same_key_of_kms(api, instance_id, run_once):
    source = encrypted_volume(api, instance_id)
    snapshot_id = snapshot_of(api, source)
    complete(api, snapshot_id)
    same, other = make(api, SnapshotId=snapshot_id), make(api, SnapshotId=snapshot_id, KmsKeyId=OTHER_KEY)
    assert same["Encrypted"] is other["Encrypted"] is True
    assert (same["KmsKeyId"], other["KmsKeyId"][-36:]) == (shown(api, source)["KmsKeyId"], OTHER_KEY)
    assert key_of(api, same["VolumeId"]) == key_of(api, source) != key_of(api, other["VolumeId"])

    attach(api, other["VolumeId"], instance_id, "/dev/sdg")
    settle(api, instance_id, plugged=[source, other["VolumeId"]])
    base = sent(api, "base", snapshot_id)
    assert (base.encrypted, base.encryption_key) == (True, key_of(api, source))
    detach(api, other["VolumeId"], instance_id)
    base = sent(api, "base", snapshot_id)
    assert (base.encrypted, base.encryption_key) == (True, b"")
    taken = snapshot_of(api, other["VolumeId"])
    assert sent(api, "base", snapshot_id).encryption_key == key_of(api, source), "what it is laid over is read too"
    complete(api, taken)
    assert sent(api, "base", snapshot_id).encryption_key == b""

    at_once = snapshot_of(api, same["VolumeId"])  # it has no disk yet
    assert described(api, at_once)["State"] == "completed"
    assert run_once() == 0


def test_the_bases_key_goes_with_the_last_volume_that_is_read(api, instance_id):
    source = encrypted_volume(api, instance_id)
    snapshot_id = snapshot_of(api, source)
    complete(api, snapshot_id)
    remaining, gone = (make(api, SnapshotId=snapshot_id)["VolumeId"] for _ in range(2))
    for number, volume_id in enumerate((remaining, gone)):
        attach(api, volume_id, instance_id, f"/dev/sd{'gh'[number]}")
    settle(api, instance_id, plugged=[source, remaining, gone])
    detach(api, remaining, instance_id)
    settle(api, instance_id, plugged=[source, gone])
    assert sent(api, "base", snapshot_id).encryption_key == key_of(api, source)
    api.ec2.detach_volume(VolumeId=gone, Force=True)
    settle(api, instance_id, plugged=[source])
    api.ec2.delete_volume(VolumeId=gone)
    assert sent(api, "base", snapshot_id).encryption_key == b""


def contents(count):
    return {index: noise() for index in (0, 3, 1023, 1030)[:count]}


def test_a_plain_snapshot_is_encrypted_while_it_is_copied(api, ebs, write, run_once):  # noqa: F811 - a fixture
    blocks = contents(4)
    plain = write(blocks)
    made = api.ec2.copy_snapshot(SourceSnapshotId=plain, Encrypted=True, **COPY)["SnapshotId"]
    assert (described(api, made)["State"], described(api, made)["Encrypted"]) == ("pending", True)
    api.refused("IncorrectState", lambda: make(api, SnapshotId=made))
    assert run_once() == 1
    assert run_once() == 0
    assert (described(api, made)["State"], described(api, made)["Progress"]) == ("completed", "100%")
    assert read(ebs, made) == read(ebs, plain) == blocks
    known = set(api.run(lambda tx: list(tx.session.scalars(tx.session.query(StoredBlock.digest).statement))))
    assert len(known) == 2 * len(blocks), "no block of it is one of the other"
    assert {digest_of(content) for content in blocks.values()} < known

    again = api.ec2.copy_snapshot(SourceSnapshotId=made, **COPY)["SnapshotId"]
    assert described(api, again)["State"] == "completed", "under the same key no block moves"
    assert snapshot_key(api, again) == snapshot_key(api, made)
    rekeyed = api.ec2.copy_snapshot(SourceSnapshotId=made, KmsKeyId=OTHER_KEY, Encrypted=True, **COPY)["SnapshotId"]
    assert described(api, rekeyed)["KmsKeyId"].endswith(OTHER_KEY)
    api.ec2.delete_snapshot(SnapshotId=made)  # its blocks stay until they are encrypted anew
    api.ec2.delete_snapshot(SnapshotId=plain)
    while asyncio.run(api.blocks.collect()):
        pass
    assert run_once() == 1
    assert read(ebs, rekeyed) == blocks
    assert snapshot_key(api, rekeyed) != snapshot_key(api, again)


def test_clients_write_and_compare_encrypted_snapshots(api, ebs, write):  # noqa: F811 - a fixture
    blocks = contents(3)
    first = write(
        blocks | {5: ZERO_BLOCK}, Encrypted=True, KmsKeyArn=f"arn:aws:kms:us-east-1:123456789012:key/{OTHER_KEY}"
    )
    assert read(ebs, first) == blocks
    assert (described(api, first)["Encrypted"], described(api, first)["KmsKeyId"][-36:]) == (True, OTHER_KEY)
    later = noise()
    second = write({3: later}, ParentSnapshotId=first)
    assert read(ebs, second) == blocks | {3: later}
    assert snapshot_key(api, second) == snapshot_key(api, first)
    changed = ebs.list_changed_blocks(FirstSnapshotId=first, SecondSnapshotId=second)["ChangedBlocks"]
    assert [each["BlockIndex"] for each in changed] == [3]
    known = set(api.run(lambda tx: list(tx.session.scalars(tx.session.query(StoredBlock.digest).statement))))
    assert not known & {digest_of(content) for content in (*blocks.values(), later)}
    assert api.run(lambda tx: tx.session.query(WrittenBlock).count()) == 0
    api.refused("ValidationException", ebs.start_snapshot, VolumeSize=1, ParentSnapshotId=first, Encrypted=True)
    api.ec2.enable_ebs_encryption_by_default()
    assert ebs.start_snapshot(VolumeSize=1)["SseType"] == "sse-kms"


def test_a_master_key_changed_in_between_moves_no_block(api, ebs, write, run_once):  # noqa: F811 - a fixture
    blocks = contents(2)
    source = write(blocks, Encrypted=True)
    known = api.run(lambda tx: tx.session.query(StoredBlock).count())
    made = api.ec2.copy_snapshot(SourceSnapshotId=source, Description="later", **COPY)["SnapshotId"]
    assert described(api, made)["State"] == "completed"

    def reseal(tx):
        snapshot = tx.session.get_one(Snapshot, source)
        snapshot.sealed_key = api.world.cloud.sealer.reseal(snapshot.sealed_key, volume_keys.CONTEXT)

    def recode(tx):
        snapshot = tx.session.get_one(Snapshot, pending)
        snapshot.sealed_key = tx.session.get_one(Snapshot, made).sealed_key

    pending = api.ec2.copy_snapshot(SourceSnapshotId=source, KmsKeyId=OTHER_KEY, Encrypted=True, **COPY)["SnapshotId"]
    api.run(reseal)
    api.run(recode)
    assert run_once() == 1
    assert read(ebs, pending) == blocks
    assert api.run(lambda tx: tx.session.query(StoredBlock).count()) == known


def test_accounts_that_encrypt_by_default_copy_so(api, ebs, write, run_once):  # noqa: F811 - a fixture
    plain = write(contents(1))
    api.ec2.enable_ebs_encryption_by_default()
    made = api.ec2.copy_snapshot(SourceSnapshotId=plain, **COPY)["SnapshotId"]
    assert (described(api, made)["Encrypted"], run_once()) == (True, 1)
    volume = make(api, SnapshotId=plain)
    assert volume["Encrypted"] is True
    taken = snapshot_of(api, volume["VolumeId"])  # it was never attached, and what it is made of is not encrypted
    assert described(api, taken)["State"] == "pending"
    assert run_once() == 1
    assert described(api, taken)["State"] == "completed"
    assert read(ebs, taken) == read(ebs, plain)
    assert snapshot_key(api, taken) == key_of(api, volume["VolumeId"])


def test_a_copy_that_is_deleted_or_damaged_meanwhile_ends(api, write, run_once):  # noqa: F811 - a fixture
    blocks = contents(2)
    plain = write(blocks)
    gone, failed = (
        api.ec2.copy_snapshot(SourceSnapshotId=plain, Encrypted=True, **COPY)["SnapshotId"] for _ in range(2)
    )
    api.ec2.delete_snapshot(SnapshotId=gone)
    name = asyncio.run(api.blocks.name_of(digest_of(blocks[3])))
    api.blocks._files.remove([name])
    run_once()
    assert run_once() == 0
    shown_failed = described(api, failed)
    assert (shown_failed["State"], plain in shown_failed["StateMessage"]) == ("error", True)


def test_images_are_copied_encrypted(api, write, run_once):  # noqa: F811 - a fixture
    image_id = register(api, write(contents(2)))
    copied = api.ec2.copy_image(
        SourceImageId=image_id, SourceRegion="us-east-1", Name="a copy", Encrypted=True, KmsKeyId=OTHER_KEY
    )["ImageId"]
    image = the_image(api.ec2, copied)
    assert image["State"] == "pending"
    assert image["BlockDeviceMappings"][0]["Ebs"]["Encrypted"] is True
    while run_once():
        pass
    image = the_image(api.ec2, copied)
    assert image["State"] == "available"
    snapshot_id = image["BlockDeviceMappings"][0]["Ebs"]["SnapshotId"]
    made = api.ec2.run_instances(ImageId=copied, InstanceType="t3.nano", MinCount=1, MaxCount=1)["Instances"][0]
    (root,) = api.ec2.describe_volumes(Filters=[{"Name": "attachment.instance-id", "Values": [made["InstanceId"]]}])[
        "Volumes"
    ]
    assert (root["Encrypted"], root["KmsKeyId"][-36:]) == (True, OTHER_KEY)
    assert sent(api, "base", snapshot_id).encryption_key == snapshot_key(api, snapshot_id) != b""
    mapping = [{"DeviceName": "/dev/sda1", "Ebs": {"Encrypted": False}}]
    params = {"ImageId": copied, "InstanceType": "t3.nano", "MinCount": 1, "MaxCount": 1}
    api.refused("InvalidParameterCombination", api.ec2.run_instances, **params, BlockDeviceMappings=mapping)
    them = {"UserId": api.world.other.caller.account_id}
    permit = api.ec2.modify_image_attribute
    api.refused("OperationNotPermitted", permit, ImageId=copied, LaunchPermission={"Add": [{"Group": "all"}]})
    permit(ImageId=copied, LaunchPermission={"Add": [them]})
    params = {"SourceImageId": copied, "SourceRegion": "us-east-1", "Name": "of the default key"}
    default = api.ec2.copy_image(**params)["ImageId"]
    while run_once():
        pass
    api.refused("OperationNotPermitted", permit, ImageId=default, LaunchPermission={"Add": [them]})


def test_an_image_of_an_instance_with_encrypted_volumes_is_encrypted(api, instance_id):
    volume_id = encrypted_volume(api, instance_id)
    image_id = api.ec2.create_image(InstanceId=instance_id, Name="mine", NoReboot=True)["ImageId"]
    devices = {each["DeviceName"]: each["Ebs"] for each in the_image(api.ec2, image_id)["BlockDeviceMappings"]}
    assert devices["/dev/sdf"]["Encrypted"] is True
    taken = devices["/dev/sdf"]["SnapshotId"]
    assert sent(api, "snapshot", taken).encryption_key == key_of(api, volume_id)


def test_sharing(api, instance_id):
    them = api.world.other.caller.account_id

    def share(snapshot_id, **to):
        return api.ec2.modify_snapshot_attribute(SnapshotId=snapshot_id, CreateVolumePermission={"Add": [to]})

    volume_id = encrypted_volume(api, instance_id)
    other_id = encrypted_volume(api, instance_id, "/dev/sdg", [volume_id], KmsKeyId=OTHER_KEY)
    default, named = snapshot_of(api, volume_id), snapshot_of(api, other_id)
    for each in (default, named):
        complete(api, each)
        api.refused("OperationNotPermitted", share, snapshot_id=each, Group="all")
    api.refused("OperationNotPermitted", share, snapshot_id=default, UserId=them)
    share(named, UserId=them)
    made = api.other.create_volume(AvailabilityZone="us-east-1a", SnapshotId=named)
    assert made["Encrypted"] is True
    assert f":{them}:" in made["KmsKeyId"], "under their own key"
    assert key_of(api, made["VolumeId"]) != snapshot_key(api, named)


def test_the_key_is_in_no_row(api, instance_id):
    volume_id = encrypted_volume(api, instance_id)
    snapshot_of(api, volume_id)
    key = key_of(api, volume_id)
    dump = repr(api.dump()).encode("latin-1", "replace")
    assert repr(key)[2:-1].encode() not in dump
    assert key.hex().encode() not in dump
    assert api.run(lambda tx: tx.session.get_one(Volume, volume_id).sealed_key)
