"""Archived snapshots through boto3, and through the aws command with a whole controller that is killed."""

import asyncio
import sqlite3
from contextlib import closing
from datetime import UTC, datetime, timedelta
from functools import partial

import pytest

from stead_controller.db.tables import Image, Snapshot, SnapshotTier, Workflow
from stead_controller.resources import workflow_rows
from stead_controller.resources.storage import snapshot_tier_life, snapshot_tiers
from stead_controller.workflows.engine import Engine
from stead_controller.workflows.housekeeping import clean_up
from stead_controller.workflows.snapshot_tiers import ArchiveSnapshot, RestoreSnapshot
from stead_proto.blocks import BLOCK_BYTES, SEGMENT_BLOCKS
from tests.api.test_ebs_direct import checksum, compose, ebs, noise, read, write, written  # noqa: F401 - fixtures
from tests.support import rows
from tests.support.waiting import wait_for

ABSENT = "snap-00000000000000000"
DAY = timedelta(days=1)


@pytest.fixture
def run_due(api):
    """Run the workflows that are due, to their end."""
    makers = {
        kind.kind: partial(kind, api.database, lambda: api.world.now, store=api.blocks)
        for kind in (ArchiveSnapshot, RestoreSnapshot)
    }
    engine = Engine(api.database, lambda: datetime.now(UTC), makers)

    async def work():
        now = datetime.now(UTC) + timedelta(minutes=1)
        due = await api.database.run(lambda tx: workflow_rows.lease_due(tx, engine.holder, now, now + DAY, 10))
        for row in due:
            await engine.step(row, now)
        while await api.blocks.collect():
            pass
        return len(due)

    return lambda: asyncio.run(work())


@pytest.fixture
def archived(api, write, run_due):  # noqa: F811 - a fixture
    """A snapshot that is archived, and what it has."""
    blocks = {0: noise(), 1024: noise()}
    snapshot_id = write(blocks)
    api.ec2.modify_snapshot_tier(SnapshotId=snapshot_id, StorageTier="archive")
    assert run_due() == 1
    return snapshot_id, blocks


def own(api, **changes):
    """A complete snapshot of the first tenant's."""

    def add(tx):
        row = rows.snapshot(api.world.one.caller.account_id, **changes)
        tx.session.add(row)
        return row.id

    return api.run(add)


def tier(api, snapshot_id, **changes):
    """Give a snapshot a tier, past the operations."""

    def add(tx):
        values = {"operation": "archival", "status": "completed", "operation_id": snapshot_id, "started": api.world.now}
        tx.session.add(SnapshotTier(snapshot_id=snapshot_id, progress=0, **values | changes))

    api.run(add)


def status(api, *snapshot_ids, **filters):
    given = {"snapshot-id": list(snapshot_ids)} if snapshot_ids else {}
    named = [{"Name": name, "Values": values} for name, values in (given | filters).items()]
    return api.ec2.describe_snapshot_tier_status(Filters=named)["SnapshotTierStatuses"]


def described(api, snapshot_id):
    (found,) = api.ec2.describe_snapshots(SnapshotIds=[snapshot_id])["Snapshots"]
    return found


