"""boto3 speaks S3 to Stead's endpoint as it would to Amazon's."""

import contextlib
import hashlib
import http.client
import secrets
import ssl
import urllib.parse
from dataclasses import replace

import pytest
from boto3.s3.transfer import TransferConfig
from botocore.exceptions import ClientError


def refused(code, function, **params):
    """Check that a call is refused with this code; give the HTTP status."""
    with pytest.raises(ClientError) as refusal:
        function(**params)
    assert refusal.value.response["Error"]["Code"] == code, refusal.value.response
    return refusal.value.response["ResponseMetadata"]["HTTPStatusCode"]


@pytest.fixture(scope="module", params=["http", "https"])
def s3(request, store):
    """A client by either port."""
    return (store.one if request.param == "http" else store.secure).client("s3", read_timeout=90)


@pytest.fixture(scope="module")
def bucket(store):
    """A bucket of the first account."""
    name = f"objects-{secrets.token_hex(4)}"
    store.s3.create_bucket(Bucket=name)
    return name


def test_put_get_head_and_delete(s3, bucket):
    key = "a folder/ä+b&c=d %41~'(!)*.txt"
    put = s3.put_object(
        Bucket=bucket, Key=key, Body=b"hello", ContentType="text/plain", Metadata={"who": "me"}, Tagging="a=b"
    )
    assert put["ETag"] == f'"{hashlib.md5(b"hello").hexdigest()}"'
    head = s3.head_object(Bucket=bucket, Key=key)
    assert head["ContentLength"] == 5
    assert head["Metadata"] == {"who": "me"}
    assert head["ContentType"] == "text/plain"
    got = s3.get_object(Bucket=bucket, Key=key)
    assert got["Body"].read() == b"hello"
    assert got["ETag"] == put["ETag"]
    assert s3.get_object_tagging(Bucket=bucket, Key=key)["TagSet"] == [{"Key": "a", "Value": "b"}]
    assert s3.get_object(Bucket=bucket, Key=key, Range="bytes=1-3")["Body"].read() == b"ell"
    refused("InvalidRange", s3.get_object, Bucket=bucket, Key=key, Range="bytes=9-")
    with pytest.raises(ClientError) as unchanged:
        s3.get_object(Bucket=bucket, Key=key, IfNoneMatch=put["ETag"])
    assert unchanged.value.response["ResponseMetadata"]["HTTPStatusCode"] == 304
    assert refused("PreconditionFailed", s3.put_object, Bucket=bucket, Key=key, Body=b"x", IfNoneMatch="*") == 412
    s3.delete_object(Bucket=bucket, Key=key)
    assert refused("NoSuchKey", s3.get_object, Bucket=bucket, Key=key) == 404
    assert refused("404", s3.head_object, Bucket=bucket, Key=key) == 404


