"""What the server behind is asked for a copy: with which headers, and only for the source as it was looked at."""

import asyncio
from dataclasses import dataclass, field
from types import SimpleNamespace

import pytest

from stead_controller.aws.protocol.message import Request
from stead_controller.object_store import copies
from stead_controller.object_store.addressing import Address
from stead_controller.object_store.encryption import HEADER, AtRest
from stead_controller.object_store.headers import RESERVED

ARN = "arn:aws:kms:us-east-1:111111111111:key/11111111-2222-3333-4444-555555555555"
PLAIN = {"x-amz-storage-class": "STANDARD"}
SSE = {HEADER: "AES256"}
FOUND = {"ETag": '"e"', "Content-Type": "text/plain", "X-Amz-Meta-Who": "me", "X-Amz-Storage-Class": "STANDARD_IA"}
OWN = {"content-type": "text/plain", "x-amz-meta-who": "me", "x-amz-metadata-directive": "REPLACE"}
PIN = {"x-amz-copy-source-if-match": '"e"'}


@dataclass
class Behind:
    """A server that has the source, or has not; `asked` are the requests that it got."""

    headers: dict = field(default_factory=dict)
    status: int = 200
    asked: list = field(default_factory=list)

    async def send(self, ask):
        self.asked.append((ask.method, ask.path, list(ask.query)))
        return self

    async def __aenter__(self):
        return self

    async def __aexit__(self, *fault):
        return None


def headers_of(behind, given, at_rest, *, source="/behind/k", key="c", **headers):
    """The headers of a copy to `key` of a bucket that is `behind`, and whether they are pinned."""
    request = Request("PUT", "/b/c", "", tuple((HEADER, value) for value in headers.values()), b"", "")
    existing_bucket = SimpleNamespace(backend_name="behind")
    exchange = SimpleNamespace(
        request=request, source=source, existing_bucket=existing_bucket, address=Address("b", key)
    )
    copy = asyncio.run(copies.headers_of(exchange, behind, given, at_rest))
    return copy.headers, copy.is_pinned


def test_a_copy_without_any_name_is_left_to_the_server_behind():
    for at_rest, sent in ((AtRest(), SSE), (None, {})):
        behind = Behind(FOUND)
        assert headers_of(behind, {"x-amz-tagging-directive": "COPY"}, at_rest) == (
            {"x-amz-tagging-directive": "COPY", **PLAIN, **sent},
            False,
        )
        assert behind.asked == [("HEAD", "/behind/k", [])]


@pytest.mark.parametrize(
    ("found", "at_rest", "sent"),
    [
        ({RESERVED: ARN}, AtRest(), SSE),
        ({RESERVED: ARN}, None, {}),
        ({}, AtRest(ARN), {**SSE, RESERVED: ARN}),
        ({RESERVED: "another"}, AtRest(ARN), {**SSE, RESERVED: ARN}),
    ],
)
def test_where_there_is_a_name_the_sources_headers_are_new_ones(found, at_rest, sent):
    given = {"content-type": "x/y", "x-amz-meta-who": "nobody", "x-amz-tagging-directive": "COPY"}
    expected = {"x-amz-tagging-directive": "COPY", **PLAIN, **OWN, **PIN, **sent}
    assert headers_of(Behind({**FOUND, **found}), given, at_rest) == (expected, True)


def test_a_version_is_looked_at_by_its_name():
    behind = Behind(FOUND)
    headers_of(behind, {}, AtRest(ARN), source="/behind/k?versionId=v1")
    assert behind.asked == [("HEAD", "/behind/k", [("versionId", "v1")])]


def test_a_copy_with_conditions_gets_no_other():
    given = {"x-amz-copy-source-if-none-match": '"x"'}
    expected = {**given, **PLAIN, **OWN, **SSE, RESERVED: ARN}
    assert headers_of(Behind(FOUND), given, AtRest(ARN)) == (expected, False)


def test_a_source_without_etag_is_not_pinned():
    found = {name: value for name, value in FOUND.items() if name != "ETag"}
    assert headers_of(Behind(found), {}, AtRest(ARN)) == ({**PLAIN, **OWN, **SSE, RESERVED: ARN}, False)


@pytest.mark.parametrize("status", [400, 404])
def test_what_is_wrong_with_the_source_the_server_behind_says(status):
    assert headers_of(Behind({RESERVED: ARN}, status), {}, AtRest()) == ({**PLAIN, **SSE}, False)


def test_headers_that_the_request_says_need_none_of_the_source():
    behind = Behind(FOUND)
    given = {"x-amz-metadata-directive": "REPLACE", "content-type": "x/y", "x-amz-storage-class": "STANDARD_IA"}
    assert headers_of(behind, given, AtRest(ARN)) == ({**given, **SSE, RESERVED: ARN}, False)
    assert behind.asked == []


@pytest.mark.parametrize(
    ("source", "key", "asked", "changes"),
    [
        ("/behind/k", "k", {"sse": "AES256"}, True),
        ("/behind/k", "k", {}, False),
        ("/behind/k", "c", {"sse": "AES256"}, False),
        ("/other/k", "k", {"sse": "AES256"}, False),
        ("/behind/k?versionId=v1", "k", {"sse": "AES256"}, False),
    ],
)
def test_what_an_object_is_copied_to_itself_for(source, key, asked, changes):
    """Without anything asked the server behind refuses it, as S3 does."""
    found, is_pinned = headers_of(Behind(FOUND), {}, AtRest(), source=source, key=key, **asked)
    assert (found.get("x-amz-metadata-directive"), is_pinned) == (("REPLACE", True) if changes else (None, False))
