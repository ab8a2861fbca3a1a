"""Requests that no client makes by itself, or that mean more than they say."""

import base64
import hashlib
import secrets
import zlib
from urllib.parse import urlsplit

import pytest

from stead_controller.aws.signature import UNSIGNED_PAYLOAD
from tests.host.object_store.conftest import TOKEN
from tests.host.object_store.raw import SIGNED, Raw
from tests.host.object_store.test_objects import fetch, refused
from tests.host.object_store.test_tenants import document, statement
from tests.support.waiting import wait_for


@pytest.fixture(scope="module")
def bucket(store):
    """A bucket of the first account with one object."""
    name = f"requests-{secrets.token_hex(4)}"
    store.s3.create_bucket(Bucket=name)
    store.s3.put_object(Bucket=name, Key="k", Body=b"kept")
    return name


@pytest.fixture(autouse=True)
def unchanged(store, bucket):
    """Whatever a test asks, the object is as it was."""
    yield
    assert store.s3.get_object(Bucket=bucket, Key="k")["Body"].read() == b"kept"


def code_of(answer):
    status, body = answer
    return status, body.partition(b"<Code>")[2].partition(b"</Code>")[0].decode()


@pytest.mark.parametrize(
    ("method", "query", "code"),
    [
        ("PUT", "uploadId=", (404, "NoSuchUpload")),
        ("PUT", "uploadId=abc", (400, "InvalidArgument")),
        ("PUT", "uploadId=abc&partNumber=", (400, "InvalidArgument")),
        ("PUT", "uploadId=abc&partNumber=0", (400, "InvalidArgument")),
        ("PUT", "uploadId=abc&partNumber=10001", (400, "InvalidArgument")),
        ("PUT", "uploadId=&partNumber=1", (404, "NoSuchUpload")),
        ("PUT", "uploadId=abc&partNumber=1", (404, "NoSuchUpload")),
        ("PUT", "partNumber=1", (501, "NotImplemented")),
        ("POST", "uploadId=", (404, "NoSuchUpload")),
        ("DELETE", "uploadId=", (404, "NoSuchUpload")),
        ("DELETE", "versionId=", (400, "InvalidArgument")),
        ("GET", "uploadId=", (404, "NoSuchUpload")),
        ("GET", "versionId=", (400, "InvalidArgument")),
        ("GET", "partNumber=", (400, "InvalidArgument")),
    ],
)
def test_what_a_request_names_is_never_nothing(store, bucket, method, query, code):
    going = store.s3.create_multipart_upload(Bucket=bucket, Key="going")["UploadId"]
    try:
        assert code_of(Raw(store.one, method, f"/{bucket}/k", query).send()) == code
        listed = store.s3.list_multipart_uploads(Bucket=bucket)["Uploads"]
        assert [each["UploadId"] for each in listed] == [going]
    finally:
        store.s3.abort_multipart_upload(Bucket=bucket, Key="going", UploadId=going)


def test_an_upload_is_of_its_own_key(store, bucket):
    """Who may write one key gets at no upload of another."""
    going = store.s3.create_multipart_upload(Bucket=bucket, Key="going")["UploadId"]
    tag = store.s3.upload_part(Bucket=bucket, Key="going", UploadId=going, PartNumber=1, Body=b"part")["ETag"]
    store.allow_role(document(statement("Allow", "s3:*", f"arn:aws:s3:::{bucket}/mine")))
    parts = {"Parts": [{"PartNumber": 1, "ETag": tag}]}
    mine = {"Bucket": bucket, "Key": "mine", "UploadId": going}
    for call, more in (
        (store.role.complete_multipart_upload, {"MultipartUpload": parts}),
        (store.role.list_parts, {}),
        (store.role.upload_part, {"PartNumber": 1, "Body": b"another"}),
        (store.role.upload_part_copy, {"PartNumber": 1, "CopySource": f"{bucket}/mine"}),
        (store.role.abort_multipart_upload, {}),
    ):
        store.s3.put_object(Bucket=bucket, Key="mine", Body=b"mine")
        assert refused("NoSuchUpload", call, **mine, **more) == 404
    [part] = store.s3.list_parts(Bucket=bucket, Key="going", UploadId=going)["Parts"]
    assert part["ETag"] == tag
    store.s3.abort_multipart_upload(Bucket=bucket, Key="going", UploadId=going)
    store.s3.delete_object(Bucket=bucket, Key="mine")