def test_large_objects_in_parts(s3, bucket, tmp_path):
    content = secrets.token_bytes(23 << 20)
    (tmp_path / "up").write_bytes(content)
    parts = TransferConfig(multipart_threshold=5 << 20, multipart_chunksize=8 << 20, max_concurrency=4)
    s3.upload_file(str(tmp_path / "up"), bucket, "large", Config=parts)
    assert s3.head_object(Bucket=bucket, Key="large")["ETag"].endswith('-3"')
    s3.download_file(bucket, "large", str(tmp_path / "down"), Config=parts)
    assert (tmp_path / "down").read_bytes() == content
    begun = s3.create_multipart_upload(Bucket=bucket, Key="never")["UploadId"]
    s3.upload_part(Bucket=bucket, Key="never", UploadId=begun, PartNumber=1, Body=b"part")
    s3.upload_part_copy(
        Bucket=bucket,
        Key="never",
        UploadId=begun,
        PartNumber=2,
        CopySource=f"{bucket}/large",
        CopySourceRange="bytes=0-9",
    )
    listed = s3.list_parts(Bucket=bucket, Key="never", UploadId=begun)
    assert [(part["PartNumber"], part["Size"]) for part in listed["Parts"]] == [(1, 4), (2, 10)]
    assert listed["Bucket"] == bucket
    uploads = s3.list_multipart_uploads(Bucket=bucket)
    assert [upload["UploadId"] for upload in uploads["Uploads"]] == [begun]
    s3.abort_multipart_upload(Bucket=bucket, Key="never", UploadId=begun)
    assert "Uploads" not in s3.list_multipart_uploads(Bucket=bucket)
    joined = s3.create_multipart_upload(Bucket=bucket, Key="joined")["UploadId"]
    tags = [s3.upload_part(Bucket=bucket, Key="joined", UploadId=joined, PartNumber=1, Body=content[: 5 << 20])["ETag"]]
    second = s3.upload_part_copy(
        Bucket=bucket,
        Key="joined",
        UploadId=joined,
        PartNumber=2,
        CopySource=f"{bucket}/large",
        CopySourceRange="bytes=3-999",
    )
    tags.append(second["CopyPartResult"]["ETag"])
    parts_list = {"Parts": [{"PartNumber": number, "ETag": tag} for number, tag in enumerate(tags, 1)]}
    done = s3.complete_multipart_upload(Bucket=bucket, Key="joined", UploadId=joined, MultipartUpload=parts_list)
    assert (done["Bucket"], done["Location"]) == (bucket, f"{s3.meta.endpoint_url}/{bucket}/joined")
    assert s3.get_object(Bucket=bucket, Key="joined")["Body"].read() == content[: 5 << 20] + content[3:1000]
    for key in ("large", "joined"):
        s3.delete_object(Bucket=bucket, Key=key)


def test_a_prefix_is_gone_with_its_last_object(s3, bucket):
    bucket = f"{bucket}-prefixes"
    s3.create_bucket(Bucket=bucket)

    def shown(**options):
        pages = [
            s3.list_objects_v2(Bucket=bucket, Delimiter="/", **options),
            s3.list_objects(Bucket=bucket, Delimiter="/", **options),
            s3.list_object_versions(Bucket=bucket, Delimiter="/", **options),
        ]
        counts = pages[0]["KeyCount"]
        first, *others = [[each["Prefix"] for each in page.get("CommonPrefixes", [])] for page in pages]
        assert others == [first, first]
        assert counts == len(first) + len(pages[0].get("Contents", []))
        return first

    for key in ("gone/a &+ü/1", "gone/b/c/1", "gone/b/c/2", "stays/a/1", "stays/b/1", "marked/", "marked/1", "file"):
        s3.put_object(Bucket=bucket, Key=key, Body=b"x")
    assert shown() == ["gone/", "marked/", "stays/"]
    s3.delete_object(Bucket=bucket, Key="gone/a &+ü/1")
    assert shown(Prefix="gone/") == ["gone/b/"]
    s3.delete_objects(Bucket=bucket, Delete={"Objects": [{"Key": "stays/a/1"}, {"Key": "marked/1"}]})
    assert shown(Prefix="stays/") == ["stays/b/"]
    s3.delete_object(Bucket=bucket, Key="gone/b/c/1")
    assert shown() == ["gone/", "marked/", "stays/"]
    s3.delete_object(Bucket=bucket, Key="gone/b/c/2")
    assert shown() == ["marked/", "stays/"]
    s3.put_object(Bucket=bucket, Key="gone/b/3", Body=b"x")
    assert shown() == ["gone/", "marked/", "stays/"]
    keys = ("gone/b/3", "stays/b/1", "marked/", "file")
    s3.delete_objects(Bucket=bucket, Delete={"Objects": [{"Key": key} for key in keys]})
    assert shown() == []
    s3.delete_bucket(Bucket=bucket)


