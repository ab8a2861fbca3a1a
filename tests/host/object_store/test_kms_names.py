"""Names of keys of KMS: stored with objects and buckets, shown where S3 shows them, while the content is encrypted."""

import asyncio
import json
import secrets

import pytest

from stead_controller.object_store import copies
from stead_controller.object_store.headers import RESERVED
from tests.host.object_store.test_encryption import on_disk
from tests.host.object_store.test_objects import refused

KMS = "aws:kms"
AES = "AES256"
KEY_ID = "11111111-2222-3333-4444-555555555555"
OTHER = "arn:aws:kms:us-east-1:999999999999:key/mrk-1234567890abcdef1234567890abcdef"
MIB = 1 << 20


@pytest.fixture(scope="module")
def s3(store):
    return store.s3


@pytest.fixture(scope="module")
def arn(store):
    """The ARN of the key that the tests name by its id."""
    return f"arn:aws:kms:us-east-1:{store.one.account_id}:key/{KEY_ID}"


@pytest.fixture
def bucket(s3):
    """A bucket of its own, whose default a test may change."""
    name = f"kms-{secrets.token_hex(4)}"
    s3.create_bucket(Bucket=name)
    return name


def named(answer):
    """What an answer says of the encryption: the algorithm, the key, and whether it has a bucket key."""
    return answer.get("ServerSideEncryption"), answer.get("SSEKMSKeyId"), answer.get("BucketKeyEnabled", False)


def default(s3, bucket, **said):
    """Set the bucket's default, and check that it is given back."""
    bucket_key = said.pop("BucketKeyEnabled", False)
    rules = {"Rules": [{"ApplyServerSideEncryptionByDefault": said, "BucketKeyEnabled": bucket_key}]}
    s3.put_bucket_encryption(Bucket=bucket, ServerSideEncryptionConfiguration=rules)
    assert s3.get_bucket_encryption(Bucket=bucket)["ServerSideEncryptionConfiguration"] == rules


def test_the_key_that_a_request_names_is_shown_by_its_arn(store, s3, bucket, arn):
    canary = secrets.token_bytes(64)
    alias = f"arn:aws:kms:us-east-1:{store.one.account_id}:alias/mine"
    found = {}
    for key, name in (("id", KEY_ID), ("arn", arn), ("others", OTHER), ("alias", "alias/mine"), ("by-arn", alias)):
        put = s3.put_object(Bucket=bucket, Key=key, Body=canary, ServerSideEncryption=KMS, SSEKMSKeyId=name)
        head, got = s3.head_object(Bucket=bucket, Key=key), s3.get_object(Bucket=bucket, Key=key)
        assert named(put) == named(head) == named(got)
        assert (got["Body"].read(), head["Metadata"], got["Metadata"]) == (canary, {}, {})
        found[key] = put["SSEKMSKeyId"]
    assert (found["id"], found["arn"], found["others"]) == (arn, arn, OTHER)
    assert found["alias"] == found["by-arn"] != arn
    without = s3.put_object(Bucket=bucket, Key="of-account", Body=canary, ServerSideEncryption=KMS)["SSEKMSKeyId"]
    assert without.startswith(f"arn:aws:kms:us-east-1:{store.one.account_id}:key/")
    assert without not in found.values()
    assert on_disk(store, canary) == []
    plain = s3.put_object(Bucket=bucket, Key="id", Body=b"plain")
    assert named(plain) == named(s3.head_object(Bucket=bucket, Key="id")) == (AES, None, False)