def test_an_empty_body_is_what_was_signed_too(store, bucket):
    """Whoever takes the body away on the way does not empty the object."""
    digest = hashlib.sha256(b"a body").hexdigest()
    assert code_of(Raw(store.one, "PUT", f"/{bucket}/k", body_hash=digest).send()) == (400, "XAmzContentSHA256Mismatch")
    raw = Raw(store.one, "PUT", f"/{bucket}/k", body_hash=SIGNED, x_amz_decoded_content_length="0")
    assert code_of(raw.send(b"0;chunk-signature=" + b"0" * 64 + b"\r\n\r\n")) == (403, "SignatureDoesNotMatch")
    empty = Raw(store.one, "PUT", f"/{bucket}/empty", body_hash=UNSIGNED_PAYLOAD)
    assert empty.send()[0] == 200
    assert store.s3.get_object(Bucket=bucket, Key="empty")["Body"].read() == b""


@pytest.mark.parametrize(
    ("method", "query"),
    [("GET", ""), ("PUT", "tagging="), ("POST", "uploads="), ("DELETE", ""), ("HEAD", "")],
)
def test_a_copy_source_is_of_copies(store, bucket, method, query):
    raw = Raw(store.one, method, f"/{bucket}/k", query, x_amz_copy_source=f"{bucket}/k")
    assert code_of(raw.send()) == (400, "InvalidArgument" if method != "HEAD" else "")


def test_a_signature_is_of_s3(store, bucket):
    """A request that was signed for another API does not come in here by what else its header says."""
    raw = Raw(store.one, "GET", f"/{bucket}/k")
    signed = raw.headers["authorization"]
    raw.headers["authorization"] = signed.replace("/s3/", "/ec2/") + ", X=/s3/aws4_request"
    assert code_of(raw.send()) == (400, "AuthorizationHeaderMalformed")


def test_a_url_of_version_2_says_no_more_than_was_signed(store, bucket):
    maker = store.one.client("s3", signature_version="s3")
    url = maker.generate_presigned_url("list_objects", Params={"Bucket": bucket}, ExpiresIn=60)
    assert fetch(url, store)[0] == 200
    for added in ("publicAccessBlock", "encryption", "policyStatus", "versions", "replication"):
        status, _, body = fetch(f"{url}&{added}", store)
        assert code_of((status, body)) == (403, "SignatureDoesNotMatch")
    url = maker.generate_presigned_url("get_bucket_replication", Params={"Bucket": bucket}, ExpiresIn=60)
    assert fetch(url, store)[0] == 404


@pytest.mark.parametrize("version", ["s3", "s3v4"])
def test_a_url_is_good_as_long_as_it_says(store, bucket, version):
    maker = store.one.client("s3", signature_version=version)
    params = {"Bucket": bucket, "Key": "k"}
    for seconds in (-10, 8 * 86_400):
        status, _, body = fetch(maker.generate_presigned_url("get_object", Params=params, ExpiresIn=seconds), store)
        assert status in (400, 403), body
    good = maker.generate_presigned_url("get_object", Params=params, ExpiresIn=7 * 86_400 - 60)
    assert fetch(good, store)[0] == 200
    if version == "s3v4":
        endless = good.partition("&X-Amz-Expires=")[0] + good[good.index("&X-Amz-SignedHeaders") :]
        status, _, body = fetch(endless, store)
        assert code_of((status, body)) == (400, "AuthorizationQueryParametersError")


def test_a_second_factor_for_deletions_is_not_promised(store, bucket):
    document = (
        b"<VersioningConfiguration><Status>Enabled</Status><MfaDelete>Enabled</MfaDelete></VersioningConfiguration>"
    )
    raw = Raw(store.one, "PUT", f"/{bucket}", "versioning=", body_hash=hashlib.sha256(document).hexdigest())
    assert code_of(raw.send(document)) == (501, "NotImplemented")
    assert "Status" not in store.s3.get_bucket_versioning(Bucket=bucket)


def test_documents_are_what_their_digests_say(store, bucket):
    text = b"<Delete><Object><Key>k</Key></Object></Delete>"
    wrong = {
        "content_md5": base64.b64encode(hashlib.md5(b"another").digest()).decode(),
        "x_amz_checksum_crc32": base64.b64encode(zlib.crc32(b"another").to_bytes(4, "big")).decode(),
        "x_amz_checksum_sha1": base64.b64encode(hashlib.sha1(b"another").digest()).decode(),
        "x_amz_checksum_sha256": base64.b64encode(hashlib.sha256(b"another").digest()).decode(),
    }
    for name, value in wrong.items():
        raw = Raw(store.one, "POST", f"/{bucket}", "delete=", body_hash=UNSIGNED_PAYLOAD, **{name: value})
        assert code_of(raw.send(text)) == (400, "BadDigest")


