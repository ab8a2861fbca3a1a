"""Lifecycle rules remove what is due, as time goes by, and nothing else."""

import asyncio
import secrets
from datetime import UTC, datetime, timedelta

import pytest

from stead_controller.object_store.backend import Backend
from stead_controller.object_store.expiry import ObjectExpiry, Removal, Version

OF_ANOTHER_TIME = Removal(
    Version("k", "null", datetime(2020, 1, 1, tzinfo=UTC), 3, is_current=True), of_current=True, tags=((),)
)


@pytest.fixture
def after(store):
    """Does what all buckets' rules say, so many days later."""

    def run(days):
        async def run():
            backend = Backend(store.server())
            try:
                later = datetime.now(UTC) + timedelta(days=days)
                await ObjectExpiry(store.database, backend, lambda: later).run()
            finally:
                await backend.close()

        asyncio.run(run())

    return run


@pytest.fixture
def make(store):
    """Makes buckets with these rules."""

    def made(*rules, versioning=False):
        name = f"expiry-{secrets.token_hex(4)}"
        store.s3.create_bucket(Bucket=name)
        if versioning:
            store.s3.put_bucket_versioning(Bucket=name, VersioningConfiguration={"Status": "Enabled"})
        enabled = [{"Status": "Enabled", "Filter": {}, **rule} for rule in rules]
        store.s3.put_bucket_lifecycle_configuration(Bucket=name, LifecycleConfiguration={"Rules": enabled})
        return name

    return made


def keys(store, bucket):
    return [each["Key"] for each in store.s3.list_objects_v2(Bucket=bucket).get("Contents", [])]


def versions(store, bucket):
    listed = store.s3.list_object_versions(Bucket=bucket)
    return [len(listed.get(kind, [])) for kind in ("Versions", "DeleteMarkers")]


def test_objects_go_when_they_are_due(store, make, after):
    old = {"Filter": {"Prefix": "logs/"}, "Expiration": {"Days": 30}}
    tagged = {"Filter": {"Tag": {"Key": "keep", "Value": "no"}}, "Expiration": {"Days": 5}}
    other = {"Filter": {"Tag": {"Key": "keep", "Value": "never"}}, "Expiration": {"Days": 2}}
    large = {"Filter": {"ObjectSizeGreaterThan": 100}, "Expiration": {"Days": 10}}
    bucket = make(old, other, tagged, large)
    disabled = make({"Expiration": {"Days": 1}, "Status": "Disabled"})
    s3 = store.s3
    for key, more in (
        ("logs/a b+ü&c", {}),
        ("data", {}),
        ("tagged", {"Tagging": "keep=no&a=b"}),
        ("tagged-not", {"Tagging": "keep=yes"}),
        ("large", {"Body": b"x" * 101}),
    ):
        s3.put_object(Bucket=bucket, Key=key, **{"Body": b"", **more})
    s3.put_object(Bucket=disabled, Key="k", Body=b"")
    everything = sorted(keys(store, bucket))
    for days, gone in ((3, set()), (7, {"tagged"}), (12, {"tagged", "large"}), (29, {"tagged", "large"})):
        after(days)
        assert keys(store, bucket) == [key for key in everything if key not in gone], days
    for _ in range(2):
        after(32)
        assert keys(store, bucket) == ["data", "tagged-not"]
    assert keys(store, disabled) == ["k"]


def test_versions_markers_and_uploads_go_too(store, make, after):
    noncurrent = {"NoncurrentVersionExpiration": {"NoncurrentDays": 3, "NewerNoncurrentVersions": 1}}
    bucket = make(
        {**noncurrent, "Expiration": {"Days": 20}},
        {"AbortIncompleteMultipartUpload": {"DaysAfterInitiation": 2}},
        versioning=True,
    )
    s3 = store.s3
    for number in range(4):
        s3.put_object(Bucket=bucket, Key="k", Body=b"%d" % number)
    begun = s3.create_multipart_upload(Bucket=bucket, Key="going")["UploadId"]
    s3.upload_part(Bucket=bucket, Key="going", UploadId=begun, PartNumber=1, Body=b"part")
    after(1)
    assert versions(store, bucket) == [4, 0]
    assert len(s3.list_multipart_uploads(Bucket=bucket)["Uploads"]) == 1
    after(5)
    assert versions(store, bucket) == [2, 0]
    assert s3.get_object(Bucket=bucket, Key="k")["Body"].read() == b"3"
    assert "Uploads" not in s3.list_multipart_uploads(Bucket=bucket)
    after(22)  # the current version gets a delete marker, which is of now
    assert versions(store, bucket) == [2, 1]
    after(22)
    assert versions(store, bucket)[1] == 1
    rule = {"Status": "Enabled", "Filter": {}, "NoncurrentVersionExpiration": {"NoncurrentDays": 1}}
    marker = {"Status": "Enabled", "Filter": {}, "Expiration": {"ExpiredObjectDeleteMarker": True}}
    s3.put_bucket_lifecycle_configuration(Bucket=bucket, LifecycleConfiguration={"Rules": [rule, marker]})
    after(3)
    after(3)
    assert versions(store, bucket) == [0, 0]


def test_an_object_whose_versions_are_on_several_pages_is_one(store, make, after, monkeypatch):
    monkeypatch.setattr("stead_controller.object_store.listings._LISTED", "2")
    bucket = make({"NoncurrentVersionExpiration": {"NoncurrentDays": 1}}, versioning=True)
    for key in ("a", "b", "c"):
        for number in range(3):
            store.s3.put_object(Bucket=bucket, Key=key, Body=b"%d" % number)
    after(3)
    assert versions(store, bucket) == [3, 0]
    assert {store.s3.get_object(Bucket=bucket, Key=key)["Body"].read() for key in ("a", "b", "c")} == {b"2"}


def test_an_empty_version_has_its_etag(store, make):
    bucket = make({"Expiration": {"Days": 1}})
    put = store.s3.put_object(Bucket=bucket, Key="k", Body=b"")
    [version] = store.s3.list_object_versions(Bucket=bucket)["Versions"]
    assert version["ETag"] == put["ETag"]


def test_what_was_written_meanwhile_stays(store, make, after, monkeypatch):
    """An object that is another than the one that was listed."""
    bucket = make({"Expiration": {"Days": 1}})
    store.s3.put_object(Bucket=bucket, Key="k", Body=b"old")
    monkeypatch.setattr("stead_controller.object_store.expiry.due", lambda *_: [OF_ANOTHER_TIME])
    after(3)
    assert keys(store, bucket) == ["k"]


def test_an_upload_is_aborted_whatever_its_key_is(store, make, after):
    name = make({"ID": "a", "AbortIncompleteMultipartUpload": {"DaysAfterInitiation": 1}})
    store.s3.create_multipart_upload(Bucket=name, Key="folder/a+b %41 ö")
    after(days=3)
    assert "Uploads" not in store.s3.list_multipart_uploads(Bucket=name)
