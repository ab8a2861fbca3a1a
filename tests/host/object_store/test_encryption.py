"""What is written is encrypted on the disk, is answered as such by all that S3 answers, and is read back as it was."""

import asyncio
import json
import secrets

import pytest
from boto3.s3.transfer import TransferConfig

from stead_controller.db.tables import Bucket, ObjectKey
from stead_controller.object_store.addressing import path_of
from stead_controller.object_store.backend import Ask, Backend
from stead_controller.object_store.forwarding import send_short
from stead_controller.secrets.sealing import version_of
from tests.host.object_store.raw import Raw
from tests.host.object_store.test_objects import refused

AES = "AES256"
MIB = 1 << 20


@pytest.fixture(scope="module")
def s3(store):
    return store.s3


@pytest.fixture(scope="module")
def bucket(s3):
    name = f"sealed-{secrets.token_hex(4)}"
    s3.create_bucket(Bucket=name)
    return name


def on_disk(store, canary):
    """The files below the store's folder that have these bytes."""
    files = [path for path in (store.folder / "data").rglob("*") if path.is_file()]
    assert files
    return [path for path in files if canary in path.read_bytes()]


def test_what_is_written_is_nowhere_on_the_disk_in_clear(store, s3, bucket, tmp_path):
    canary = secrets.token_bytes(64)
    for key, more in (("small", {}), ("asked", {"ServerSideEncryption": AES})):
        assert s3.put_object(Bucket=bucket, Key=key, Body=canary, **more)["ServerSideEncryption"] == AES
    (tmp_path / "up").write_bytes(canary + bytes(9 * MIB) + canary)
    parts = TransferConfig(multipart_threshold=5 * MIB, multipart_chunksize=5 * MIB)
    s3.upload_file(str(tmp_path / "up"), bucket, "large", Config=parts)
    copied = s3.copy_object(Bucket=bucket, Key="copy", CopySource=f"{bucket}/large", ServerSideEncryption=AES)
    assert copied["ServerSideEncryption"] == AES
    for key in ("small", "asked", "large", "copy"):
        head = s3.head_object(Bucket=bucket, Key=key)
        got = s3.get_object(Bucket=bucket, Key=key)
        assert (head["ServerSideEncryption"], got["ServerSideEncryption"]) == (AES, AES)
        assert got["Body"].read() == ((tmp_path / "up").read_bytes() if key in ("large", "copy") else canary)
    assert on_disk(store, canary) == []


def test_parts_of_encrypted_objects_are_read_and_copied_right(s3, bucket):
    """Any range, over the borders of parts and of cipher blocks."""
    content = secrets.token_bytes(11 * MIB + 5)
    begun = s3.create_multipart_upload(Bucket=bucket, Key="ranges", ServerSideEncryption=AES)
    assert begun["ServerSideEncryption"] == AES
    upload = {"Bucket": bucket, "Key": "ranges", "UploadId": begun["UploadId"]}
    tags = [
        s3.upload_part(**upload, PartNumber=number, Body=content[start : start + 5 * MIB])["ETag"]
        for number, start in enumerate(range(0, len(content), 5 * MIB), 1)
    ]
    parts = {"Parts": [{"PartNumber": number, "ETag": tag} for number, tag in enumerate(tags, 1)]}
    s3.complete_multipart_upload(**upload, MultipartUpload=parts)
    for first, last in (
        (0, 0),
        (1, 17),
        (15, 16),
        (5 * MIB - 7, 5 * MIB + 9),
        (10 * MIB - 1, 11 * MIB + 4),
        (3, 11 * MIB),
    ):
        got = s3.get_object(Bucket=bucket, Key="ranges", Range=f"bytes={first}-{last}")
        assert got["Body"].read() == content[first : last + 1], (first, last)
    joined = s3.create_multipart_upload(Bucket=bucket, Key="joined")
    upload = {"Bucket": bucket, "Key": "joined", "UploadId": joined["UploadId"]}
    taken = ((5 * MIB - 9, 10 * MIB + 2), (17, 4000))
    tags = [
        s3.upload_part_copy(
            **upload, PartNumber=number, CopySource=f"{bucket}/ranges", CopySourceRange=f"bytes={first}-{last}"
        )["CopyPartResult"]["ETag"]
        for number, (first, last) in enumerate(taken, 1)
    ]
    parts = {"Parts": [{"PartNumber": number, "ETag": tag} for number, tag in enumerate(tags, 1)]}
    s3.complete_multipart_upload(**upload, MultipartUpload=parts)
    expected = b"".join(content[first : last + 1] for first, last in taken)
    assert s3.get_object(Bucket=bucket, Key="joined")["Body"].read() == expected
    assert s3.head_object(Bucket=bucket, Key="joined")["ServerSideEncryption"] == AES
    empty = s3.put_object(Bucket=bucket, Key="empty", Body=b"")
    assert empty["ServerSideEncryption"] == AES
    assert s3.get_object(Bucket=bucket, Key="empty")["Body"].read() == b""


