"""Image files in buckets: an object becomes an image, and the image an object, by the APIs and a real SeaweedFS."""

import asyncio
import secrets
import subprocess
from contextlib import closing
from datetime import UTC, datetime, timedelta
from functools import partial

import pytest
from botocore.exceptions import ClientError

from stead_controller.blocks.directory import BlockDirectory
from stead_controller.blocks.store import BlockStore
from stead_controller.object_store.backend import Backend
from stead_controller.object_store.image_files import ImageFiles
from stead_controller.resources import workflow_rows
from stead_controller.secrets.sealing import Sealer
from stead_controller.settings import Settings
from stead_controller.workflows.engine import Engine
from stead_controller.workflows.image_tasks import ExportTask, ImportTask, ObjectError, Places
from stead_controller.workflows.ingest_image import IngestImage
from tests.support import crafted_images
from tests.support.crafted_images import MIB

CONTENT = secrets.token_bytes(3 * MIB)


@pytest.fixture
def bucket(store):
    name = f"images-{secrets.token_hex(4)}"
    store.s3.create_bucket(Bucket=name)
    return name


@pytest.fixture
def work(store, tmp_path):
    """Run lives until nothing is due; time goes on by a minute for each step that waits."""
    settings = Settings(tmp_path / "controller")
    blocks = BlockStore(
        store.database, BlockDirectory(tmp_path / "blocks"), lambda: moment[0], grace=timedelta(hours=1)
    )
    moment = [datetime.now(UTC)]

    async def live(rounds):
        # A client of its own, which finds the server that the endpoint has started.
        with closing(store.server()) as server:
            backend = Backend(server)
            places = Places(settings, ImageFiles(store.database, backend, "us-east-1"), blocks)

            def clock():
                return moment[0]

            sealer = Sealer(bytes(32))
            make = {
                ExportTask.kind: partial(ExportTask, store.database, clock, places=places),
                ImportTask.kind: partial(ImportTask, store.database, clock, places=places),
                IngestImage.kind: partial(IngestImage, store.database, clock, store=blocks, sealer=sealer),
            }
            engine = Engine(store.database, clock, make)
            for _ in range(rounds):
                moment[0] += timedelta(minutes=1)
                until = clock() + timedelta(seconds=30)
                for row in await store.database.run(
                    lambda tx, until=until: workflow_rows.lease_due(tx, engine.holder, clock(), until, 10)
                ):
                    await engine.step(row, clock())
            await backend.close()

    yield lambda rounds=10: asyncio.run(live(rounds))
    blocks.close()
    assert not settings.incoming_folder.exists() or list(settings.incoming_folder.iterdir()) == []


def importing(account, bucket, key, image_format="QCOW2"):
    container = {"Format": image_format, "UserBucket": {"S3Bucket": bucket, "S3Key": key}}
    return account.ec2.import_image(DiskContainers=[container])["ImportTaskId"]


def task_of(account, task_id):
    (task,) = account.ec2.describe_import_image_tasks(ImportTaskIds=[task_id])["ImportImageTasks"]
    return task


def test_an_object_becomes_an_image_and_an_object_again(store, bucket, work, tmp_path):
    crafted_images.honest(tmp_path / "disk.qcow2", "qcow2", 8 * MIB, content=CONTENT)
    store.s3.upload_file(str(tmp_path / "disk.qcow2"), bucket, "images/a disk.qcow2")
    task_id = importing(store.one, bucket, "images/a disk.qcow2")
    work()
    task = task_of(store.one, task_id)
    assert task["Status"] == "completed", task
    assert task["SnapshotDetails"][0]["UserBucket"] == {"S3Bucket": bucket, "S3Key": "images/a disk.qcow2"}

    place = {"S3Bucket": bucket, "S3Prefix": "out/"}
    begun = store.one.ec2.export_image(ImageId=task["ImageId"], DiskImageFormat="RAW", S3ExportLocation=place)
    work()
    export_id = begun["ExportImageTaskId"]
    (export,) = store.one.ec2.describe_export_image_tasks(ExportImageTaskIds=[export_id])["ExportImageTasks"]
    assert (export["Status"], export["S3ExportLocation"]["S3Bucket"]) == ("completed", bucket)
    assert export["S3ExportLocation"]["S3Prefix"] == f"out/{export_id}.raw"
    raw = store.s3.get_object(Bucket=bucket, Key=f"out/{export_id}.raw")["Body"].read()
    assert raw == CONTENT.ljust(8 * MIB, b"\0")


