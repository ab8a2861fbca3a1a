"""Compressed bodies: opened up to a size, and refused if they are none."""

import gzip

import pytest

from stead_controller.aws.protocol.compressed import MAX_OPENED, opened
from stead_controller.aws.protocol.message import Request
from stead_controller.errors import BadRequest


def request(body: bytes, encoding: str = "gzip") -> Request:
    return Request("POST", "/", "", (("Content-Encoding", encoding),), body, "192.0.2.1")


@pytest.mark.parametrize("content", [b"", b"Action=x", b"x" * MAX_OPENED])
def test_a_body_is_opened(content: bytes) -> None:
    assert opened(request(gzip.compress(content, mtime=0))).body == content
    assert opened(request(gzip.compress(content, mtime=0), " GZIP ")).body == content


def test_a_body_of_no_encoding_stays() -> None:
    assert opened(request(b"abc", "aws-chunked")).body == b"abc"
    assert opened(Request("POST", "/", "", (), b"abc", "192.0.2.1")).body == b"abc"


@pytest.mark.parametrize(
    ("body", "code"),
    [
        (b"", "SerializationException"),
        (b"abc", "SerializationException"),
        (gzip.compress(b"abc", mtime=0)[:-4], "SerializationException"),
        (gzip.compress(b"x" * (MAX_OPENED + 1), mtime=0), "RequestEntityTooLarge"),
        (gzip.compress(b"abc", mtime=0) + b"more", "RequestEntityTooLarge"),
    ],
)
def test_what_is_refused(body: bytes, code: str) -> None:
    with pytest.raises(BadRequest) as caught:
        opened(request(body))
    assert caught.value.code == code