@pytest.mark.parametrize("algorithm", ["CRC32", "CRC32C", "CRC64NVME", "SHA1", "SHA256"])
def test_a_checksum_in_a_header_is_checked(store, bucket, algorithm):
    length = {"CRC32": 4, "CRC32C": 4, "CRC64NVME": 8, "SHA1": 20, "SHA256": 32}[algorithm]
    wrong = {f"x_amz_checksum_{algorithm.lower()}": base64.b64encode(bytes(range(length))).decode()}
    for key in ("k", "new"):
        raw = Raw(store.one, "PUT", f"/{bucket}/{key}", body_hash=UNSIGNED_PAYLOAD, **wrong)
        assert code_of(raw.send(b"a body"))[0] == 400
    refused("404", store.s3.head_object, Bucket=bucket, Key="new")


def test_what_is_deleted_on_a_condition_is_not_deleted_without(store, bucket):
    wanted = [{"Key": "k", "ETag": '"another"'}, {"Key": "none"}]
    answer = store.s3.delete_objects(Bucket=bucket, Delete={"Objects": wanted})
    assert [(each["Key"], each["Code"]) for each in answer["Errors"]] == [("k", "NotImplemented")]
    assert refused("PreconditionFailed", store.s3.delete_object, Bucket=bucket, Key="k", IfMatch='"another"') == 412


def test_preconditions_hold_or_are_refused(store, bucket):
    """Of what writes over an object; none is passed over in silence."""
    s3, key = store.s3, {"Bucket": bucket, "Key": "k"}
    assert refused("PreconditionFailed", s3.put_object, **key, Body=b"x", IfNoneMatch="*") == 412
    assert refused("PreconditionFailed", s3.put_object, **key, Body=b"x", IfMatch='"another"') == 412
    upload = s3.create_multipart_upload(**key)["UploadId"]
    tag = s3.upload_part(**key, UploadId=upload, PartNumber=1, Body=b"part")["ETag"]
    parts = {"UploadId": upload, "MultipartUpload": {"Parts": [{"PartNumber": 1, "ETag": tag}]}}
    for condition in ({"IfNoneMatch": "*"}, {"IfMatch": '"another"'}):
        assert refused("PreconditionFailed", s3.complete_multipart_upload, **key, **parts, **condition) == 412
    s3.abort_multipart_upload(**key, UploadId=upload)
    for method, query, more in (
        ("PUT", "", {"x_amz_copy_source": f"{bucket}/k"}),
        ("POST", "uploads=", {}),
        ("PUT", "uploadId=a&partNumber=1", {}),
    ):
        for header in ("if_none_match", "if_match"):
            raw = Raw(store.one, method, f"/{bucket}/k", query, **more, **{header: "*"})
            assert code_of(raw.send()) == (501, "NotImplemented")


def test_an_upload_in_parts_is_as_large_as_it_says(store, bucket):
    s3, upload = store.s3, {"Bucket": bucket, "Key": "parts"}
    upload["UploadId"] = s3.create_multipart_upload(**upload)["UploadId"]
    tags = [s3.upload_part(**upload, PartNumber=number, Body=b"x" * number)["ETag"] for number in (1, 2, 3)]
    done = {"MultipartUpload": {"Parts": [{"PartNumber": 2, "ETag": tags[1]}]}}
    for size in (1, 3, 6):
        refused("InvalidRequest", s3.complete_multipart_upload, **upload, **done, MpuObjectSize=size)
    s3.complete_multipart_upload(**upload, **done, MpuObjectSize=2)
    assert s3.get_object(Bucket=bucket, Key="parts")["Body"].read() == b"xx"


def test_a_part_that_is_sent_again_replaces_the_first(store, bucket):
    """As clients do that heard nothing of the first."""
    s3, upload = store.s3, {"Bucket": bucket, "Key": "again"}
    upload["UploadId"] = s3.create_multipart_upload(**upload)["UploadId"]
    for body in (b"first", b"second", b"second"):
        tag = s3.upload_part(**upload, PartNumber=1, Body=body)["ETag"]
    assert [part["PartNumber"] for part in s3.list_parts(**upload)["Parts"]] == [1]
    done = {"MultipartUpload": {"Parts": [{"PartNumber": 1, "ETag": tag}]}}
    s3.complete_multipart_upload(**upload, **done, MpuObjectSize=6)
    assert s3.get_object(Bucket=bucket, Key="again")["Body"].read() == b"second"


def test_who_overwrites_what_is_so_may_read_it(store, bucket):
    """A precondition tells whether an object is as somebody thinks."""
    store.allow_role(document(statement("Allow", "s3:PutObject", f"arn:aws:s3:::{bucket}/*")))
    refused("AccessDenied", store.role.put_object, Bucket=bucket, Key="k", Body=b"x", IfMatch='"guessed"')