def test_a_bucket_has_a_default_that_a_request_may_overrule(store, s3, bucket, arn):
    default(s3, bucket, SSEAlgorithm=KMS, KMSMasterKeyID="alias/of-bucket", BucketKeyEnabled=True)
    by_default = named(s3.put_object(Bucket=bucket, Key="k", Body=b"1"))
    assert (by_default[0], by_default[2]) == (KMS, True)
    assert named(s3.head_object(Bucket=bucket, Key="k")) == by_default
    for said, expected in (
        ({"ServerSideEncryption": AES}, (AES, None, False)),
        ({"ServerSideEncryption": KMS, "SSEKMSKeyId": KEY_ID}, (KMS, arn, True)),
        ({"ServerSideEncryption": KMS, "SSEKMSKeyId": KEY_ID, "BucketKeyEnabled": False}, (KMS, arn, False)),
        ({"BucketKeyEnabled": False}, (KMS, by_default[1], False)),
    ):
        assert named(s3.put_object(Bucket=bucket, Key="k", Body=b"2", **said)) == expected
        assert named(s3.head_object(Bucket=bucket, Key="k")) == expected
    of_account = named(s3.put_object(Bucket=bucket, Key="k", Body=b"3", ServerSideEncryption=KMS))
    assert of_account[1] not in (by_default[1], None)  # not the bucket's, as in S3
    default(s3, bucket, SSEAlgorithm=KMS)
    assert named(s3.put_object(Bucket=bucket, Key="k", Body=b"4")) == (KMS, of_account[1], False)
    default(s3, bucket, SSEAlgorithm=AES, BucketKeyEnabled=True)
    assert named(s3.put_object(Bucket=bucket, Key="k", Body=b"5")) == (AES, None, False)
    s3.delete_bucket_encryption(Bucket=bucket)
    [rule] = s3.get_bucket_encryption(Bucket=bucket)["ServerSideEncryptionConfiguration"]["Rules"]
    expected = {"ApplyServerSideEncryptionByDefault": {"SSEAlgorithm": AES}, "BucketKeyEnabled": False}
    assert rule == expected


def test_blocked_types_are_those_that_are_not_there_anyway(s3, bucket):
    def rules(*blocked):
        rule = {"ApplyServerSideEncryptionByDefault": {"SSEAlgorithm": AES}, "BucketKeyEnabled": False}
        return {"Rules": [{**rule, "BlockedEncryptionTypes": {"EncryptionType": list(blocked)}}]}

    s3.put_bucket_encryption(Bucket=bucket, ServerSideEncryptionConfiguration=rules("SSE-C"))
    assert s3.get_bucket_encryption(Bucket=bucket)["ServerSideEncryptionConfiguration"] == rules("SSE-C")
    none = rules("NONE")
    refused("NotImplemented", s3.put_bucket_encryption, Bucket=bucket, ServerSideEncryptionConfiguration=none)


def test_an_upload_in_parts_has_the_key_it_was_begun_with(s3, bucket, arn):
    content = bytes(5 * MIB) + b"end"
    begun = s3.create_multipart_upload(
        Bucket=bucket, Key="large", ServerSideEncryption=KMS, SSEKMSKeyId=KEY_ID, BucketKeyEnabled=True
    )
    assert named(begun) == (KMS, arn, True)
    upload = {"Bucket": bucket, "Key": "large", "UploadId": begun["UploadId"]}
    parts = []
    for number, start in enumerate((0, 5 * MIB), 1):
        part = s3.upload_part(**upload, PartNumber=number, Body=content[start : start + 5 * MIB])
        assert "ServerSideEncryption" not in part  # which would not be the whole's
        parts.append({"PartNumber": number, "ETag": part["ETag"]})
    done = s3.complete_multipart_upload(**upload, MultipartUpload={"Parts": parts})
    got = s3.get_object(Bucket=bucket, Key="large")
    assert named(done) == named(got) == (KMS, arn, True)
    assert (got["Body"].read() == content, got["Metadata"]) == (True, {})


def test_a_completed_upload_says_that_it_is_encrypted(s3, bucket):
    begun = s3.create_multipart_upload(Bucket=bucket, Key="plain")["UploadId"]
    upload = {"Bucket": bucket, "Key": "plain", "UploadId": begun}
    tag = s3.upload_part(**upload, PartNumber=1, Body=b"all")["ETag"]
    parts = {"Parts": [{"PartNumber": 1, "ETag": tag}]}
    assert named(s3.complete_multipart_upload(**upload, MultipartUpload=parts)) == (AES, None, False)


OWN = {
    "CacheControl": "max-age=5",
    "ContentDisposition": "attachment",
    "ContentEncoding": "gzip",
    "ContentLanguage": "de",
    "ContentType": "text/plain",
    "Metadata": {"who": "me"},
}


