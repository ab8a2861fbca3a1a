"""Parse a connection's bytes into requests, and render answers: the HTTP/1.0 and 1.1 that IMDS clients use.

Strict where two readers could otherwise interpret a request differently (RFC 9112 sections 2.2, 5 and 6.3), and small:
no chunked bodies, no upgrades. Bodies are skipped: no request of this service needs one.
"""

import re
import time
from dataclasses import dataclass
from email.utils import formatdate
from functools import lru_cache
from http import HTTPStatus
from typing import Final

MAX_HEAD: Final = 8192  # bytes of request line and headers
MAX_BODY: Final = 4096  # bytes that are skipped; a request with more is refused

_MAX_EMPTY_LINES: Final = 4  # before a request line; RFC 9112 section 2.2 asks to ignore at least one
_END: Final = re.compile(rb"\r?\n\r?\n")
_REQUEST_LINE: Final = re.compile(rb"([!#$%&'*+\-.^_`|~0-9A-Za-z]{1,32}) (/[\x21-\x7e]*) HTTP/1\.([01])")
_FIELD: Final = re.compile(rb"([!#$%&'*+\-.^_`|~0-9A-Za-z]+):[ \t]*([\x21-\x7e\x80-\xff \t]*)")
_ONLY_ONCE: Final = frozenset({"host", "content-length"})
_LENGTH: Final = re.compile(r"[0-9]{1,9}")


class BadRequestError(Exception):
    """The request is invalid; `status` is the answer before the connection is closed."""

    def __init__(self, status: int, why: str) -> None:
        self.status = status
        super().__init__(why)


@dataclass(frozen=True, slots=True)
class Request:
    """The head of one request; header names are in lower case, values are latin-1 text without outer spaces."""

    method: str
    target: str
    headers: dict[str, str]
    keep_alive: bool


@dataclass(frozen=True, slots=True)
class Response:
    """An answer before it is rendered."""

    status: int
    body: bytes
    content_type: str = "text/plain"
    headers: tuple[tuple[str, str], ...] = ()
    hop_limit: int = 0  # IP TTL from this answer on; 0 = the system's


class RequestReader:
    """Extracts requests from a connection's data; its buffer holds at most one head and the rest of the same read."""

    __slots__ = ("_buffer", "_empty_lines", "_searched", "_skip")

    def __init__(self) -> None:
        self._buffer = bytearray()
        self._searched = 0
        self._skip = 0
        self._empty_lines = 0

    @property
    def started(self) -> bool:
        """Tell whether the buffer contains a part of a request, or all of one."""
        return bool(self._buffer) or self._skip > 0

    def feed(self, data: bytes) -> None:
        """Append what was read from the connection."""
        if self._skip:
            skipped = min(self._skip, len(data))
            self._skip -= skipped
            data = data[skipped:]
        self._buffer += data

    def next(self) -> Request | None:
        """Return the next complete request, or None when more must be read first.

        Raises BadRequestError, after which the reader must not be used again.
        """
        if self._skip:
            return None
        self._drop_empty_lines()
        end = _END.search(self._buffer, max(0, self._searched - 3))
        if end is None or end.start() > MAX_HEAD:
            if len(self._buffer) > MAX_HEAD:
                raise BadRequestError(431, "the head is too long")
            self._searched = len(self._buffer)
            return None
        request, body = parse_head(bytes(self._buffer[: end.start()]))
        del self._buffer[: end.end()]
        self._searched = 0
        self._empty_lines = 0
        here = min(body, len(self._buffer))
        del self._buffer[:here]
        self._skip = body - here
        return request

    def _drop_empty_lines(self) -> None:
        """Drop empty lines before a request line, but only a few of them."""
        while self._buffer[:1] == b"\n" or self._buffer[:2] == b"\r\n":
            del self._buffer[: 1 if self._buffer[:1] == b"\n" else 2]
            self._searched = 0
            self._empty_lines += 1
            if self._empty_lines > _MAX_EMPTY_LINES:
                raise BadRequestError(400, "empty lines instead of a request")


def parse_head(head: bytes) -> tuple[Request, int]:
    """Read a request line and headers (without the empty line); return the request and the length of its body."""
    first, *rest = head.split(b"\n")
    line = _REQUEST_LINE.fullmatch(first.removesuffix(b"\r"))
    if line is None:
        raise BadRequestError(400, "malformed request line")
    headers: dict[str, str] = {}
    for raw in rest:
        field = _FIELD.fullmatch(raw.removesuffix(b"\r"))
        if field is None:
            raise BadRequestError(400, "malformed header")
        name = field[1].decode("ascii").lower()
        value = field[2].decode("latin-1").rstrip(" \t")
        if name in headers:
            if name in _ONLY_ONCE:
                raise BadRequestError(400, f"two {name} headers")
            value = f"{headers[name]}, {value}"
        headers[name] = value
    new = line[3] == b"1"
    if new and "host" not in headers:
        raise BadRequestError(400, "HTTP/1.1 without Host")
    request = Request(line[1].decode("ascii"), line[2].decode("ascii"), headers, _keeps_alive(new, headers))
    return request, _body_length(headers)


def _keeps_alive(new: bool, headers: dict[str, str]) -> bool:
    """Tell whether the client expects to send more on this connection (RFC 9112 section 9.3)."""
    if "connection" not in headers:
        return new
    options = {option.strip() for option in headers["connection"].lower().split(",")}
    return "close" not in options and (new or "keep-alive" in options)


def _body_length(headers: dict[str, str]) -> int:
    """Return how many bytes of body follow the head."""
    if "transfer-encoding" in headers:
        raise BadRequestError(501, "transfer codings are not understood")
    length = headers.get("content-length", "0")
    if not _LENGTH.fullmatch(length):
        raise BadRequestError(400, "malformed Content-Length")
    if int(length) > MAX_BODY:
        raise BadRequestError(413, "the body is too long")
    return int(length)


def phrase(status: int) -> str:
    """Return the reason phrase of a status."""
    return HTTPStatus(status).phrase


@lru_cache(maxsize=1)
def _http_date(now: int) -> str:
    """Write Unix seconds as a Date header (RFC 9110 section 5.6.7)."""
    return formatdate(now, usegmt=True)


def render(response: Response, keep_alive: bool, with_body: bool = True) -> bytes:
    """Write an answer as EC2's server does; `with_body` is False in answer to HEAD."""
    further = "".join(f"{name}: {value}\r\n" for name, value in response.headers)
    head = (
        f"HTTP/1.1 {response.status} {phrase(response.status)}\r\n"
        f"{further}"
        f"Content-Type: {response.content_type}\r\n"
        f"Content-Length: {len(response.body)}\r\n"
        f"Date: {_http_date(int(time.time()))}\r\n"
        f"Server: EC2ws\r\n"
        f"Connection: {'keep-alive' if keep_alive else 'close'}\r\n\r\n"
    ).encode("latin-1")
    return head + response.body if with_body else head