def test_what_cannot_be_read_ends_the_task_with_a_reason(store, bucket, work, tmp_path):
    canary = tmp_path / "canary"
    canary.write_text("secret")
    forged = next(one for one in crafted_images.corpus() if one.name == "qcow2-data-file")
    forged.make(tmp_path / "forged", canary)
    store.s3.upload_file(str(tmp_path / "forged"), bucket, "forged")
    store.s3.put_object(Bucket=bucket, Key="empty", Body=b"")
    begun = {name: importing(store.one, bucket, name) for name in ("forged", "empty", "absent", "../forged")}
    work(4)
    tasks = {name: task_of(store.one, task_id) for name, task_id in begun.items()}
    assert {task["Status"] for task in tasks.values()} == {"deleted"}
    assert "another file" in tasks["forged"]["StatusMessage"]
    assert f"s3://{bucket}/absent: " in tasks["absent"]["StatusMessage"]
    assert "must not be empty, '.' or '..'" in tasks["../forged"]["StatusMessage"]
    assert "not qcow2" in tasks["empty"]["StatusMessage"]


def test_only_own_buckets_can_be_named(store, bucket, work):
    messages = []
    for name in (bucket, "nobody-has-this-bucket"):
        with pytest.raises(ClientError, match="InvalidS3Bucket") as refusal:
            importing(store.other, name, "disk")
        messages.append(refusal.value.response["Error"]["Message"].replace(name, "X"))
    assert messages[0] == messages[1]
    # A bucket that went to another account after the task was begun is not read either.
    task_id = importing(store.one, bucket, "disk")
    store.s3.delete_bucket(Bucket=bucket)
    store.other.client("s3", read_timeout=90).create_bucket(Bucket=bucket)
    work(2)
    assert "bucket does not exist" in task_of(store.one, task_id)["StatusMessage"]


def test_an_object_that_is_too_large_is_not_all_fetched(store, bucket, tmp_path):
    store.s3.put_object(Bucket=bucket, Key="large", Body=bytes(3 * MIB))

    async def fetch():
        backend = Backend(store.server())
        try:
            await ImageFiles(store.database, backend, "us-east-1").fetch(
                store.one.account_id, bucket, "large", tmp_path / "file", 2 * MIB
            )
        finally:
            await backend.close()

    with pytest.raises(ObjectError, match="larger than an image may be"):
        asyncio.run(fetch())
    assert (tmp_path / "file").stat().st_size <= 2 * MIB


def test_an_image_file_is_an_object_like_any_other(store, bucket, tmp_path):
    """What is stored is found by `aws s3 cp`, with its very bytes."""
    path = tmp_path / "disk"
    path.write_bytes(CONTENT)

    async def keep():
        backend = Backend(store.server())
        try:
            await ImageFiles(store.database, backend, "us-east-1").store(store.one.account_id, bucket, "a/disk", path)
        finally:
            await backend.close()

    rule = {"ApplyServerSideEncryptionByDefault": {"SSEAlgorithm": "aws:kms"}}
    store.s3.put_bucket_encryption(Bucket=bucket, ServerSideEncryptionConfiguration={"Rules": [rule]})
    asyncio.run(keep())
    assert store.s3.head_object(Bucket=bucket, Key="a/disk")["ServerSideEncryption"] == "aws:kms"  # as the bucket says
    store.s3.delete_bucket_encryption(Bucket=bucket)
    done = store.one.aws_result("s3", "cp", f"s3://{bucket}/a/disk", str(tmp_path / "back"), "--only-show-errors")
    assert done.returncode == 0, done.stderr
    subprocess.run(["cmp", path, tmp_path / "back"], check=True)