def test_a_copy_has_its_own_encryption_and_its_sources_headers(s3, bucket, arn):
    s3.put_object(
        Bucket=bucket, Key="k", Body=b"abc", Tagging="t=1", ServerSideEncryption=KMS, SSEKMSKeyId=OTHER, **OWN
    )
    s3.put_object(Bucket=bucket, Key="plain", Body=b"abc", Tagging="t=1", **OWN)
    asked = {"ServerSideEncryption": KMS, "SSEKMSKeyId": KEY_ID}
    for source, said, expected in (
        ("k", {}, (AES, None, False)),
        ("k", asked, (KMS, arn, False)),
        ("plain", asked, (KMS, arn, False)),
        ("plain", {}, (AES, None, False)),
    ):
        ignored = {"ContentType": "x/y", "Metadata": {"who": "nobody"}}  # of S3 too, where nothing is replaced
        copied = s3.copy_object(Bucket=bucket, Key="c", CopySource=f"{bucket}/{source}", **said, **ignored)
        head = s3.head_object(Bucket=bucket, Key="c")
        assert named(copied) == named(head) == expected
        assert {name: head.get(name) for name in OWN} == OWN
        assert s3.get_object_tagging(Bucket=bucket, Key="c")["TagSet"] == [{"Key": "t", "Value": "1"}]
        assert s3.get_object(Bucket=bucket, Key="c")["Body"].read() == b"abc"
    new = {"MetadataDirective": "REPLACE", "Metadata": {"new": "1"}, "ContentType": "x/y"}
    replaced = s3.copy_object(Bucket=bucket, Key="c", CopySource=f"{bucket}/k", **asked, **new)
    head = s3.head_object(Bucket=bucket, Key="c")
    assert named(replaced) == named(head) == (KMS, arn, False)
    assert (head["Metadata"], head["ContentType"], "CacheControl" in head) == ({"new": "1"}, "x/y", False)


def test_a_copy_of_a_version_and_one_with_conditions(s3, bucket, arn):
    s3.put_bucket_versioning(Bucket=bucket, VersioningConfiguration={"Status": "Enabled"})
    first = s3.put_object(Bucket=bucket, Key="k", Body=b"1", Metadata={"n": "1"}, ServerSideEncryption=KMS)
    s3.put_object(Bucket=bucket, Key="k", Body=b"2", Metadata={"n": "2"})
    source = {"Bucket": bucket, "Key": "k", "VersionId": first["VersionId"]}
    asked = {"ServerSideEncryption": KMS, "SSEKMSKeyId": KEY_ID}
    copied = s3.copy_object(Bucket=bucket, Key="c", CopySource=source, CopySourceIfMatch=first["ETag"], **asked)
    head = s3.head_object(Bucket=bucket, Key="c", VersionId=copied["VersionId"])
    assert (named(head), head["Metadata"]) == ((KMS, arn, False), {"n": "1"})
    refused(
        "PreconditionFailed",
        s3.copy_object,
        Bucket=bucket,
        Key="c",
        CopySource=source,
        CopySourceIfMatch='"x"',
        **asked,
    )
    refused("NoSuchKey", s3.copy_object, Bucket=bucket, Key="c", CopySource=f"{bucket}/none", **asked)


def test_a_source_that_is_written_meanwhile_is_not_copied_with_headers_of_before(s3, bucket, monkeypatch):
    s3.put_object(Bucket=bucket, Key="k", Body=b"old", Metadata={"n": "1"})
    headers_of = copies.headers_of

    async def slowly(*given):
        found = await headers_of(*given)
        await asyncio.to_thread(s3.put_object, Bucket=bucket, Key="k", Body=b"new", Metadata={"n": "2"})
        return found

    monkeypatch.setattr(copies, "headers_of", slowly)
    copy = {"Bucket": bucket, "Key": "c", "CopySource": f"{bucket}/k", "ServerSideEncryption": KMS}
    assert refused("OperationAborted", s3.copy_object, **copy) == 409
    refused("404", s3.head_object, Bucket=bucket, Key="c")


def test_a_copy_is_of_the_standard_class_unless_another_is_asked_for(s3, bucket):
    s3.put_object(Bucket=bucket, Key="k", Body=b"abc", StorageClass="STANDARD_IA", Metadata={"who": "me"})
    for more in ({}, {"MetadataDirective": "REPLACE"}, {"ServerSideEncryption": KMS}, {"StorageClass": "GLACIER_IR"}):
        s3.copy_object(Bucket=bucket, Key="c", CopySource=f"{bucket}/k", **more)
        expected = more.get("StorageClass")
        assert s3.head_object(Bucket=bucket, Key="c").get("StorageClass") == expected
        [listed] = s3.list_objects_v2(Bucket=bucket, Prefix="c")["Contents"]
        assert listed["StorageClass"] == (expected or "STANDARD")