def test_listings_copies_and_many_deletions(s3, bucket, store):
    keys = [f"list/{folder}/{number}" for folder in "xy" for number in range(3)] + ["list/a&<b>"]
    for key in keys:
        s3.put_object(Bucket=bucket, Key=key, Body=key.encode())
    optional = {"OptionalObjectAttributes": ["RestoreStatus"]}
    folders = s3.list_objects_v2(Bucket=bucket, Prefix="list/", Delimiter="/", **optional)
    assert [each["Prefix"] for each in folders["CommonPrefixes"]] == ["list/x/", "list/y/"]
    assert [each["Key"] for each in folders["Contents"]] == ["list/a&<b>"]
    assert folders["Name"] == bucket
    pages = s3.get_paginator("list_objects_v2").paginate(
        Bucket=bucket, Prefix="list/", PaginationConfig={"PageSize": 2}
    )
    assert sorted(each["Key"] for page in pages for each in page["Contents"]) == sorted(keys)
    older = s3.get_paginator("list_objects").paginate(Bucket=bucket, Prefix="list/", PaginationConfig={"PageSize": 2})
    found = [each for page in older for each in page["Contents"]]
    assert sorted(each["Key"] for each in found) == sorted(keys)
    assert {each["Owner"]["DisplayName"] for each in found} == {store.one.account_id}
    s3.copy_object(Bucket=bucket, Key="list/copy", CopySource={"Bucket": bucket, "Key": "list/a&<b>"})
    assert s3.get_object(Bucket=bucket, Key="list/copy")["Body"].read() == b"list/a&<b>"
    wanted = [{"Key": key} for key in [*keys, "list/copy", "../escape", "list//x/0"]]
    answer = s3.delete_objects(Bucket=bucket, Delete={"Objects": wanted})
    assert sorted(each["Key"] for each in answer["Deleted"]) == sorted([*keys, "list/copy"])
    assert {each["Key"]: each["Code"] for each in answer["Errors"]} == {
        "../escape": "InvalidArgument",
        "list//x/0": "InvalidArgument",
    }
    assert s3.list_objects_v2(Bucket=bucket, Prefix="list/")["KeyCount"] == 0


def test_versions(s3, store):
    bucket = f"versions-{secrets.token_hex(4)}"
    s3.create_bucket(Bucket=bucket)
    s3.put_bucket_versioning(Bucket=bucket, VersioningConfiguration={"Status": "Enabled"})
    assert s3.get_bucket_versioning(Bucket=bucket)["Status"] == "Enabled"
    first, second = (s3.put_object(Bucket=bucket, Key="k", Body=body)["VersionId"] for body in (b"1", b"2"))
    assert s3.get_object(Bucket=bucket, Key="k", VersionId=first)["Body"].read() == b"1"
    s3.delete_object(Bucket=bucket, Key="k")
    listed = s3.list_object_versions(Bucket=bucket)
    assert {each["VersionId"] for each in listed["Versions"]} == {first, second}
    [marker] = listed["DeleteMarkers"]
    assert refused("BucketNotEmpty", s3.delete_bucket, Bucket=bucket) == 409
    everything = [{"Key": "k", "VersionId": version} for version in (first, second, marker["VersionId"])]
    s3.delete_objects(Bucket=bucket, Delete={"Objects": everything})
    s3.delete_bucket(Bucket=bucket)
    assert refused("404", s3.head_bucket, Bucket=bucket) == 404


def fetch(url, store, method="GET", body=None):
    """Use a presigned URL as a browser would; give status, headers and body."""
    parts = urllib.parse.urlsplit(url)
    if parts.scheme == "https":
        context = ssl.create_default_context(cafile=store.secure.ca_file)
        connection = http.client.HTTPSConnection(parts.hostname, parts.port, timeout=60, context=context)
    else:
        connection = http.client.HTTPConnection(parts.hostname, parts.port, timeout=60)
    with contextlib.closing(connection):
        connection.request(method, f"{parts.path}?{parts.query}", body)
        answer = connection.getresponse()
        return answer.status, answer.headers, answer.read()


