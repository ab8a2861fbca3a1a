"""Requests that botocore signs for S3 are known, in headers and URLs of both versions; changed ones are not."""

from dataclasses import replace
from datetime import UTC, datetime
from unittest.mock import patch
from urllib.parse import quote, urlsplit

import pytest
from botocore.auth import HmacV1QueryAuth, S3SigV4Auth, S3SigV4QueryAuth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials
from hypothesis import given
from hypothesis import strategies as st

from stead_controller.aws.protocol.message import Request
from stead_controller.aws.signature import Refused, is_signed_with, read_claim
from stead_controller.errors import BadRequest
from stead_controller.object_store import presigned_v2
from stead_controller.object_store.payload import declared_hash

KEY, SECRET = "AKIAEXAMPLE000000000", "a/secret+key"
NOW = datetime(2026, 5, 6, 7, 8, 9, tzinfo=UTC)
KEYS = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), min_size=1, max_size=20)


def signed(signer, key="k", *, method="GET", query="", token=None, **headers):
    """A request for an object as botocore sends it."""
    url = f"http://stead.example:8773/bucket/{quote(key, safe='/~')}" + (f"?{query}" if query else "")
    aws = AWSRequest(method=method, url=url, data=b"", headers=headers)
    credentials = Credentials(KEY, SECRET, token)
    made = signer(credentials, expires=900) if signer is HmacV1QueryAuth else signer(credentials, "s3", "eu-1")
    with patch("botocore.auth.get_current_datetime", return_value=NOW.replace(tzinfo=None)):
        made.add_auth(aws)
    prepared = aws.prepare()
    parts = urlsplit(prepared.url)
    sent = [("Host", parts.netloc), *((name, str(value)) for name, value in prepared.headers.items())]
    return Request(method, parts.path, parts.query, tuple(sent), b"", "127.0.0.1")


def known(request, secret=SECRET):
    """Whether the request is the key's."""
    if presigned_v2.is_one(request):
        return presigned_v2.is_signed_with(request, presigned_v2.read_claim(request), secret, "")
    claim = read_claim(request)
    return is_signed_with(request, claim, secret, body_hash=declared_hash(request, claim))


@pytest.mark.parametrize("signer", [S3SigV4Auth, S3SigV4QueryAuth, HmacV1QueryAuth])
@given(key=KEYS, token=st.sampled_from([None, "a+token/="]))
def test_whatever_the_key_is(signer, key, token):
    request = signed(signer, key, token=token)
    assert known(request)
    assert not known(request, "another secret")
    assert not known(replace(request, path=request.path + "x"))
    assert not known(replace(request, method="PUT"))


@pytest.mark.parametrize("signer", [S3SigV4Auth, S3SigV4QueryAuth, HmacV1QueryAuth])
def test_subresources_are_signed(signer):
    request = signed(signer, query="response-content-type=text%2Fplain&versionId=1")
    assert known(request)
    assert not known(replace(request, query=request.query.replace("versionId=1", "versionId=2")))
    assert not known(replace(request, query=request.query.replace("plain", "html")))


def test_headers_of_version_2_are_signed():
    request = signed(HmacV1QueryAuth, method="PUT", **{"x-amz-meta-a": "b", "Content-Type": "text/plain"})
    assert known(request)
    for name, value in (("x-amz-meta-c", "d"), ("x-amz-meta-a", "c")):
        headers = tuple(each for each in request.headers if each[0].lower() != name)
        assert not known(replace(request, headers=(*headers, (name, value))))


@pytest.mark.parametrize(
    "query",
    [
        "AWSAccessKeyId=A&Expires=1&Signature=x",
        "AWSAccessKeyId=AKIAEXAMPLE000000000&Expires=tomorrow&Signature=AAAAAAAAAAAAAAAAAAAAAAAAAAA%3D",
        "AWSAccessKeyId=AKIAEXAMPLE000000000&Expires=1&Expires=2&Signature=AAAAAAAAAAAAAAAAAAAAAAAAAAA%3D",
        "AWSAccessKeyId=AKIAEXAMPLE000000000&Expires=99999999999&Signature=AAAAAAAAAAAAAAAAAAAAAAAAAAA",
    ],
)
def test_urls_of_version_2_that_are_none(query):
    request = Request("GET", "/b/k", query, (("Host", "h"),), b"", "")
    assert presigned_v2.is_one(request)
    with pytest.raises(Refused):
        presigned_v2.read_claim(request)


def test_the_far_future_is_no_overflow():
    query = "AWSAccessKeyId=AKIAEXAMPLE000000000&Expires=99999999999&Signature=AAAAAAAAAAAAAAAAAAAAAAAAAAA%3D"
    assert presigned_v2.read_claim(Request("GET", "/b/k", query, (), b"", "")).time.year > 5000


@pytest.mark.parametrize("declared", [None, "", "0", "STREAMING-SOMETHING", "e" * 63])
def test_what_stands_for_a_body_is_known(declared):
    request = signed(S3SigV4Auth)
    headers = tuple(each for each in request.headers if each[0].lower() != "x-amz-content-sha256")
    if declared is not None:
        headers = (*headers, ("x-amz-content-sha256", declared))
    with pytest.raises(BadRequest):
        declared_hash(replace(request, headers=headers), read_claim(request))
