"""A body is stored when all of it is what was signed, and else nothing of it is."""

import base64
import gzip
import hashlib
import secrets
import zlib

import pytest

from tests.host.object_store.raw import SIGNED, Raw
from tests.support.waiting import wait_for

SIZE = 300_000


@pytest.fixture(scope="module")
def bucket(store):
    """A bucket of the first account."""
    name = f"bodies-{secrets.token_hex(4)}"
    store.s3.create_bucket(Bucket=name)
    return name


def stored(store, bucket, key):
    """The object's content; None when there is none."""
    if key not in [each["Key"] for each in store.s3.list_objects_v2(Bucket=bucket).get("Contents", ())]:
        return None
    return store.s3.get_object(Bucket=bucket, Key=key)["Body"].read()


def chunks(data):
    return [data[start : start + 65536] for start in range(0, len(data), 65536)] + [b""]


def checksum(data):
    return base64.b64encode(zlib.crc32(data).to_bytes(4, "big")).decode()


def streamed(store, bucket, key, data, trailer=""):
    headers = {"x_amz_decoded_content_length": str(len(data)), "content_encoding": "aws-chunked,gzip"}
    if trailer:
        headers["x_amz_trailer"] = "x-amz-checksum-crc32"
    raw = Raw(store.one, "PUT", f"/{bucket}/{key}", body_hash=SIGNED + ("-TRAILER" if trailer else ""), **headers)
    body = b"".join(raw.chunk(chunk) for chunk in chunks(data))
    return raw, body + (raw.trailer("x-amz-checksum-crc32", trailer) if trailer else b"") + b"\r\n"


def test_an_object_that_is_packed_stays_so(store, bucket):
    """Its encoding is how it is stored, and its bytes are what was signed."""
    packed = gzip.compress(b"content" * 1000, mtime=0)
    store.s3.put_object(Bucket=bucket, Key="packed", Body=packed, ContentEncoding="gzip")
    got = store.s3.get_object(Bucket=bucket, Key="packed")
    assert (got["Body"].read(), got["ContentEncoding"], got["ContentLength"]) == (packed, "gzip", len(packed))


def test_signed_chunks(store, bucket):
    data = secrets.token_bytes(SIZE)
    for trailer in ("", checksum(data)):
        raw, body = streamed(store, bucket, f"chunks{bool(trailer)}", data, trailer)
        assert raw.send(body) == (200, b"")
        assert stored(store, bucket, f"chunks{bool(trailer)}") == data
        head = store.s3.head_object(Bucket=bucket, Key=f"chunks{bool(trailer)}")
        assert head["ContentEncoding"] == "gzip"


@pytest.mark.parametrize(
    ("change", "code"),
    [
        (lambda body: body[:70_000] + b"\1" + body[70_001:], b"SignatureDoesNotMatch"),
        (lambda body: body[:-70] + bytes([body[-70] ^ 1]) + body[-69:], b""),
        (lambda body: body[: body.rindex(b"0;chunk")] + b"\r\n", b"IncompleteBody"),
        (lambda body: body + b"more", b"IncompleteBody"),
    ],
)
def test_changed_chunks_leave_what_was_there(store, bucket, change, code):
    store.s3.put_object(Bucket=bucket, Key="old", Body=b"old")
    raw, body = streamed(store, bucket, "old", bytes(SIZE))
    status, answer = raw.send(change(body))
    assert 400 <= status < 500
    assert code in answer
    assert stored(store, bucket, "old") == b"old"


def test_a_wrong_checksum_leaves_what_was_there(store, bucket):
    store.s3.put_object(Bucket=bucket, Key="old", Body=b"old")
    raw, body = streamed(store, bucket, "old", bytes(SIZE), checksum(b"another"))
    status, answer = raw.send(body)
    assert (status, stored(store, bucket, "old")) == (400, b"old"), answer