def test_tags_of_a_header_have_one_meaning(store, bucket):
    for tags in ("a=b&a=c", "a=%zz", "a=%ff"):
        raw = Raw(store.one, "PUT", f"/{bucket}/tagged", x_amz_tagging=tags)
        assert code_of(raw.send()) == (400, "InvalidArgument")
    raw = Raw(store.one, "PUT", f"/{bucket}/tagged", x_amz_tagging="a+b=c%20d%26&e")
    assert raw.send()[0] == 200
    found = store.s3.get_object_tagging(Bucket=bucket, Key="tagged")["TagSet"]
    assert sorted((each["Key"], each["Value"]) for each in found) == [("a b", "c d&"), ("e", "")]


def test_listings_show_no_versions_to_who_may_only_list(store):
    name = f"listed-{secrets.token_hex(4)}"
    store.s3.create_bucket(Bucket=name)
    store.s3.put_bucket_versioning(Bucket=name, VersioningConfiguration={"Status": "Enabled"})
    keys = ["a/k", "a/k", "b"]
    versions = [store.s3.put_object(Bucket=name, Key=key, Body=b"1")["VersionId"] for key in keys]
    for field in (
        "list-type=2&prefix",
        "prefix",
        "list-type=2&start-after",
        "marker",
        "list-type=2&continuation-token",
    ):
        for value in ("", "a/", "a/k.versions", "a/k.versions/", "a/k.versions/v", "k.versions/"):
            for delimiter in ("", "&delimiter=%2F"):
                query = f"{field}={value.replace('/', '%2F')}{delimiter}"
                status, body = Raw(store.one, "GET", f"/{name}", query).send()
                assert status in (200, 400)
                assert not [version for version in versions if version.encode() in body], query
    pages = store.s3.get_paginator("list_objects_v2").paginate(Bucket=name, PaginationConfig={"PageSize": 1})
    assert [each["Key"] for page in pages for each in page["Contents"]] == ["a/k", "b"]
    everything = [{"Key": key, "VersionId": version} for key, version in zip(keys, versions, strict=True)]
    store.s3.delete_objects(Bucket=name, Delete={"Objects": everything})
    store.s3.delete_bucket(Bucket=name)


def test_calls_say_what_they_asked(store, bucket):
    """The record of a call has its parameters and documents, and nothing that signs."""
    store.calls.clear()
    policy = document(statement("Deny", "s3:GetObject", f"arn:aws:s3:::{bucket}/none", Principal="*"))
    store.s3.put_bucket_policy(Bucket=bucket, Policy=policy)
    store.s3.delete_bucket_policy(Bucket=bucket)
    store.s3.list_objects_v2(Bucket=bucket, Prefix="k")
    store.s3.delete_objects(Bucket=bucket, Delete={"Objects": [{"Key": "none"}, {"Key": "none2"}]})
    put, listed, deleted = (
        next(call for call in store.calls if call.operation == name)
        for name in ("PutBucketPolicy", "ListObjectsV2", "DeleteObjects")
    )
    assert put.params["bucketPolicy"]["Statement"][0]["Effect"] == "Deny"
    assert (put.params["Bucket"], put.params["policy"]) == (bucket, "")
    assert (listed.params["prefix"], listed.params["list-type"]) == ("k", "2")
    assert [each["key"] for each in deleted.params["delete"]["objects"]] == ["none", "none2"]
    assert put.additional["bytesTransferredIn"] == len(policy)
    assert (put.additional["SignatureVersion"], put.additional["AuthenticationMethod"]) == ("SigV4", "AuthHeader")
    store.calls.clear()
    got = store.role_account.client("s3", signature_version="s3v4").generate_presigned_url(
        "get_object", Params={"Bucket": bucket, "Key": "k"}, ExpiresIn=60
    )
    store.allow_role(document(statement("Allow", "s3:GetObject", "*")))
    assert fetch(got, store)[0] == 200

    def by_url():
        return [call for call in store.calls if call.additional["AuthenticationMethod"] == "QueryString"]

    wait_for(by_url, "the call was recorded, which is after its last byte", 10)
    [call] = by_url()
    assert (call.additional["AuthenticationMethod"], call.additional["bytesTransferredOut"]) == ("QueryString", 4)
    assert call.params["X-Amz-Expires"] == "60"
    signature = got.partition("X-Amz-Signature=")[2][:64]
    assert TOKEN not in str(call.params)
    assert signature not in str(call.params)


def test_unsigned_requests_are_recorded_too(store, bucket):
    store.calls.clear()
    parts = urlsplit(store.one.endpoint)
    assert fetch(f"{parts.scheme}://{parts.netloc}/{bucket}/k", store)[0] == 403
    [call] = [call for call in store.calls if not call.access_key_id]
    assert (call.operation, call.caller, call.status) == ("GetObject", None, 403)
    assert (call.params["Bucket"], call.params["Key"]) == (bucket, "k")
