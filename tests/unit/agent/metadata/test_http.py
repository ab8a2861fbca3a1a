"""The parser: what clients send is understood however it is cut; anything else is refused and bounded in memory."""

import itertools

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from stead_agent.metadata.http import (
    MAX_HEAD,
    BadRequestError,
    Request,
    RequestReader,
    Response,
    parse_head,
    render,
)

CURL = (
    b"PUT /latest/api/token HTTP/1.1\r\nHost: 169.254.169.254\r\nUser-Agent: curl/8.14.1\r\nAccept: */*\r\n"
    b"X-aws-ec2-metadata-token-ttl-seconds: 21600\r\n\r\n"
)


def read_all(pieces: list[bytes]) -> list[Request]:
    """Feed pieces one by one and take out every request."""
    reader, requests = RequestReader(), []
    for piece in pieces:
        reader.feed(piece)
        while request := reader.next():
            requests.append(request)
    return requests


def test_curl() -> None:
    (request,) = read_all([CURL])
    assert request == Request(
        "PUT",
        "/latest/api/token",
        {
            "host": "169.254.169.254",
            "user-agent": "curl/8.14.1",
            "accept": "*/*",
            "x-aws-ec2-metadata-token-ttl-seconds": "21600",
        },
        keep_alive=True,
    )


@pytest.mark.parametrize(
    "raw",
    [
        b"PUT /latest/api/token HTTP/1.0\r\nX-aws-ec2-metadata-token-ttl-seconds: 60\r\n\r\n",
        b"PUT /latest/api/token HTTP/1.0\nX-aws-ec2-metadata-token-ttl-seconds:60\n\n",
        b"\r\nPUT /latest/api/token HTTP/1.0\r\nx-AWS-ec2-metadata-token-TTL-seconds: \t60 \t\r\n\n",
    ],
)
def test_what_people_type_into_netcat(raw: bytes) -> None:
    (request,) = read_all([raw])
    assert request.method == "PUT"
    assert request.headers == {"x-aws-ec2-metadata-token-ttl-seconds": "60"}
    assert not request.keep_alive


@pytest.mark.parametrize(
    ("version", "connection", "keep_alive"),
    [
        (b"1.1", b"", True),
        (b"1.1", b"Connection: close\r\n", False),
        (b"1.1", b"Connection: Foo, CLOSE\r\n", False),
        (b"1.1", b"Connection: upgrade\r\n", True),
        (b"1.0", b"", False),
        (b"1.0", b"Connection: Keep-Alive\r\n", True),
        (b"1.0", b"Connection: close\r\nConnection: keep-alive\r\n", False),
    ],
)
def test_keep_alive(version: bytes, connection: bytes, keep_alive: bool) -> None:
    (request,) = read_all([b"GET / HTTP/" + version + b"\r\nHost: x\r\n" + connection + b"\r\n"])
    assert request.keep_alive is keep_alive


@pytest.mark.parametrize(
    ("head", "status"),
    [
        (b"GET /", 400),
        (b"GET / HTTP/1.2", 400),
        (b"GET / HTTP/2.0", 400),
        (b"GET / http/1.1", 400),
        (b"GET  / HTTP/1.1", 400),
        (b"GET / HTTP/1.1 ", 400),
        (b"GET http://169.254.169.254/ HTTP/1.1\r\nHost: x", 400),
        (b"GET * HTTP/1.1\r\nHost: x", 400),
        (b"GET /\xc3\xa9 HTTP/1.1\r\nHost: x", 400),
        (b"G(T / HTTP/1.1\r\nHost: x", 400),
        (b"GET / HTTP/1.1", 400),
        (b"GET / HTTP/1.1\r\nHost: x\r\nHost: x", 400),
        (b"GET / HTTP/1.1\r\nHost : x", 400),
        (b"GET / HTTP/1.1\r\nHost: x\r\n folded", 400),
        (b"GET / HTTP/1.1\r\nHost: x\r\nno colon", 400),
        (b"GET / HTTP/1.1\r\nHost: x\r\n: y", 400),
        (b"GET / HTTP/1.1\r\nHost: x\r\na: \x00", 400),
        (b"GET / HTTP/1.1\r\nHost: x\r\na: b\rc: d", 400),
        (b"GET / HTTP/1.1\r\nHost: x\r\nContent-Length: -1", 400),
        (b"GET / HTTP/1.1\r\nHost: x\r\nContent-Length: +1", 400),
        (b"GET / HTTP/1.1\r\nHost: x\r\nContent-Length: 1, 1", 400),
        (b"GET / HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\nContent-Length: 1", 400),
        (b"GET / HTTP/1.1\r\nHost: x\r\nContent-Length: 4097", 413),
        (b"GET / HTTP/1.1\r\nHost: x\r\nContent-Length: 99999999999999999999", 400),
        (b"GET / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked", 501),
        (b"GET / HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\nTransfer-Encoding: identity", 501),
    ],
)
def test_refused_heads(head: bytes, status: int) -> None:
    with pytest.raises(BadRequestError) as refusal:
        parse_head(head)
    assert refusal.value.status == status