def test_a_snapshot_is_archived_and_restored(api, ebs, write, run_due):  # noqa: F811 - fixtures
    blocks = {0: noise(), 5: bytes([3]) * BLOCK_BYTES, 1024: noise()}
    snapshot_id = write(blocks, Tags=[{"Key": "a", "Value": "b"}])
    [before] = status(api, snapshot_id)
    assert (before["StorageTier"], before["Status"], "LastTieringOperationStatus" in before) == (
        "standard", "completed", False,
    )  # fmt: skip
    begun = api.ec2.modify_snapshot_tier(SnapshotId=snapshot_id, StorageTier="archive")
    assert (begun["SnapshotId"], type(begun["TieringStartTime"])) == (snapshot_id, datetime)
    [moving] = status(api, snapshot_id)
    assert (moving["LastTieringOperationStatus"], moving["LastTieringProgress"]) == ("archival-in-progress", 0)
    assert (moving["StorageTier"], moving["Tags"]) == ("standard", [{"Key": "a", "Value": "b"}])
    assert read(ebs, snapshot_id) == blocks, "it can be used meanwhile"
    assert run_due() == 1
    [there] = status(api, snapshot_id)
    assert (there["LastTieringOperationStatus"], there["LastTieringProgress"]) == ("archival-completed", 100)
    assert (there["StorageTier"], there["ArchivalCompleteTime"]) == ("archive", api.world.now)
    shown = described(api, snapshot_id)
    assert (shown["StorageTier"], shown["State"], "RestoreExpiryTime" in shown) == ("archive", "completed", False)
    assert shown["FullSnapshotSizeInBytes"] == 3 * BLOCK_BYTES
    for name, wanted in (("archive", [snapshot_id]), ("standard", [])):
        tiers = [{"Name": "storage-tier", "Values": [name]}]
        found = api.ec2.describe_snapshots(OwnerIds=["self"], Filters=tiers)["Snapshots"]
        assert [one["SnapshotId"] for one in found] == wanted

    begun = api.ec2.restore_snapshot_tier(SnapshotId=snapshot_id, TemporaryRestoreDays=2)
    assert (begun["RestoreDuration"], begun["IsPermanentRestore"]) == (2, False)
    assert status(api, snapshot_id)[0]["LastTieringOperationStatus"] == "temporary-restore-in-progress"
    assert run_due() == 1
    expiry = api.world.now + 2 * DAY
    [back] = status(api, snapshot_id)
    assert (back["LastTieringOperationStatus"], back["StorageTier"]) == ("temporary-restore-completed", "standard")
    assert back["RestoreExpiryTime"] == described(api, snapshot_id)["RestoreExpiryTime"] == expiry
    assert read(ebs, snapshot_id) == blocks

    begun = api.ec2.restore_snapshot_tier(SnapshotId=snapshot_id, PermanentRestore=True)
    assert (begun["IsPermanentRestore"], "RestoreDuration" in begun) == (True, False)
    [stays] = status(api, snapshot_id)
    assert stays["LastTieringOperationStatus"] == "permanent-restore-completed"
    assert "RestoreExpiryTime" not in stays
    assert "ArchivalCompleteTime" not in stays
    assert run_due() == 0
    assert read(ebs, snapshot_id) == blocks


def test_a_restored_one_is_archived_again_by_itself(api, archived, run_due, ebs):  # noqa: F811 - fixtures
    snapshot_id, blocks = archived
    api.ec2.restore_snapshot_tier(SnapshotId=snapshot_id, TemporaryRestoreDays=1)
    assert run_due() == 1
    api.ec2.restore_snapshot_tier(SnapshotId=snapshot_id, TemporaryRestoreDays=3)
    until = described(api, snapshot_id)["RestoreExpiryTime"]
    assert read(ebs, snapshot_id) == blocks
    api.run(snapshot_tier_life.archive_again, until - timedelta(seconds=1))
    assert described(api, snapshot_id)["StorageTier"] == "standard"
    api.ec2.modify_snapshot_attribute(SnapshotId=snapshot_id, CreateVolumePermission={"Add": [{"Group": "all"}]})
    settings = type("Settings", (), {})
    for name in ("launch_deadline_seconds", "terminated_kept_seconds", "snapshot_deadline_seconds"):
        setattr(settings, name, 600)
    settings.address_rest_seconds = 600
    api.run(clean_up, settings, until)
    shown = described(api, snapshot_id)
    assert (shown["StorageTier"], "RestoreExpiryTime" in shown) == ("archive", False)
    assert api.other.describe_snapshots(OwnerIds=[api.world.one.caller.account_id])["Snapshots"] == []
    with pytest.raises(api.ec2.exceptions.ClientError, match="is archived"):
        read(ebs, snapshot_id)


def test_an_archived_one_cannot_be_used(api, archived, ebs):  # noqa: F811 - a fixture
    snapshot_id, _ = archived
    named = {"SnapshotId": snapshot_id}
    refused = partial(api.refused, "IncorrectState")
    mapping = [{"DeviceName": "/dev/sda1", "Ebs": named}]
    assert "must be restored" in refused(api.ec2.create_volume, AvailabilityZone="us-east-1a", **named)
    refused(api.ec2.copy_snapshot, SourceRegion="us-east-1", SourceSnapshotId=snapshot_id)
    refused(api.ec2.register_image, Name="own", RootDeviceName="/dev/sda1", BlockDeviceMappings=mapping)
    launch = {"ImageId": api.world.image_id, "InstanceType": "stead.tiny", "MinCount": 1, "MaxCount": 1}
    more = [{"DeviceName": "/dev/sdf", "Ebs": named}]
    refused(api.ec2.run_instances, BlockDeviceMappings=more, **launch)
    for change in ({"Add": [{"UserId": "2" * 12}]}, {"Add": [{"Group": "all"}]}):
        refused(api.ec2.modify_snapshot_attribute, CreateVolumePermission=change, **named)
    removal = {"Remove": [{"UserId": "2" * 12}]}
    api.ec2.modify_snapshot_attribute(CreateVolumePermission=removal, **named)
    refused = partial(api.refused, "ValidationException")
    refused(ebs.list_snapshot_blocks, **named)
    refused(ebs.start_snapshot, VolumeSize=1, ParentSnapshotId=snapshot_id)
    api.ec2.delete_snapshot(**named)
    assert status(api) == []