@pytest.mark.parametrize("version", ["s3v4", "s3"])
def test_presigned_urls(s3, bucket, store, version):
    signed_for = store.secure if s3.meta.endpoint_url.startswith("https") else store.one
    maker = signed_for.client("s3", signature_version=version)
    key = f"signed/é +{version}"
    put = maker.generate_presigned_url("put_object", Params={"Bucket": bucket, "Key": key}, ExpiresIn=60)
    assert ("X-Amz-Algorithm" in put) == (version == "s3v4")
    assert fetch(put, store, "PUT", b"by a URL")[0] == 200
    wanted = {"Bucket": bucket, "Key": key, "ResponseContentDisposition": "attachment"}
    get = maker.generate_presigned_url("get_object", Params=wanted, ExpiresIn=60)
    status, headers, body = fetch(get, store)
    assert (status, body, headers["Content-Disposition"]) == (200, b"by a URL", "attachment")
    for other in (get.replace("signed/", "other/"), get.replace("attachment", "inline")):
        status, _, body = fetch(other, store)
        assert (status, b"SignatureDoesNotMatch" in body) == (403, True)
    late = get.replace("X-Amz-Expires=60", "X-Amz-Expires=61").replace("Expires=1", "Expires=2")
    assert fetch(late, store)[0] == 403
    by_role = replace(signed_for, access_key_id="ASIA1111111111111111", session_token="a-session-token")
    theirs = by_role.client("s3", signature_version=version).generate_presigned_url("get_object", Params=wanted)
    assert fetch(theirs, store)[2] == b"by a URL"
    assert fetch(theirs.replace("a-session-token", "another-token"), store)[0] == 403


@pytest.mark.parametrize(
    ("method", "code"),
    [("GET", b"AccessDenied"), ("HEAD", b""), ("PUT", b"AccessDenied"), ("OPTIONS", b"BadRequest")],
)
def test_unsigned_requests_get_s3s_error(store, bucket, method, code):
    for path in (f"/{bucket}", f"/{bucket}/k", "/no-bucket-of-anybody/k"):
        status, headers, body = fetch(
            f"{store.one.endpoint}{path}?x=y", store, method, b"" if method == "PUT" else None
        )
        assert (status, headers["Content-Type"]) == (400 if method == "OPTIONS" else 403, "application/xml")
        assert body.startswith(b'<?xml version="1.0"') == (method != "HEAD")
        assert b"<Code>" + code in body or not code
    body = fetch(f"{store.one.endpoint}/?Action=DescribeVpcs&Version=2016-11-15", store)[2]
    assert b"<Code>MissingAuthenticationToken</Code>" in body  # which is EC2's


def test_what_a_bucket_says_of_itself(s3, bucket, store):
    assert s3.get_bucket_location(Bucket=bucket)["LocationConstraint"] is None
    assert s3.head_bucket(Bucket=bucket)["BucketRegion"] == "us-east-1"
    grants = s3.get_bucket_acl(Bucket=bucket)
    assert grants["Owner"]["ID"] == grants["Grants"][0]["Grantee"]["ID"]
    assert s3.get_bucket_ownership_controls(Bucket=bucket)["OwnershipControls"]["Rules"] == [
        {"ObjectOwnership": "BucketOwnerEnforced"}
    ]
    refused("NoSuchCORSConfiguration", s3.get_bucket_cors, Bucket=bucket)
    refused("NoSuchWebsiteConfiguration", s3.get_bucket_website, Bucket=bucket)
    assert refused("AccessControlListNotSupported", s3.put_object, Bucket=bucket, Key="k", ACL="public-read") == 400
    assert refused("NotImplemented", s3.put_bucket_website, Bucket=bucket, WebsiteConfiguration={}) == 501
    s3.put_bucket_tagging(Bucket=bucket, Tagging={"TagSet": [{"Key": "team", "Value": "red"}]})
    assert s3.get_bucket_tagging(Bucket=bucket)["TagSet"] == [{"Key": "team", "Value": "red"}]
    s3.delete_bucket_tagging(Bucket=bucket)
    refused("NoSuchTagSet", s3.get_bucket_tagging, Bucket=bucket)


