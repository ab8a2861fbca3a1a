"""`aws-chunked` bodies by the examples that AWS documents, and by everything that a body can be instead."""

import contextlib
import hashlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stead_controller.aws.signature import signing_key
from stead_controller.errors import BadRequest, NotAuthenticated
from stead_controller.object_store.chunked_body import ChunkedBody, ChunkSigner

# https://docs.aws.amazon.com/AmazonS3/latest/API/sigv4-streaming.html and …-streaming-trailers.html
KEY = signing_key("wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY", "20130524", "us-east-1", "s3")
SEED = "4f232c4386841ef735655705268965c44a0e4690baa4adea153f7db9fa80a0a9"
SIGNATURES = (
    "ad80c730a21e5b8d04586a2213dd63b9a0e99e0e2307b0ade35a65485a288648",
    "0055627c9e194cb4542bae2aa5492e3c1575bbb81b612b7d234b86a503ef5497",
    "b6c6ea8a5354eaf15b3cb7646744f4275b71ea724fed81ceb9323e279d449df9",
)
TRAILER_SEED = "106e2a8a18243abcf37539882f36619c00e2dfc72633413f02d3b74544bfeb8e"
TRAILER_SIGNATURES = (
    "b474d8862b1487a5145d686f57f013e54db672cee1c953b3010fb58501ef5aa2",
    "1c1344b170168f8e65b41376b44b20fe354e373826ccbbe2c1d40a8cae51e5c7",
    "2ca2aba2005185cf7159c6277faf83795951dd77a3a99e6e65d5c9f85863f992",
)
TRAILER = b"x-amz-checksum-crc32c:sOO8/Q==\r\nx-amz-trailer-signature:%b\r\n"
TRAILER_SIGNATURE = b"d81f82fc3505edab99d459891051a732e8730629a2e4a59689829ca17fe2e435"
CHUNKS = (b"a" * 65536, b"a" * 1024, b"")


def signer(seed=SEED):
    return ChunkSigner(KEY, "20130524T000000Z", "20130524/us-east-1/s3/aws4_request", seed)


def framed(signatures, trailer=b""):
    """Write the documented chunks with these signatures."""
    body = b""
    for chunk, signature in zip(CHUNKS, signatures, strict=True):
        body += b"%x;chunk-signature=%b\r\n" % (len(chunk), signature.encode())
        body += chunk + b"\r\n" if chunk else b""
    return body + trailer + b"\r\n"


def read(reader, body, step=None):
    """Feed a body in pieces of `step` bytes; give its data."""
    step = step or len(body)
    return b"".join(piece for start in range(0, len(body), step) for piece in reader.feed(body[start : start + step]))


@pytest.mark.parametrize("step", [None, 1000, 65000])
def test_the_documented_examples(step):
    reader = ChunkedBody(66560, signer(), ())
    assert read(reader, framed(SIGNATURES), step) == b"a" * 66560
    assert reader.has_ended
    reader = ChunkedBody(66560, signer(TRAILER_SEED), ("x-amz-checksum-crc32c",))
    body = framed(TRAILER_SIGNATURES, TRAILER % TRAILER_SIGNATURE)
    assert read(reader, body, step) == b"a" * 66560
    assert reader.has_ended
    assert reader.trailer == {"x-amz-checksum-crc32c": "sOO8/Q=="}


DATA = (range(100, 65600, 5000), range(65800, 66700, 100))  # of the content some bytes, of what frames it each one
CONTENT = range(88, 65624), range(65712, 66736)


def test_a_changed_byte_is_seen():
    whole = framed(SIGNATURES)
    frame = [at for at in range(len(whole)) if not any(at in each for each in CONTENT)]
    assert all(whole[each.start - 1 : each.start + 1] == b"\na" and whole[each.stop] == ord("\r") for each in CONTENT)
    for position in (*frame, *DATA[0], *DATA[1]):
        body = bytearray(whole)
        body[position] = ord("b") if body[position] != ord("b") else ord("c")
        reader = ChunkedBody(66560, signer(), ())
        with contextlib.suppress(BadRequest, NotAuthenticated):  # or, without its last byte, more is waited for
            read(reader, bytes(body))
        assert not reader.has_ended, position


def test_chunks_cannot_be_left_out_or_swapped():
    left_out = framed(SIGNATURES).replace(framed(SIGNATURES)[65626:66750], b"")
    swapped = framed((SIGNATURES[1], SIGNATURES[0], SIGNATURES[2]))
    for body in (left_out, swapped):
        with pytest.raises((BadRequest, NotAuthenticated)):
            read(ChunkedBody(66560, signer(), ()), body)


@pytest.mark.parametrize(
    "trailer",
    [
        b"",
        TRAILER % b"0" * 64,
        b"x-amz-checksum-crc32c:sOO8/A==\r\nx-amz-trailer-signature:" + TRAILER_SIGNATURE + b"\r\n",
        b"x-amz-checksum-crc32c:sOO8/Q==\r\n",
        b"x-amz-meta-a:b\r\n" + TRAILER % TRAILER_SIGNATURE,
    ],
)
def test_a_trailer_is_as_announced_and_signed(trailer):
    reader = ChunkedBody(66560, signer(TRAILER_SEED), ("x-amz-checksum-crc32c",))
    with pytest.raises((BadRequest, NotAuthenticated)):
        read(reader, framed(TRAILER_SIGNATURES, trailer))
    assert not reader.has_ended


@pytest.mark.parametrize("value", ["", "AA==\rx-amz-acl: public-read", "AA==\0", "A A", "\xe4"])
def test_a_trailer_is_a_checksum_and_nothing_else(value):
    """It goes on to the server behind, which might read lines otherwise."""
    reader = ChunkedBody(0, None, ("x-amz-checksum-crc32",))
    with pytest.raises(BadRequest):
        reader.feed(f"0\r\nx-amz-checksum-crc32:{value}\r\n\r\n".encode("latin-1"))
    assert not reader.has_ended


@given(
    chunks=st.lists(st.binary(min_size=1, max_size=40), max_size=5),
    cuts=st.lists(st.integers(1, 30), min_size=1, max_size=5),
)
def test_however_it_comes_the_data_is_the_same(chunks, cuts):
    body = b"".join(b"%x\r\n%b\r\n" % (len(chunk), chunk) for chunk in chunks) + b"0\r\na-sum: 1\r\n\r\n"
    data = b"".join(chunks)
    reader = ChunkedBody(len(data), None, ("a-sum",))
    found, position, run = b"", 0, 0
    while position < len(body):
        size = cuts[run % len(cuts)]
        found += b"".join(reader.feed(body[position : position + size]))
        position, run = position + size, run + 1
    assert (found, reader.has_ended, reader.trailer) == (data, True, {"a-sum": "1"})


@given(body=st.binary(max_size=60), length=st.integers(0, 20))
def test_anything_else_never_ends_well(body, length):
    reader = ChunkedBody(length, signer(), ())
    with contextlib.suppress(BadRequest, NotAuthenticated):  # refused, as it should be
        reader.feed(body)
    assert not reader.has_ended


@pytest.mark.parametrize("length", [4, 6])
def test_the_length_is_what_was_said(length):
    reader = ChunkedBody(length, None, ())
    with pytest.raises(BadRequest):
        read(reader, b"5\r\nhello\r\n0\r\n\r\n")
    assert not reader.has_ended


def test_the_key_is_not_shown():
    assert hashlib.sha256(KEY).hexdigest() not in repr(signer())
    assert repr(KEY) not in repr(signer())