def test_who_it_was_shared_with_loses_it(api, write, run_due):  # noqa: F811 - a fixture
    snapshot_id = write({0: noise()})
    other = api.world.other.caller.account_id
    change = {"Add": [{"Group": "all"}, {"UserId": other}]}
    api.ec2.modify_snapshot_attribute(SnapshotId=snapshot_id, CreateVolumePermission=change)
    assert len(api.other.describe_snapshots(SnapshotIds=[snapshot_id])["Snapshots"]) == 1
    api.refused("InvalidSnapshot.NotFound", api.other.modify_snapshot_tier, SnapshotId=snapshot_id)
    api.ec2.modify_snapshot_tier(SnapshotId=snapshot_id)
    assert len(api.other.describe_snapshots(SnapshotIds=[snapshot_id])["Snapshots"]) == 1, "until it is archived"
    run_due()
    api.refused("InvalidSnapshot.NotFound", api.other.describe_snapshots, SnapshotIds=[snapshot_id])
    given = api.ec2.describe_snapshot_attribute(SnapshotId=snapshot_id, Attribute="createVolumePermission")
    assert given["CreateVolumePermissions"] == []


def test_images_must_be_disabled_before_and_cannot_be_used_after(api, write, run_due):  # noqa: F811 - a fixture
    snapshot_id = write({0: noise()})
    mapping = [{"DeviceName": "/dev/sda1", "Ebs": {"SnapshotId": snapshot_id}}]
    image_id = api.ec2.register_image(Name="own", RootDeviceName="/dev/sda1", BlockDeviceMappings=mapping)["ImageId"]
    said = api.refused("InvalidSnapshot.InUse", api.ec2.modify_snapshot_tier, SnapshotId=snapshot_id)
    assert image_id in said
    api.ec2.disable_image(ImageId=image_id)
    api.ec2.modify_snapshot_tier(SnapshotId=snapshot_id)
    run_due()
    said = api.refused("IncorrectState", api.ec2.enable_image, ImageId=image_id)
    assert snapshot_id in said
    refused = partial(api.refused, "InvalidAMIID.Unavailable")
    refused(api.ec2.copy_image, SourceImageId=image_id, SourceRegion="us-east-1", Name="copy")
    api.run(lambda tx: setattr(tx.session.get_one(Image, image_id), "state", "available"))  # as of another account
    refused(api.ec2.run_instances, ImageId=image_id, InstanceType="stead.tiny", MinCount=1, MaxCount=1)
    api.run(lambda tx: setattr(tx.session.get_one(Image, image_id), "state", "disabled"))
    api.ec2.restore_snapshot_tier(SnapshotId=snapshot_id, PermanentRestore=True)
    run_due()
    api.ec2.enable_image(ImageId=image_id)
    api.ec2.copy_image(SourceImageId=image_id, SourceRegion="us-east-1", Name="copy")
    api.refused("InvalidSnapshot.InUse", api.ec2.modify_snapshot_tier, SnapshotId=snapshot_id)
    api.ec2.deregister_image(ImageId=image_id)
    api.ec2.modify_snapshot_tier(SnapshotId=snapshot_id)


def test_the_next_snapshot_is_not_taken_over_an_archived_one(api):
    instance_id = api.launch()
    filters = [{"Name": "attachment.instance-id", "Values": [instance_id]}]
    [volume] = api.ec2.describe_volumes(Filters=filters)["Volumes"]
    older = own(api, volume_id=volume["VolumeId"], started=api.world.now - DAY)
    newer = own(api, volume_id=volume["VolumeId"], storage_tier="archive")

    def parent():
        made = api.ec2.create_snapshot(VolumeId=volume["VolumeId"])["SnapshotId"]
        return api.run(lambda tx: tx.session.get_one(Snapshot, made).parent_id)

    assert parent() == older
    api.run(lambda tx: setattr(tx.session.get_one(Snapshot, newer), "storage_tier", "standard"))
    assert parent() == newer


@pytest.mark.parametrize("state", ["pending", "error"])
def test_only_complete_ones_have_a_tier_to_change(api, state):
    snapshot_id = own(api, state=state)
    api.refused("IncorrectState", api.ec2.modify_snapshot_tier, SnapshotId=snapshot_id)
    tier(api, snapshot_id, archived=api.world.now)
    api.refused("IncorrectState", api.ec2.restore_snapshot_tier, SnapshotId=snapshot_id, PermanentRestore=True)