def test_repeated_headers_are_joined_so_that_none_is_overlooked() -> None:
    (request,) = read_all([CURL[:-2] + b"X-Aws-Ec2-Metadata-Token-Ttl-Seconds: 1\r\n\r\n"])
    assert request.headers["x-aws-ec2-metadata-token-ttl-seconds"] == "21600, 1"


def test_bodies_are_skipped() -> None:
    head = b"PUT / HTTP/1.1\r\nHost: x\r\nContent-Length: 10\r\n\r\n"
    assert len(read_all([head + b"GET / HTTP" + CURL])) == 2
    assert len(read_all([head, b"GET /", b" HTTP" + CURL, CURL])) == 3


def test_long_head_is_refused() -> None:
    reader = RequestReader()
    reader.feed(CURL[:-2] + b"a: " + b"b" * MAX_HEAD)
    with pytest.raises(BadRequestError) as refusal:
        reader.next()
    assert refusal.value.status == 431
    reader = RequestReader()
    reader.feed(CURL[:-2] + b"a: " + b"b" * MAX_HEAD + b"\r\n\r\n")
    with pytest.raises(BadRequestError) as refusal:
        reader.next()
    assert refusal.value.status == 431


def test_empty_lines_do_not_go_on_forever() -> None:
    reader = RequestReader()
    reader.feed(b"\r\n" * 5)
    with pytest.raises(BadRequestError):
        reader.next()


@settings(deadline=None)
@given(st.lists(st.integers(0, 3 * len(CURL)), max_size=12))
def test_requests_are_the_same_however_they_are_cut(cuts: list[int]) -> None:
    stream = CURL * 3
    places = [0, *sorted(cuts), len(stream)]
    pieces = [stream[a:b] for a, b in itertools.pairwise(places)]
    assert read_all(pieces) == read_all([CURL]) * 3


_http_like = st.lists(
    st.sampled_from(
        [
            b"GET",
            b"PUT",
            b" ",
            b"/",
            b"/latest/api/token",
            b"HTTP/1.1",
            b"HTTP/1.0",
            b"\r\n",
            b"\n",
            b"\r",
            b":",
            b"Host: x",
            b"Content-Length: 3",
            b"Content-Length:",
            b"Transfer-Encoding: chunked",
            b"\x00",
            b"\xff",
            b"a",
        ]
    )
).map(b"".join)


@settings(deadline=None)
@given(st.lists(st.binary(max_size=300) | _http_like, max_size=20))
@example([b"\n" * 200])
@example([b"GET / HTTP/1.0\r\n" + b"a:\r\n" * 4000])
def test_garbage_is_refused_or_waited_for_but_never_crashes_or_grows(pieces: list[bytes]) -> None:
    reader = RequestReader()
    for piece in pieces:
        reader.feed(piece)
        try:
            while reader.next():
                assert len(reader._buffer) <= MAX_HEAD
        except BadRequestError:
            return
        assert len(reader._buffer) <= MAX_HEAD


def test_answer() -> None:
    raw = render(Response(200, b"\x00body", headers=(("X-Foo", "1"),)), keep_alive=True)
    head, body = raw.split(b"\r\n\r\n", 1)
    lines = head.decode().split("\r\n")
    assert lines[:4] == ["HTTP/1.1 200 OK", "X-Foo: 1", "Content-Type: text/plain", "Content-Length: 5"]
    assert lines[4].startswith("Date: ")
    assert lines[5:] == ["Server: EC2ws", "Connection: keep-alive"]
    assert body == b"\x00body"
    assert render(Response(200, b"body"), keep_alive=False, with_body=False).endswith(b"Connection: close\r\n\r\n")