def test_versions_are_encrypted_too(s3):
    bucket = f"sealed-versions-{secrets.token_hex(4)}"
    s3.create_bucket(Bucket=bucket)
    s3.put_bucket_versioning(Bucket=bucket, VersioningConfiguration={"Status": "Enabled"})
    put = [s3.put_object(Bucket=bucket, Key="k", Body=body) for body in (b"first", b"second")]
    assert [each["ServerSideEncryption"] for each in put] == [AES, AES]
    for version, body in zip([each["VersionId"] for each in put], (b"first", b"second"), strict=True):
        got = s3.get_object(Bucket=bucket, Key="k", VersionId=version)
        assert (got["Body"].read(), got["ServerSideEncryption"]) == (body, AES)
        s3.delete_object(Bucket=bucket, Key="k", VersionId=version)
    s3.delete_bucket(Bucket=bucket)


def test_all_buckets_have_the_one_encryption_at_first(s3, bucket):
    def rule(**default):
        return {"Rules": [{"ApplyServerSideEncryptionByDefault": default, "BucketKeyEnabled": False}]}

    configured = rule(SSEAlgorithm=AES)
    for change in (
        lambda: None,
        lambda: s3.put_bucket_encryption(Bucket=bucket, ServerSideEncryptionConfiguration=configured),
        lambda: s3.delete_bucket_encryption(Bucket=bucket),
    ):
        change()
        assert s3.get_bucket_encryption(Bucket=bucket)["ServerSideEncryptionConfiguration"] == configured
    for code, other, status in (
        ("InvalidEncryptionAlgorithmError", rule(SSEAlgorithm="rot13"), 400),
        ("NotImplemented", rule(SSEAlgorithm="aws:kms:dsse"), 501),
        ("InvalidArgument", rule(SSEAlgorithm=AES, KMSMasterKeyID="key"), 400),
    ):
        found = refused(code, s3.put_bucket_encryption, Bucket=bucket, ServerSideEncryptionConfiguration=other)
        assert found == status


def test_other_encryption_is_refused_and_nothing_is_stored(store, s3, bucket):
    wrong = "InvalidEncryptionAlgorithmError"
    assert refused(wrong, s3.put_object, Bucket=bucket, Key="none", Body=b"", ServerSideEncryption="rot13") == 400
    for call, more in (
        (s3.put_object, {"Body": b""}),
        (s3.create_multipart_upload, {}),
        (s3.copy_object, {"CopySource": f"{bucket}/x"}),
    ):
        two_layers = {"Bucket": bucket, "Key": "none", "ServerSideEncryption": "aws:kms:dsse", **more}
        assert refused("NotImplemented", call, **two_layers) == 501
    context = {"ServerSideEncryption": "aws:kms", "SSEKMSEncryptionContext": "e30="}
    refused("NotImplemented", s3.put_object, Bucket=bucket, Key="none", Body=b"", **context)
    mine = store.secure.client("s3", read_timeout=90)
    customers = {"SSECustomerAlgorithm": AES, "SSECustomerKey": bytes(32)}
    refused("NotImplemented", mine.put_object, Bucket=bucket, Key="none", Body=b"", **customers)
    status, body = Raw(store.one, "GET", f"/{bucket}/small", x_amz_server_side_encryption=AES).send()
    assert (status, b"<Code>InvalidArgument</Code>" in body) == (400, True)
    refused("404", s3.head_object, Bucket=bucket, Key="none")