def test_a_body_that_is_not_what_was_signed(store, bucket):
    store.s3.put_object(Bucket=bucket, Key="old", Body=b"old")
    for key in ("old", "new"):
        digest = hashlib.sha256(bytes(SIZE)).hexdigest()
        status, answer = Raw(store.one, "PUT", f"/{bucket}/{key}", body_hash=digest).send(bytes(SIZE - 1) + b"\1")
        assert status == 400
        assert b"XAmzContentSHA256Mismatch" in answer
    assert (stored(store, bucket, "old"), stored(store, bucket, "new")) == (b"old", None)


@pytest.mark.parametrize("streams", [True, False])
def test_a_body_that_is_cut_off_leaves_nothing(store, bucket, streams):
    seen = len(store.calls)
    if streams:
        raw, body = streamed(store, bucket, "cut", bytes(SIZE))
    else:
        raw, body = Raw(store.one, "PUT", f"/{bucket}/cut", body_hash="UNSIGNED-PAYLOAD"), bytes(SIZE)
    raw.send(body[: SIZE // 2], length=len(body))
    wait_for(lambda: len(store.calls) > seen, "the request has ended", 20)
    assert stored(store, bucket, "cut") is None


def test_nothing_of_a_body_is_read_of_who_may_not(store, bucket):
    raw = Raw(store.other, "PUT", f"/{bucket}/big", body_hash="UNSIGNED-PAYLOAD", expect="100-continue")
    status, answer = raw.send(b"", length=0)
    assert (status, b"AccessDenied" in answer) == (403, True)


@pytest.mark.parametrize(
    ("path", "query"),
    [
        ("/{0}/../{1}/secret", ""),
        ("/{0}/%2e%2e/{1}/secret", ""),
        ("/{0}/..%2f{1}%2fsecret", ""),
        ("/{0}/a/..%2F..%2F{1}/secret", ""),
        ("/{0}//secret", ""),
        ("/{0}/.uploads/x", ""),
        ("/%2e%2e/{1}/secret", ""),
        ("/{0}%2F..%2F{1}/secret", ""),
        ("/{0}", "list-type=2&prefix=..%2F{1}%2F"),
        ("/{0}", "list-type=2&continuation-token=..%2F{1}%2Fsecret"),
        ("/{0}", "marker=a%2F..%2F..%2F{1}"),
        ("/{0}", "versions=&key-marker=..%2F{1}"),
        ("/{0}/key", "uploadId=..%2F..%2F{1}"),
        ("/{0}/key", "versionId=..%2F..%2F{1}"),
    ],
)
def test_no_path_reaches_another_bucket(store, bucket, path, query):
    theirs = f"{bucket}-theirs"
    other = store.other.client("s3")
    if theirs not in [each["Name"] for each in other.list_buckets()["Buckets"]]:
        other.create_bucket(Bucket=theirs)
        other.put_object(Bucket=theirs, Key="secret", Body=b"treasure")
    with store.database.engine.connect() as connection:
        [(behind,)] = connection.exec_driver_sql("SELECT backend_name FROM buckets WHERE name = ?", (theirs,)).all()
    for name in (theirs, behind):
        raw = Raw(store.one, "GET", path.format(bucket, name), query.format(bucket, name))
        status, answer = raw.send()
        assert status in (400, 403, 404), answer
        assert b"treasure" not in answer
        assert name == behind or behind.encode() not in answer


def test_headers_do_not_reach_the_server_behind(store, bucket):
    raw = Raw(store.one, "GET", f"/{bucket}", x_seaweedfs_admin="true", x_forwarded_host="other", x_amz_meta_a="b")
    assert raw.send()[0] == 200
    raw = Raw(store.one, "PUT", f"/{bucket}/k", x_amz_something_new="true")
    status, answer = raw.send()
    assert status == 501
    assert b"<Code>NotImplemented</Code>" in answer
    assert b"x-amz-something-new" in answer