def test_an_object_is_copied_to_itself_to_be_under_another_key(s3, bucket, arn):
    s3.put_object(Bucket=bucket, Key="k", Body=b"abc", Metadata={"who": "me"})
    itself = {"Bucket": bucket, "Key": "k", "CopySource": f"{bucket}/k"}
    refused("InvalidRequest", s3.copy_object, **itself)
    for said, expected in (
        ({"ServerSideEncryption": KMS, "SSEKMSKeyId": KEY_ID}, (KMS, arn, False)),
        ({"ServerSideEncryption": AES}, (AES, None, False)),
        ({"StorageClass": "STANDARD_IA"}, (AES, None, False)),
    ):
        s3.copy_object(**itself, **said)
        head = s3.head_object(Bucket=bucket, Key="k")
        assert (named(head), head["Metadata"]) == (expected, {"who": "me"})
    assert head["StorageClass"] == "STANDARD_IA"
    refused("InvalidRequest", s3.copy_object, **itself)


def test_names_that_are_none_are_refused_and_nothing_is_stored(s3, bucket):
    elsewhere = f"arn:aws:kms:eu-west-1:999999999999:key/{KEY_ID}"
    for code, said in (
        ("KMS.NotFoundException", {"ServerSideEncryption": KMS, "SSEKMSKeyId": "aws/s3"}),
        ("KMS.NotFoundException", {"ServerSideEncryption": KMS, "SSEKMSKeyId": elsewhere}),
        ("InvalidArgument", {"SSEKMSKeyId": KEY_ID}),
        ("InvalidArgument", {"SSEKMSKeyId": KEY_ID, "ServerSideEncryption": AES}),
        ("InvalidArgument", {"BucketKeyEnabled": True, "ServerSideEncryption": AES}),
        ("InvalidArgument", {"BucketKeyEnabled": True}),
        ("InvalidArgument", {"Metadata": {RESERVED.removeprefix("x-amz-meta-"): KEY_ID}}),
    ):
        assert refused(code, s3.put_object, Bucket=bucket, Key="none", Body=b"", **said) == 400
    refused("404", s3.head_object, Bucket=bucket, Key="none")
    for name in ("aws/s3", elsewhere):
        rule = {"ApplyServerSideEncryptionByDefault": {"SSEAlgorithm": KMS, "KMSMasterKeyID": name}}
        rules = {"Rules": [rule]}
        refused(
            "KMS.NotFoundException", s3.put_bucket_encryption, Bucket=bucket, ServerSideEncryptionConfiguration=rules
        )
    assert named(s3.put_object(Bucket=bucket, Key="k", Body=b"")) == (AES, None, False)


def test_a_policy_may_ask_for_a_key(store, s3, bucket, arn):
    """As the documentation's: no header, or the one key, whichever way it is named."""
    statement = {"Effect": "Deny", "Principal": "*", "Action": "s3:PutObject", "Resource": f"arn:aws:s3:::{bucket}/*"}
    algorithm, key = "s3:x-amz-server-side-encryption", "s3:x-amz-server-side-encryption-aws-kms-key-id"
    statements = [
        statement | {"Condition": {"StringNotEquals": {algorithm: KMS}, "Null": {algorithm: "false"}}},
        statement | {"Condition": {"ArnNotEquals": {key: arn}, "Null": {key: "false"}}},
    ]
    s3.put_bucket_policy(Bucket=bucket, Policy=json.dumps({"Version": "2012-10-17", "Statement": statements}))
    for said in (
        {},
        {"ServerSideEncryption": KMS, "SSEKMSKeyId": arn},
        {"ServerSideEncryption": KMS, "SSEKMSKeyId": KEY_ID},
    ):
        s3.put_object(Bucket=bucket, Key="k", Body=b"", **said)
    for said in (
        {"ServerSideEncryption": AES},
        {"ServerSideEncryption": KMS},  # under the account's own
        {"ServerSideEncryption": KMS, "SSEKMSKeyId": OTHER},
    ):
        refused("AccessDenied", s3.put_object, Bucket=bucket, Key="k", Body=b"", **said)


def test_the_record_of_a_call_names_the_key(store, s3, bucket, arn):
    s3.put_object(Bucket=bucket, Key="recorded", Body=b"", ServerSideEncryption=KMS, SSEKMSKeyId=KEY_ID)
    [record] = [
        call for call in store.calls if call.params.get("Key") == "recorded" and call.params["Bucket"] == bucket
    ]
    name = "x-amz-server-side-encryption-aws-kms-key-id"
    assert (record.params[name], record.result[name]) == (KEY_ID, arn)
