"""The last of a body is held back until all of it is proven."""

import contextlib
import hashlib
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stead_controller.aws.protocol.message import Request
from stead_controller.aws.signature import Claim
from stead_controller.errors import BadRequest, LimitExceeded, NotAuthenticated, SteadError
from stead_controller.object_store.payload import MOST_DOCUMENT, MOST_OBJECT, Payload

CLAIM = Claim("AKIA", datetime.now(UTC), "", "20260101", "us-east-1", "s3", (), "0" * 64, False, None, None)


def payload(declared, **headers):
    sent = tuple((name.replace("_", "-"), value) for name, value in headers.items())
    return Payload(Request("PUT", "/b/k", "", sent, b"", ""), CLAIM, "secret", declared)


async def coming(pieces):
    for piece in pieces:
        yield piece


async def given_on(body, pieces):
    """What goes on, and whether it ended well."""
    found = []

    async def take():
        async for piece in body.pieces(coming(pieces)):
            found.append(piece)  # noqa: PERF401 — what came before it fails counts

    with contextlib.suppress(SteadError):  # `failure` says it
        await take()
    return b"".join(found), body.failure is None


@given(pieces=st.lists(st.binary(min_size=1, max_size=10), max_size=5))
async def test_a_body_that_is_what_was_signed(pieces):
    data = b"".join(pieces)
    body = payload(hashlib.sha256(data).hexdigest(), content_length=str(len(data)))
    assert await given_on(body, pieces) == (data, True)


@given(pieces=st.lists(st.binary(min_size=1, max_size=10), min_size=1, max_size=5))
async def test_of_another_body_the_last_bytes_never_go_on(pieces):
    data = b"".join(pieces)
    body = payload(hashlib.sha256(data + b"x").hexdigest(), content_length=str(len(data)))
    found, well = await given_on(body, pieces)
    assert not well
    assert len(found) < len(data)


@given(cut=st.integers(0, 22))
async def test_of_a_body_that_is_cut_off_the_last_bytes_never_go_on(cut):
    whole = b"5\r\nhello\r\n5\r\nworld\r\n0\r\n\r\n"
    body = payload("STREAMING-UNSIGNED-PAYLOAD-TRAILER", x_amz_decoded_content_length="10", x_amz_trailer=SUM)
    found, well = await given_on(body, [whole[:cut]])
    assert not well
    assert len(found) < 10


SUM = "x-amz-checksum-crc32"


async def test_a_trailer_goes_on_for_the_server_behind_to_check():
    body = payload("STREAMING-UNSIGNED-PAYLOAD-TRAILER", x_amz_decoded_content_length="5", x_amz_trailer=SUM)
    sent = [
        piece
        async for piece in body.with_trailer(coming([b"5\r\nhello\r\n0\r\n" + SUM.encode() + b":NhCmhg==\r\n\r\n"]))
    ]
    assert b"".join(sent) == b"5\r\nhello\r\n0\r\n" + SUM.encode() + b":NhCmhg==\r\n\r\n"


async def test_documents_are_bounded():
    body = payload("UNSIGNED-PAYLOAD", content_length=str(MOST_DOCUMENT + 1))
    with pytest.raises(LimitExceeded):
        await body.document(coming([]))
    body = payload("UNSIGNED-PAYLOAD", transfer_encoding="chunked")
    with pytest.raises(LimitExceeded):
        await body.document(coming([bytes(MOST_DOCUMENT), b"1", b"2"]))
    body = payload(hashlib.sha256(b"other").hexdigest(), content_length="4")
    with pytest.raises(NotAuthenticated):
        await body.document(coming([b"this"]))


@pytest.mark.parametrize(
    ("declared", "headers", "code"),
    [
        ("UNSIGNED-PAYLOAD", {"content_length": "-1"}, "InvalidArgument"),
        ("UNSIGNED-PAYLOAD", {"content_length": "1e3"}, "InvalidArgument"),
        ("STREAMING-AWS4-HMAC-SHA256-PAYLOAD", {}, "MissingContentLength"),
        ("STREAMING-UNSIGNED-PAYLOAD-TRAILER", {"x_amz_decoded_content_length": "1"}, "InvalidRequest"),
        (
            "STREAMING-UNSIGNED-PAYLOAD-TRAILER",
            {"x_amz_decoded_content_length": "1", "x_amz_trailer": "authorization"},
            "InvalidRequest",
        ),
    ],
)
def test_headers_that_say_nothing_of_a_body(declared, headers, code):
    with pytest.raises(BadRequest) as refusal:
        payload(declared, **headers)
    assert refusal.value.code == code


def test_objects_have_a_length_that_is_allowed():
    assert payload("UNSIGNED-PAYLOAD", content_length=str(MOST_OBJECT)).require_length() == MOST_OBJECT
    assert payload("UNSIGNED-PAYLOAD").require_length() == 0
    with pytest.raises(LimitExceeded):
        payload("UNSIGNED-PAYLOAD", content_length=str(MOST_OBJECT + 1)).require_length()
    with pytest.raises(BadRequest):
        payload("UNSIGNED-PAYLOAD", transfer_encoding="chunked").require_length()
