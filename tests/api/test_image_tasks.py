"""ImportImage, ImportSnapshot and ExportImage through boto3, with real files; nothing is fetched from anywhere."""

import asyncio
import os
import socket
from datetime import UTC, datetime, timedelta
from functools import partial

import pytest

from stead_controller.blocks.directory import BlockDirectory
from stead_controller.blocks.image_blocks import ImageBlocks
from stead_controller.blocks.store import BlockStore
from stead_controller.object_store.backend import Backend
from stead_controller.object_store.external import ExternalServer
from stead_controller.object_store.image_files import ImageFiles
from stead_controller.resources import workflow_rows
from stead_controller.settings import Settings
from stead_controller.workflows.engine import Engine
from stead_controller.workflows.image_tasks import ExportTask, ImportTask, Places
from stead_controller.workflows.ingest_image import IngestImage
from stead_proto.blocks import BLOCK_BYTES
from tests.support import crafted_images
from tests.support.crafted_images import MIB

CONTENT = b"an imported disk" * (BLOCK_BYTES // 16 + 100)


@pytest.fixture
def settings(tmp_path):
    return Settings(tmp_path / "controller")


@pytest.fixture
def folder(api, settings):
    """The first account's exchange folder."""
    path = settings.exchange_folder / api.world.one.caller.account_id
    path.mkdir(parents=True)
    return path


@pytest.fixture
def work(api, settings, tmp_path):
    """Run all that is due, until nothing is; time moves by a minute for each step that waits."""
    store = BlockStore(api.database, BlockDirectory(tmp_path / "blocks"), lambda: moment[0], grace=timedelta(hours=1))
    moment = [datetime.now(UTC)]  # the endpoint has the real time

    # No test here names a bucket that is there, so this server is never asked.
    key_file = tmp_path / "key"
    key_file.touch(mode=0o600)
    key_file.write_text("id\nsecret\n")
    places = Places(
        settings,
        ImageFiles(api.database, Backend(ExternalServer("http://127.0.0.1:1", "us-east-1", key_file)), "us-east-1"),
        store,
    )

    def run(rounds=20):
        def clock():
            return moment[0]

        make = {
            ExportTask.kind: partial(ExportTask, api.database, clock, places=places),
            ImportTask.kind: partial(ImportTask, api.database, clock, places=places),
            IngestImage.kind: partial(IngestImage, api.database, clock, store=store, sealer=api.world.cloud.sealer),
        }
        engine = Engine(api.database, clock, make, monotonic=lambda: clock().timestamp())

        async def step():
            until = clock() + timedelta(seconds=30)
            due = await api.database.run(lambda tx: workflow_rows.lease_due(tx, engine.holder, clock(), until, 10))
            for row in due:
                await engine.step(row, clock())

        for _ in range(rounds):
            moment[0] += timedelta(minutes=1)
            asyncio.run(step())

    yield run
    store.close()


def bucket(key, name="exchange"):
    return {"S3Bucket": name, "S3Key": key}


def import_image(api, key="disk.vmdk", image_format="VMDK", **changes):
    container = {"Format": image_format, "UserBucket": bucket(key)}
    return api.ec2.import_image(DiskContainers=[container], **changes)


def the_task(api, task_id):
    (task,) = api.ec2.describe_import_image_tasks(ImportTaskIds=[task_id])["ImportImageTasks"]
    return task


def test_a_file_becomes_an_image_and_a_file_again(api, folder, work, settings):
    crafted_images.honest(folder / "disk.vmdk", "vmdk", 8 * MIB, content=CONTENT)
    tags = [{"ResourceType": "import-image-task", "Tags": [{"Key": "a", "Value": "b"}]}]
    begun = import_image(api, Description="d", BootMode="uefi", TagSpecifications=tags)
    task_id = begun["ImportTaskId"]
    assert (begun["Status"], begun["Progress"], begun["Tags"]) == ("active", "0", [{"Key": "a", "Value": "b"}])
    work()
    task = the_task(api, task_id)
    assert task["Status"] == "completed"
    assert task["SnapshotDetails"][0]["UserBucket"] == bucket("disk.vmdk")
    (image,) = api.ec2.describe_images(ImageIds=[task["ImageId"]])["Images"]
    shown = {name: image[name] for name in ("State", "Name", "Public", "BootMode", "Description", "OwnerId")}
    assert shown == {
        "State": "available",
        "Name": task_id,
        "Public": False,
        "BootMode": "uefi",
        "Description": "d",
        "OwnerId": api.world.one.caller.account_id,
    }
    assert list(settings.incoming_folder.iterdir()) == []

    exported = api.ec2.export_image(
        ImageId=image["ImageId"], DiskImageFormat="VHD", S3ExportLocation={"S3Bucket": "exchange", "S3Prefix": "out-"}
    )
    work()
    (export,) = api.ec2.describe_export_image_tasks(ExportImageTaskIds=[exported["ExportImageTaskId"]])[
        "ExportImageTasks"
    ]
    assert export["Status"] == "completed"
    made = folder / f"out-{exported['ExportImageTaskId']}.vhd"
    assert made.name == export["S3ExportLocation"]["S3Prefix"]
    assert list(settings.incoming_folder.iterdir()) == []
    again = ImageBlocks(made, "vhd")
    content = b"".join(block.content for block in again.blocks())
    again.close()
    assert content.rstrip(b"\0") == CONTENT


def test_a_file_becomes_a_snapshot(api, folder, work):
    (folder / "disk.raw").write_bytes(CONTENT.ljust(4 * MIB, b"\0"))
    container = {"Format": "raw", "UserBucket": bucket("disk.raw"), "Description": "mine"}
    task_id = api.ec2.import_snapshot(DiskContainer=container, ClientToken="t")["ImportTaskId"]
    assert api.ec2.import_snapshot(DiskContainer=container, ClientToken="t")["ImportTaskId"] == task_id
    work()
    found = api.ec2.describe_import_snapshot_tasks(Filters=[{"Name": "task-state", "Values": ["completed"]}])
    (task,) = found["ImportSnapshotTasks"]
    detail = task["SnapshotTaskDetail"]
    assert (task["ImportTaskId"], detail["Status"], detail["Format"]) == (task_id, "completed", "RAW")
    (snapshot,) = api.ec2.describe_snapshots(SnapshotIds=[detail["SnapshotId"]])["Snapshots"]
    assert (snapshot["State"], snapshot["VolumeSize"]) == ("completed", 1)


@pytest.mark.parametrize(
    ("of_task", "of_disk", "shown"), [("task", "disk", "task"), ("task", "", "task"), ("", "disk", "disk")]
)
def test_a_disk_may_have_a_description_beside_that_of_its_task(api, of_task, of_disk, shown):
    """As in the examples of VM Import, and as awspub sends an empty one."""
    container = {"Format": "VMDK", "UserBucket": bucket("disk.vmdk"), "Description": of_disk}
    snapshot = api.ec2.import_snapshot(Description=of_task, DiskContainer=container)
    assert (snapshot["Description"], snapshot["SnapshotTaskDetail"]["Description"]) == (shown, shown)
    image = api.ec2.import_image(Description=of_task, DiskContainers=[container])
    assert (image["Description"], image["SnapshotDetails"][0]["Description"]) == (shown, shown)


@pytest.mark.parametrize("name", ["vmdk-flat", "vmdk-parent", "vmdk-1-pib"])
def test_a_forged_file_ends_the_task_with_a_reason(api, folder, work, settings, name):
    canary = settings.state_dir / "canary"
    canary.write_text("secret")
    crafted = next(one for one in crafted_images.corpus() if one.name == name)
    crafted.make(folder / "disk.vmdk", canary)
    task_id = import_image(api)["ImportTaskId"]
    work(3)
    task = the_task(api, task_id)
    assert task["Status"] == "deleted"
    assert crafted.refusal in task["StatusMessage"]
    assert "ImageId" not in task
    assert not settings.incoming_folder.exists() or list(settings.incoming_folder.iterdir()) == []


def test_only_regular_files_of_the_own_folder_are_read(api, folder, work, tmp_path):
    crafted_images.honest(tmp_path / "disk.vmdk", "vmdk")
    (folder / "link.vmdk").symlink_to(tmp_path / "disk.vmdk")
    os.mkfifo(folder / "pipe.vmdk")
    (folder / "folder.vmdk").mkdir()
    theirs = folder.parent / api.world.other.caller.account_id
    theirs.mkdir()
    crafted_images.honest(theirs / "theirs.vmdk", "vmdk")
    for name in ("link.vmdk", "pipe.vmdk", "folder.vmdk", "theirs.vmdk", "absent.vmdk"):
        task_id = import_image(api, name)["ImportTaskId"]
        work(3)
        assert the_task(api, task_id)["Status"] == "deleted", name
    for name in ("../111111111111/disk.vmdk", "/etc/passwd", "a/b", "..", ".hidden", ""):
        api.refused("InvalidParameterValue", lambda key: import_image(api, key), key=name)


def test_nothing_is_fetched(api, folder, work):
    """A URL is refused, and nobody connects to where it leads."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.setblocking(False)
        port = server.getsockname()[1]
        for url in (
            f"http://127.0.0.1:{port}/disk.vmdk",
            f"https://127.0.0.1:{port}/disk.vmdk",
            f"s3://127.0.0.1:{port}/disk.vmdk",
            "file:///etc/passwd",
            "http://169.254.169.254/latest/meta-data/",
        ):
            container = {"Format": "VMDK", "Url": url}
            api.refused("UnsupportedOperation", api.ec2.import_image, DiskContainers=[container])
            api.refused("UnsupportedOperation", api.ec2.import_snapshot, DiskContainer=container)
        other = {"Format": "VMDK", "UserBucket": bucket("disk.vmdk", name=f"127.0.0.1:{port}")}
        api.refused("InvalidS3Bucket", api.ec2.import_image, DiskContainers=[other])
        # A disk that names a server as its backing file is not followed either.
        text = f"nbd:127.0.0.1:{port}".encode()
        crafted_images._backed_by(text, "raw")(folder / "disk.qcow2", folder)
        task_id = import_image(api, "disk.qcow2", "QCOW2")["ImportTaskId"]
        work(3)
        assert "backing file" in the_task(api, task_id)["StatusMessage"]
        with pytest.raises(BlockingIOError):
            server.accept()


def test_an_import_can_be_cancelled(api, folder, work, settings):
    crafted_images.honest(folder / "disk.vmdk", "vmdk", content=CONTENT)
    first = import_image(api)["ImportTaskId"]
    assert api.ec2.cancel_import_task(ImportTaskId=first)["State"] == "deleted"
    api.refused("IncorrectState", api.ec2.cancel_import_task, ImportTaskId=first)
    second = import_image(api)["ImportTaskId"]
    work(1)  # it is copied, its snapshot is pending
    assert the_task(api, second)["ImageId"]
    api.ec2.cancel_import_task(ImportTaskId=second)
    work(5)
    for task_id in (first, second):
        assert the_task(api, task_id)["StatusMessage"] == "Cancelled"
    assert api.ec2.describe_images(Owners=["self"])["Images"] == []
    assert api.ec2.describe_snapshots(OwnerIds=["self"])["Snapshots"] == []
    assert not settings.incoming_folder.exists() or list(settings.incoming_folder.iterdir()) == []


@pytest.mark.parametrize("by_default", [False, True])
def test_an_import_is_encrypted_where_that_is_asked_for(api, folder, work, by_default):
    crafted_images.honest(folder / "disk.vmdk", "vmdk", 8 * MIB, content=CONTENT)
    if by_default:
        api.ec2.enable_ebs_encryption_by_default()
    begun = import_image(api, **{} if by_default else {"Encrypted": True})
    assert begun["Encrypted"] is True
    work()
    task = the_task(api, begun["ImportTaskId"])
    assert (task["Status"], task["KmsKeyId"]) == ("completed", begun["KmsKeyId"])
    (snapshot,) = api.ec2.describe_snapshots(OwnerIds=["self"])["Snapshots"]
    assert (snapshot["Encrypted"], snapshot["KmsKeyId"]) == (True, begun["KmsKeyId"])
    (image,) = api.ec2.describe_images(ImageIds=[task["ImageId"]])["Images"]
    assert image["BlockDeviceMappings"][0]["Ebs"]["Encrypted"] is True
    place = {"S3Bucket": "exchange"}
    params = {"ImageId": image["ImageId"], "DiskImageFormat": "VHD", "S3ExportLocation": place}
    api.refused("UnsupportedOperation", api.ec2.export_image, **params)


def test_bad_requests_change_nothing(api):
    before = api.dump()
    good = {"Format": "VMDK", "UserBucket": bucket("disk.vmdk")}
    for code, params in (
        ("MissingParameter", {"DiskContainers": [{"UserBucket": bucket("disk.vmdk")}]}),
        ("InvalidParameterValue", {"DiskContainers": [good | {"Format": "guess"}]}),
        ("MissingParameter", {"DiskContainers": []}),
        ("UnsupportedOperation", {"DiskContainers": [good, good]}),
        ("UnsupportedOperation", {"DiskContainers": [{"SnapshotId": "snap-00000000000000000", "Format": "VMDK"}]}),
        ("InvalidParameterDependency", {"DiskContainers": [good], "KmsKeyId": "alias/mine"}),
        ("InvalidParameterValue", {"DiskContainers": [good], "Encrypted": True, "KmsKeyId": "nonsense"}),
        ("UnsupportedOperation", {"DiskContainers": [good], "Platform": "Windows"}),
        ("InvalidParameterValue", {"DiskContainers": [good], "Architecture": "i386"}),
        ("InvalidParameterCombination", {"DiskContainers": [good], "Architecture": "arm64", "BootMode": "legacy-bios"}),
    ):
        api.refused(code, api.ec2.import_image, **params)
    place = {"S3Bucket": "exchange"}
    export = partial(api.ec2.export_image, DiskImageFormat="VHD", S3ExportLocation=place)
    api.refused("InvalidAMIID.NotFound", export, ImageId="ami-00000000000000000")
    api.refused("AuthFailure", export, ImageId=api.world.image_id)
    api.refused("InvalidConversionTaskId", api.ec2.cancel_import_task, ImportTaskId="import-ami-00000000000000000")
    api.refused("InvalidConversionTaskId.Malformed", api.ec2.cancel_import_task, ImportTaskId="i-1")
    api.refused("MissingParameter", api.ec2.cancel_import_task)
    assert api.dump() == before