def test_a_policy_may_ask_for_the_header(store, s3, bucket):
    """As the documentation's policy that denies uploads without it."""
    arn = f"arn:aws:s3:::{bucket}/asked/*"
    deny = {"Effect": "Deny", "Principal": "*", "Action": "s3:PutObject", "Resource": arn}
    asked = {"Condition": {"StringNotEquals": {"s3:x-amz-server-side-encryption": AES}}}
    none = {"Condition": {"Null": {"s3:x-amz-server-side-encryption": "true"}}}
    policy = json.dumps({"Version": "2012-10-17", "Statement": [deny | asked, deny | none]})
    s3.put_bucket_policy(Bucket=bucket, Policy=policy)
    refused("AccessDenied", s3.put_object, Bucket=bucket, Key="asked/k", Body=b"")
    s3.put_object(Bucket=bucket, Key="asked/k", Body=b"", ServerSideEncryption=AES)
    s3.delete_bucket_policy(Bucket=bucket)


def test_what_was_written_before_there_was_a_key_is_read_and_said_to_be_plain(store, s3, bucket):
    content = secrets.token_bytes(6 * MIB)
    behind = store.database.run_blocking(lambda tx: tx.session.get(Bucket, bucket).backend_name)

    async def put():
        backend = Backend(store.server())
        try:
            await send_short(backend, Ask("PUT", path_of(behind, "old"), body=content))
        finally:
            await backend.close()

    asyncio.run(put())
    got = s3.get_object(Bucket=bucket, Key="old")
    assert (got["Body"].read() == content, got.get("ServerSideEncryption")) == (True, None)
    assert "ServerSideEncryption" not in s3.head_object(Bucket=bucket, Key="old")
    assert on_disk(store, content[:64])
    copied = s3.copy_object(Bucket=bucket, Key="new", CopySource=f"{bucket}/old")
    assert copied["ServerSideEncryption"] == AES
    begun = s3.create_multipart_upload(Bucket=bucket, Key="joined-old")["UploadId"]
    upload = {"Bucket": bucket, "Key": "joined-old", "UploadId": begun}
    part = s3.upload_part_copy(**upload, PartNumber=1, CopySource=f"{bucket}/old", CopySourceRange="bytes=5-5500000")
    parts = {"Parts": [{"PartNumber": 1, "ETag": part["CopyPartResult"]["ETag"]}]}
    s3.complete_multipart_upload(**upload, MultipartUpload=parts)
    s3.copy_object(Bucket=bucket, Key="old", CopySource=f"{bucket}/old", MetadataDirective="REPLACE")
    for key, expected in (("new", content), ("joined-old", content[5:5500001]), ("old", content)):
        got = s3.get_object(Bucket=bucket, Key=key)
        assert (got["Body"].read() == expected, got["ServerSideEncryption"]) == (True, AES), key


def test_the_key_is_stored_sealed(store, s3, bucket):
    key = asyncio.run(store.find_store_key())
    assert asyncio.run(store.find_store_key()) == key

    def stored(tx):
        return [(row.sealed, version_of(row.sealed)) for row in tx.session.query(ObjectKey)]

    [(sealed, version)] = store.database.run_blocking(stored)
    assert (version, key in sealed, len(key)) == (1, False, 32)
    s3.put_object(Bucket=bucket, Key="with-a-key", Body=b"kept")
    for form in (key, key.hex().encode()):
        assert on_disk(store, form) == []
        assert form not in (store.folder / "weed.log").read_bytes()
        assert form not in (store.folder / "identities.json").read_bytes()