def test_acls_are_what_an_owner_who_has_all_makes_of_them(s3, bucket):
    s3.put_object(Bucket=bucket, Key="acl", Body=b"", ACL="private")
    for canned in ("private", "bucket-owner-full-control"):
        s3.put_bucket_acl(Bucket=bucket, ACL=canned)
        s3.put_object_acl(Bucket=bucket, Key="acl", ACL=canned)
    mine = s3.get_object_acl(Bucket=bucket, Key="acl")
    given = {"Owner": mine["Owner"], "Grants": mine["Grants"]}
    for call, more in (
        (s3.put_bucket_acl, {"ACL": "public-read"}),
        (s3.put_bucket_acl, {"GrantRead": "uri=http://acs.amazonaws.com/groups/global/AllUsers"}),
        (s3.put_bucket_acl, {"AccessControlPolicy": given}),
        (s3.put_object_acl, {"Key": "acl", "ACL": "public-read-write"}),
        (s3.put_object_acl, {"Key": "acl", "AccessControlPolicy": given}),
        (s3.copy_object, {"Key": "acl", "ACL": "public-read", "CopySource": f"{bucket}/acl"}),
        (s3.create_multipart_upload, {"Key": "acl", "ACL": "authenticated-read"}),
    ):
        assert refused("AccessControlListNotSupported", call, Bucket=bucket, **more) == 400
    assert refused("NoSuchKey", s3.put_object_acl, Bucket=bucket, Key="none", ACL="private") == 404
    assert refused("NoSuchKey", s3.get_object_acl, Bucket=bucket, Key="none") == 404
    owned = {"Rules": [{"ObjectOwnership": "BucketOwnerEnforced"}]}
    s3.put_bucket_ownership_controls(Bucket=bucket, OwnershipControls=owned)
    owned["Rules"][0]["ObjectOwnership"] = "ObjectWriter"
    refused("NotImplemented", s3.put_bucket_ownership_controls, Bucket=bucket, OwnershipControls=owned)
    s3.delete_object(Bucket=bucket, Key="acl")


def test_what_is_not_built_is_refused_by_s3s_own_code(s3, bucket):
    locked = {"ObjectLockEnabled": "Enabled"}
    for call, more in (
        (s3.put_bucket_website, {"WebsiteConfiguration": {"IndexDocument": {"Suffix": "index.html"}}}),
        (s3.put_object_lock_configuration, {"ObjectLockConfiguration": locked}),
        (s3.put_object, {"Key": "k", "Body": b"", "WebsiteRedirectLocation": "/other"}),
        (s3.create_bucket, {"ObjectLockEnabledForBucket": True}),
    ):
        name = f"{bucket}-locked" if call == s3.create_bucket else bucket
        assert refused("NotImplemented", call, Bucket=name, **more) == 501
    refused("404", s3.head_object, Bucket=bucket, Key="k")
    refused("404", s3.head_bucket, Bucket=f"{bucket}-locked")
    refused("ObjectLockConfigurationNotFoundError", s3.get_object_lock_configuration, Bucket=bucket)


def test_buckets_are_listed_in_pages(store):
    names = sorted(f"paged-{number}-{secrets.token_hex(3)}" for number in range(3))
    for name in names:
        store.other.client("s3").create_bucket(Bucket=name)
    pages = store.other.client("s3").get_paginator("list_buckets").paginate(PaginationConfig={"PageSize": 2})
    assert [each["Name"] for page in pages for each in page["Buckets"] if each["Name"].startswith("paged-")] == names
    for name in names:
        store.other.client("s3").delete_bucket(Bucket=name)


def test_a_bucket_before_the_host_name(store, bucket):
    store.s3.put_object(Bucket=bucket, Key="virtual", Body=b"host")
    port = urllib.parse.urlsplit(store.one.endpoint).port
    # Signed for the name; the connection goes to the address, since not every machine resolves names below localhost.
    virtual = replace(store.one, endpoint=f"http://localhost:{port}").client("s3", s3={"addressing_style": "virtual"})
    signed = urllib.parse.urlsplit(
        virtual.generate_presigned_url("get_object", Params={"Bucket": bucket, "Key": "virtual"})
    )
    assert signed.hostname == f"{bucket}.localhost"
    with contextlib.closing(http.client.HTTPConnection("127.0.0.1", port, timeout=60)) as connection:
        connection.request("GET", f"{signed.path}?{signed.query}", headers={"Host": signed.netloc})
        assert connection.getresponse().read() == b"host"