def test_nothing_is_archived_or_restored_twice_at_once(api):
    refused = partial(api.refused, "IncorrectState")
    never, moving, there, restoring, temporary = (own(api) for _ in range(5))
    tier(api, moving, status="in-progress")
    tier(api, there, archived=api.world.now)
    tier(api, restoring, operation="permanent-restore", status="in-progress", archived=api.world.now)
    tier(api, temporary, operation="temporary-restore", archived=api.world.now, restore_expiry=api.world.now + DAY)
    for snapshot_id in (moving, there, restoring, temporary):
        refused(api.ec2.modify_snapshot_tier, SnapshotId=snapshot_id)
    for snapshot_id in (never, moving, restoring):
        refused(api.ec2.restore_snapshot_tier, SnapshotId=snapshot_id, PermanentRestore=True)
    api.ec2.restore_snapshot_tier(SnapshotId=temporary, TemporaryRestoreDays=9)
    failed = own(api)
    tier(api, failed, status="failed")
    refused(api.ec2.restore_snapshot_tier, SnapshotId=failed, PermanentRestore=True)
    api.ec2.modify_snapshot_tier(SnapshotId=failed)


def test_bad_requests_are_refused(api):
    snapshot_id = own(api, storage_tier="archive")
    tier(api, snapshot_id, archived=api.world.now)
    named = {"SnapshotId": snapshot_id}
    restore, archive = api.ec2.restore_snapshot_tier, api.ec2.modify_snapshot_tier
    api.refused("InvalidParameterCombination", restore, TemporaryRestoreDays=1, PermanentRestore=True, **named)
    api.refused("MissingParameter", restore, **named)
    api.refused("MissingParameter", restore, PermanentRestore=False, **named)
    for days in (-1, 0, 181, 2**31 - 1):
        api.refused("InvalidParameterValue", restore, TemporaryRestoreDays=days, **named)
    api.refused("InvalidParameterValue", archive, StorageTier="standard", **named)
    for operation, more in ((restore, {"PermanentRestore": True}), (archive, {})):
        api.refused("InvalidSnapshot.NotFound", operation, SnapshotId=ABSENT, **more)
        api.refused("InvalidSnapshotID.Malformed", operation, SnapshotId="snap-x", **more)
    restore(TemporaryRestoreDays=180, **named)


def test_as_many_as_ec2_allows_and_no_more(api):
    api.run(lambda tx: tx.session.query(Workflow).delete())
    volume_id = "vol-00000000000000001"
    moving = [own(api, volume_id=volume_id) for _ in range(snapshot_tiers.ARCHIVING_PER_ACCOUNT)]
    for snapshot_id in moving[:-1]:
        api.ec2.modify_snapshot_tier(SnapshotId=snapshot_id)
    others = [own(api) for _ in range(2)]
    api.ec2.modify_snapshot_tier(SnapshotId=others[0])
    refused = partial(api.refused, "ResourceLimitExceeded")
    assert "at the same time" in refused(api.ec2.modify_snapshot_tier, SnapshotId=others[1])

    def finish(tx):
        for row in tx.session.query(SnapshotTier):
            row.status, row.archived = "completed", api.world.now
            tx.session.get_one(Snapshot, row.snapshot_id).storage_tier = "archive"

    api.run(finish)
    api.ec2.modify_snapshot_tier(SnapshotId=moving[-1])
    one_more = own(api, volume_id=volume_id)
    assert "of a volume" in refused(api.ec2.modify_snapshot_tier, SnapshotId=one_more)
    api.ec2.modify_snapshot_tier(SnapshotId=others[1])
    for snapshot_id in moving[:5]:
        api.ec2.restore_snapshot_tier(SnapshotId=snapshot_id, TemporaryRestoreDays=1)
    assert "restored" in refused(api.ec2.restore_snapshot_tier, SnapshotId=moving[5], PermanentRestore=True)
    api.ec2.delete_snapshot(SnapshotId=moving[0])
    api.ec2.restore_snapshot_tier(SnapshotId=moving[5], PermanentRestore=True)
    theirs = api.run(lambda tx: _add(tx, rows.snapshot(api.world.other.caller.account_id)))
    api.other.modify_snapshot_tier(SnapshotId=theirs)


def _add(tx, row):
    tx.session.add(row)
    return row.id


