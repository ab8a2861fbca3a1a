"""What pages of other sites may do in a browser, by the bucket's CORS configuration."""

import secrets
import urllib.error
import urllib.request

import pytest

from tests.host.object_store.test_objects import refused

ORIGIN = "https://app.example.com"
RULES = [
    {
        "ID": "app",
        "AllowedOrigins": [ORIGIN],
        "AllowedMethods": ["GET", "PUT"],
        "AllowedHeaders": ["*"],
        "ExposeHeaders": ["ETag"],
        "MaxAgeSeconds": 60,
    },
    {"AllowedOrigins": ["*"], "AllowedMethods": ["HEAD"]},
]


@pytest.fixture
def bucket(store):
    """A bucket of the first account with an object and a CORS configuration."""
    name = f"browsers-{secrets.token_hex(4)}"
    store.s3.create_bucket(Bucket=name)
    store.s3.put_object(Bucket=name, Key="k", Body=b"content")
    store.s3.put_bucket_cors(Bucket=name, CORSConfiguration={"CORSRules": RULES})
    return name


def ask(url, method="GET", body=None, **headers):
    """The status and the headers of an answer."""
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    request = urllib.request.Request(url, body, named, method=method)
    try:
        with urllib.request.urlopen(request, timeout=60) as answer:
            return answer.status, answer.headers
    except urllib.error.HTTPError as error:
        with error:
            return error.code, error.headers


def preflight(url, method, headers="", origin=ORIGIN):
    asked = {"Access_Control_Request_Headers": headers} if headers else {}
    return ask(url, "OPTIONS", Origin=origin, Access_Control_Request_Method=method, **asked)


def test_a_configuration_is_stored_and_removed(store, bucket):
    assert store.s3.get_bucket_cors(Bucket=bucket)["CORSRules"] == RULES
    bad = {"CORSRules": [{"AllowedOrigins": ["*"], "AllowedMethods": ["PATCH"]}]}
    refused("InvalidRequest", store.s3.put_bucket_cors, Bucket=bucket, CORSConfiguration=bad)
    assert store.s3.get_bucket_cors(Bucket=bucket)["CORSRules"] == RULES
    other = store.other.client("s3")
    refused("AccessDenied", other.put_bucket_cors, Bucket=bucket, CORSConfiguration={"CORSRules": RULES})
    refused("AccessDenied", other.get_bucket_cors, Bucket=bucket)
    refused("AccessDenied", other.delete_bucket_cors, Bucket=bucket)
    for _ in range(2):
        store.s3.delete_bucket_cors(Bucket=bucket)
    assert refused("NoSuchCORSConfiguration", store.s3.get_bucket_cors, Bucket=bucket) == 404
    status, _ = preflight(f"{store.one.endpoint}/{bucket}/k", "GET")
    assert status == 403


def test_a_browser_asks_before(store, bucket):
    url = f"{store.one.endpoint}/{bucket}/new"
    status, headers = preflight(url, "PUT", "content-type,x-amz-acl")
    assert status == 200
    assert headers["Access-Control-Allow-Origin"] == ORIGIN
    assert headers["Access-Control-Allow-Methods"] == "GET, PUT"
    assert headers["Access-Control-Allow-Headers"] == "content-type, x-amz-acl"
    assert headers["Access-Control-Max-Age"] == "60"
    assert preflight(url, "HEAD", origin="https://else.example.com")[1]["Access-Control-Allow-Origin"] == "*"
    for method, origin in (("DELETE", ORIGIN), ("PUT", "https://else.example.com")):
        status, headers = preflight(url, method, origin=origin)
        assert (status, headers["Access-Control-Allow-Origin"]) == (403, None)
    assert ask(url, "OPTIONS", Access_Control_Request_Method="GET")[0] == 400
    assert ask(url, "OPTIONS", Origin=ORIGIN)[0] == 400
    assert preflight(f"{store.one.endpoint}/no-such-bucket-{secrets.token_hex(4)}/k", "GET")[0] == 403


def test_a_page_uploads_and_reads_by_signed_urls(store, bucket):
    """Also the answers of errors have the headers: else the page would not learn what is wrong."""
    s3 = store.one.client("s3", signature_version="s3v4")  # that of version 2 would sign the Content-Type
    put = s3.generate_presigned_url("put_object", Params={"Bucket": bucket, "Key": "page"})
    status, headers = ask(put, "PUT", b"of a page", Origin=ORIGIN)
    assert (status, headers["Access-Control-Allow-Origin"]) == (200, ORIGIN)
    assert headers["Access-Control-Expose-Headers"] == "ETag"
    got = s3.generate_presigned_url("get_object", Params={"Bucket": bucket, "Key": "page"})
    status, headers = ask(got, Origin=ORIGIN)
    assert (status, headers["Access-Control-Allow-Origin"], headers["Vary"][:6]) == (200, ORIGIN, "Origin")
    status, headers = ask(got[:-1] + ("1" if got[-1] == "0" else "0"), Origin=ORIGIN)
    assert (status, headers["Access-Control-Allow-Origin"]) == (403, ORIGIN)
    assert ask(got)[1]["Access-Control-Allow-Origin"] is None
    assert ask(got, Origin="https://else.example.com")[1]["Access-Control-Allow-Origin"] is None


def test_what_a_url_says_counts_as_headers_do(store, bucket):
    """SDKs for JavaScript and Go move headers into the query; each is signed, and has its effect or is refused."""

    def url(**headers):
        """A URL of Version 4 whose query has these fields."""
        s3 = store.one.client("s3", signature_version="s3v4")
        s3.meta.events.register("before-sign.s3.PutObject", lambda request, **_: add(request, headers))
        return s3.generate_presigned_url("put_object", Params={"Bucket": bucket, "Key": "by-url"})

    def add(request, headers):
        request.params = {**dict(request.params), **{name.replace("_", "-"): text for name, text in headers.items()}}

    assert ask(url(x_amz_meta_from="url", x_amz_storage_class="STANDARD_IA"), "PUT", b"content")[0] == 200
    found = store.s3.head_object(Bucket=bucket, Key="by-url")
    assert (found["Metadata"], found["StorageClass"]) == ({"from": "url"}, "STANDARD_IA")
    store.s3.delete_object(Bucket=bucket, Key="by-url")
    for refused_one in ({"x_amz_storage_class": "GLACIER"}, {"x_amz_acl": "public-read"}, {"x_amz_website": "x"}):
        assert ask(url(**refused_one), "PUT", b"content")[0] in (400, 501)
    refused("404", store.s3.head_object, Bucket=bucket, Key="by-url")
    assert ask(url() + "&x-amz-storage-class=STANDARD_IA", "PUT", b"content")[0] == 403
