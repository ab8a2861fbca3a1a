"""What a bucket keeps on the server behind is counted to the byte, and billed from then on."""

import asyncio
import secrets
import time
from datetime import UTC, datetime

import pytest
from sqlalchemy import select

from stead_controller.db.tables import BucketSize, UsageAmount
from stead_controller.object_store.backend import Backend
from stead_controller.object_store.bucket_counting import BucketCounting, size_of
from tests.support.waiting import wait_for

PART = 5 << 20


@pytest.fixture
def counting(store):
    """Counts what may have changed, so many minutes from now."""

    def run(*, minutes=0):
        async def count():
            backend = Backend(store.server())
            try:
                now = datetime.fromtimestamp(datetime.now(UTC).timestamp() + 60 * minutes, UTC)
                await BucketCounting(store.database, backend, store.writes, lambda: now).run()
            finally:
                await backend.close()

        asyncio.run(count())

    return run


def row_of(store, name):
    return store.database.run_blocking(lambda tx: tx.session.scalar(select(BucketSize).where(BucketSize.name == name)))


def size(store, name):
    async def count():
        backend = Backend(store.server())
        try:
            return await size_of(backend, row_of(store, name).backend_name)
        finally:
            await backend.close()

    return asyncio.run(count())


def make(store, *, versioning=False):
    name = f"kept-{secrets.token_hex(4)}"
    store.s3.create_bucket(Bucket=name)
    if versioning:
        store.s3.put_bucket_versioning(Bucket=name, VersioningConfiguration={"Status": "Enabled"})
    return name


def test_objects_count_as_they_are_now(store):
    name, s3 = make(store), store.s3
    assert size(store, name) == 0
    s3.put_object(Bucket=name, Key="a", Body=bytes(70_001))
    s3.put_object(Bucket=name, Key="folder/ö +&", Body=b"123")
    assert size(store, name) == 70_004
    s3.put_object(Bucket=name, Key="a", Body=bytes(10))
    s3.copy_object(Bucket=name, Key="b", CopySource=f"{name}/a")
    assert size(store, name) == 23
    s3.delete_object(Bucket=name, Key="a")
    s3.delete_objects(Bucket=name, Delete={"Objects": [{"Key": "b"}, {"Key": "absent"}]})
    assert size(store, name) == 3


def test_all_versions_and_the_keys_of_delete_markers_count(store):
    name, s3 = make(store, versioning=True), store.s3
    first = s3.put_object(Bucket=name, Key="kö", Body=bytes(1000))["VersionId"]
    s3.put_object(Bucket=name, Key="kö", Body=bytes(50))
    assert size(store, name) == 1050
    s3.delete_object(Bucket=name, Key="kö")
    assert size(store, name) == 1053
    s3.delete_object(Bucket=name, Key="kö", VersionId=first)
    assert size(store, name) == 53


def test_parts_count_from_when_they_are_there_until_their_upload_ends(store):
    name, s3 = make(store), store.s3
    where = {"Bucket": name, "Key": "folder/ö +&"}
    upload = {**where, "UploadId": s3.create_multipart_upload(**where)["UploadId"]}
    assert size(store, name) == 0
    s3.upload_part(**upload, PartNumber=1, Body=bytes(100))
    second = int(time.time())  # times of parts are in seconds: which of two in the same one is the newer, nobody knows
    wait_for(lambda: int(time.time()) > second, "the next second begins", 5)
    s3.upload_part(**upload, PartNumber=1, Body=bytes(PART))
    assert size(store, name) == PART, "a part that is replaced is kept no more"
    second = s3.upload_part(**upload, PartNumber=2, Body=bytes(7))["ETag"]
    assert size(store, name) == PART + 7
    first = s3.list_parts(**upload)["Parts"][0]["ETag"]
    parts = [{"PartNumber": 1, "ETag": first}, {"PartNumber": 2, "ETag": second}]
    s3.complete_multipart_upload(**upload, MultipartUpload={"Parts": parts})
    assert size(store, name) == PART + 7
    other = {**where, "UploadId": s3.create_multipart_upload(**where)["UploadId"]}
    s3.upload_part(**other, PartNumber=1, Body=bytes(900))
    assert size(store, name) == PART + 907
    s3.abort_multipart_upload(**other)
    assert size(store, name) == PART + 7


def test_all_pages_count(store, monkeypatch):
    monkeypatch.setattr("stead_controller.object_store.listings._LISTED", "2")
    name, s3 = make(store, versioning=True), store.s3
    for number in range(5):
        s3.put_object(Bucket=name, Key=f"{number // 2}", Body=bytes(10**number))
    assert size(store, name) == 11_111
    for key in ("a", "b", "b", "c", "c"):
        upload = {"Bucket": name, "Key": key}
        upload["UploadId"] = s3.create_multipart_upload(**upload)["UploadId"]
        for number in range(1, 4):
            s3.upload_part(**upload, PartNumber=number, Body=bytes(7))
    assert size(store, name) == 11_111 + 5 * 3 * 7


def test_a_bucket_is_counted_when_it_was_written_to_and_billed_until_it_is_removed(store, counting):
    name, s3 = make(store), store.s3
    s3.put_object(Bucket=name, Key="a", Body=bytes(36_000))
    counting()
    assert row_of(store, name).bytes == 36_000
    s3.put_object(Bucket=name, Key="b", Body=bytes(36_000))
    counting(minutes=60)
    assert row_of(store, name).bytes == 72_000, "what was written after a count is counted again"
    counting(minutes=90)
    s3.delete_objects(Bucket=name, Delete={"Objects": [{"Key": "a"}, {"Key": "b"}]})
    s3.delete_bucket(Bucket=name)
    assert row_of(store, name) is None
    query = select(UsageAmount).where(UsageAmount.resource_id == name)
    found = store.database.run_blocking(lambda tx: tx.session.scalars(query).all())
    assert {(row.account_id, row.usage, row.operation) for row in found} == {
        (store.one.account_id, "TimedStorage-ByteHrs", "StandardStorage")
    }
    assert abs(sum(row.amount for row in found) - 72_000) <= 72_000 * 10 // 3600, (
        "36,000 for an hour, then twice that for half of one"
    )