def test_copies_have_no_volume_that_could_have_too_many(api):
    for _ in range(snapshot_tiers.ARCHIVED_PER_VOLUME):
        tier(api, own(api, volume_id="vol-ffffffff", storage_tier="archive"), archived=api.world.now)
    api.ec2.modify_snapshot_tier(SnapshotId=own(api, volume_id="vol-ffffffff"))


def test_the_list_has_filters_and_pages_and_only_ones_own(api):
    volume_id = "vol-00000000000000001"
    plain, moving = sorted((own(api, volume_id=volume_id), own(api)))
    tier(api, moving, status="in-progress")
    theirs = api.run(lambda tx: _add(tx, rows.snapshot(api.world.other.caller.account_id, public=True)))
    own(api, state="deleting")
    assert [one["SnapshotId"] for one in status(api)] == [plain, moving]
    assert status(api, theirs) == []
    assert [one["SnapshotId"] for one in status(api, **{"last-tiering-operation": ["archival-in-progress"]})] == [
        moving
    ]
    assert status(api, **{"last-tiering-operation": ["archival-completed"]}) == []
    assert [one["VolumeId"] for one in status(api, **{"volume-id": [volume_id]})] == [volume_id]
    more = [own(api) for _ in range(6)]
    page = api.ec2.describe_snapshot_tier_status(MaxResults=5)
    rest = api.ec2.describe_snapshot_tier_status(MaxResults=5, NextToken=page["NextToken"])
    found = [one["SnapshotId"] for each in (page, rest) for one in each["SnapshotTierStatuses"]]
    assert found == sorted([plain, moving, *more])
    api.refused(
        "InvalidParameterValue", api.ec2.describe_snapshot_tier_status, Filters=[{"Name": "state", "Values": ["x"]}]
    )


@pytest.mark.story
def test_the_aws_command_gets_all_back_although_the_controller_is_killed_in_both_directions(own_cloud):
    cloud = own_cloud(hosts=0)
    account = cloud.new_account()
    direct = account.client("ebs")
    blocks = {position * SEGMENT_BLOCKS + slot * 9: noise() for position in range(8) for slot in range(14)}
    snapshot_id = direct.start_snapshot(VolumeSize=4)["SnapshotId"]
    for index, content in blocks.items():
        direct.put_snapshot_block(SnapshotId=snapshot_id, **written(index, content))
    direct.complete_snapshot(SnapshotId=snapshot_id, ChangedBlocksCount=len(blocks))
    ec2 = account.client("ec2")
    ec2.get_waiter("snapshot_completed").wait(SnapshotIds=[snapshot_id], WaiterConfig={"Delay": 1})
    named = ("--snapshot-id", snapshot_id)
    begun = account.aws("ec2", "modify-snapshot-tier", *named, "--storage-tier", "archive")
    assert begun["SnapshotId"] == snapshot_id

    def last():
        [found] = account.client("ec2").describe_snapshot_tier_status()["SnapshotTierStatuses"]
        return found

    def rows_of(query):
        with closing(sqlite3.connect(cloud.settings.controller_dir / "stead.sqlite")) as database:
            return database.execute(query).fetchall()

    def killed_on_the_way_to(operation):
        wait_for(lambda: last()["LastTieringProgress"] > 0, "it has begun", 60, poll=0.02)
        cloud.controller.kill()
        assert rows_of("SELECT operation, status FROM snapshot_tiers") == [(operation, "in-progress")]
        cloud.start_controller()
        wait_for(lambda: last()["LastTieringOperationStatus"] == f"{operation}-completed", "it is done", 120)

    killed_on_the_way_to("archival")
    [shown] = account.aws("ec2", "describe-snapshots", "--snapshot-ids", snapshot_id)["Snapshots"]
    assert shown["StorageTier"] == "archive"
    wait_for(lambda: rows_of("SELECT * FROM snapshot_segments") == [], "its own blocks are released", 60)
    folder = cloud.settings.controller_dir / "blocks"

    def sizes():
        return sum(file.stat().st_size for file in folder.rglob("*") if file.is_file())

    begun = account.aws("ec2", "restore-snapshot-tier", *named, "--temporary-restore-days", "1")
    assert (begun["RestoreDuration"], begun["IsPermanentRestore"]) == (1, False)
    killed_on_the_way_to("temporary-restore")
    assert read(account.client("ebs"), snapshot_id) == blocks
    assert sizes() > 2 * len(blocks) * BLOCK_BYTES, "both are there"
    account.aws("ec2", "restore-snapshot-tier", *named, "--permanent-restore")
    [shown] = account.aws("ec2", "describe-snapshot-tier-status")["SnapshotTierStatuses"]
    assert (shown["StorageTier"], shown["LastTieringOperationStatus"]) == ("standard", "permanent-restore-completed")
