"""Decodes `aws-chunked` bodies, and checks the signatures of the chunks and of the trailer.

Pure. The rules are those of https://docs.aws.amazon.com/AmazonS3/latest/API/sigv4-streaming.html and
sigv4-streaming-trailers.html there. Only one line and the hash of the current chunk are held in memory.
"""

import hashlib
import hmac
import re
from dataclasses import dataclass, field
from typing import Final

from stead_controller.errors import BadRequest, NotAuthenticated

MOST_CHUNK: Final = 1 << 30
_MOST_LINE: Final = 4096
_MOST_TRAILERS: Final = 8
_EMPTY: Final = hashlib.sha256(b"").hexdigest()
_HEADER: Final = re.compile(rb"([0-9a-fA-F]{1,8})(?:;chunk-signature=([0-9a-f]{64}))?\Z")
_CHECKSUM: Final = re.compile(r"[A-Za-z0-9+/]{1,88}={0,2}\Z")
_TRAILER_SIGNATURE: Final = "x-amz-trailer-signature"


@dataclass(slots=True)
class ChunkSigner:
    """Signs a request's chunks: each signature covers the previous one; the first covers the request's own."""

    key: bytes = field(repr=False)
    time_text: str
    scope: str
    previous: str

    def chunk(self, digest: str) -> str:
        """Return the signature of the next chunk, whose data has this SHA-256."""
        return self._sign("PAYLOAD", f"{_EMPTY}\n{digest}")

    def trailer(self, digest: str) -> str:
        """Return the signature of the trailer, whose lines have this SHA-256."""
        return self._sign("TRAILER", digest)

    def _sign(self, what: str, rest: str) -> str:
        text = f"AWS4-HMAC-SHA256-{what}\n{self.time_text}\n{self.scope}\n{self.previous}\n{rest}"
        self.previous = hmac.digest(self.key, text.encode(), "sha256").hex()
        return self.previous


class ChunkedBody:
    """Decodes one body piece by piece.

    With a signer every chunk must be signed; `trailers` are the lower-case names that the request has announced, and
    `trailer` has their values at the end.
    """

    def __init__(self, length: int, signer: ChunkSigner | None, trailers: tuple[str, ...]) -> None:
        """Expect `length` bytes of data."""
        self._left = length
        self._signer = signer
        self._announced = trailers
        self._line = bytearray()
        self._in_chunk = 0
        self._state = "header"
        self._signature = ""
        self._hash = hashlib.sha256()
        self._trailer_signature = ""
        self.trailer: dict[str, str] = {}

    @property
    def has_ended(self) -> bool:
        """Whether the whole body was received and checked."""
        return self._state == "ended"

    def feed(self, data: bytes) -> list[bytes]:
        """Take received bytes, and return the data in them; raises BadRequest, NotAuthenticated.

        Data is returned before its chunk's signature is received, so the caller must hold back the last of it until
        `has_ended`.
        """
        found: list[bytes] = []
        position = 0
        while position < len(data):
            if self._state == "data":
                piece = data[position : position + self._in_chunk]
                position += len(piece)
                self._take(piece)
                found.append(piece)
            elif self._state == "ended":
                raise _malformed("there is more after the last chunk")
            else:
                end = data.find(b"\n", position)
                self._line += data[position : end + 1 if end >= 0 else len(data)]
                position = end + 1 if end >= 0 else len(data)
                if len(self._line) > _MOST_LINE:
                    raise _malformed("a line is too long")
                if end >= 0:
                    if not self._line.endswith(b"\r\n"):
                        raise _malformed("lines end with CR and LF")
                    line = bytes(self._line[:-2])
                    self._line.clear()
                    self._read_line(line)
        return found

    def _take(self, piece: bytes) -> None:
        if self._signer is not None:
            self._hash.update(piece)
        self._in_chunk -= len(piece)
        self._left -= len(piece)
        if self._left < 0:
            raise _malformed("there is more than x-amz-decoded-content-length says")
        if self._in_chunk == 0:
            self._check_chunk()
            self._state = "gap"

    def _read_line(self, line: bytes) -> None:
        if self._state == "gap":
            if line:
                raise _malformed("a chunk is longer than it says")
            self._state = "header"
        elif self._state == "header":
            self._read_header(line)
        elif line:
            self._read_trailer(line)
        else:
            self._end()

    def _read_header(self, line: bytes) -> None:
        match = _HEADER.match(line)
        if match is None or (self._signer is not None and match[2] is None):
            raise _malformed("a chunk begins with its size and its signature")
        self._in_chunk = int(match[1], 16)
        self._signature = (match[2] or b"").decode()
        if self._in_chunk > MOST_CHUNK:
            raise _malformed("a chunk is too long")
        self._hash = hashlib.sha256()
        if self._in_chunk:
            self._state = "data"
            return
        self._check_chunk()
        if self._left:
            raise _malformed("there is less than x-amz-decoded-content-length says")
        self._state = "trailer"

    def _check_chunk(self) -> None:
        if self._signer is not None:
            _must_match(self._signer.chunk(self._hash.hexdigest()), self._signature)

    def _read_trailer(self, line: bytes) -> None:
        name, colon, value = line.decode("latin-1").partition(":")
        name = name.strip().lower()
        if name == _TRAILER_SIGNATURE and not self._trailer_signature:
            self._trailer_signature = value.strip()
        elif not colon or name not in self._announced or name in self.trailer or len(self.trailer) >= _MOST_TRAILERS:
            raise _malformed("a trailer was not announced by x-amz-trailer")
        else:
            value = value.strip()
            if not _CHECKSUM.match(value):
                raise _malformed("a checksum is not in base64")
            self.trailer[name] = value

    def _end(self) -> None:
        if set(self.trailer) != set(self._announced):
            raise _malformed("a trailer that x-amz-trailer announced is missing")
        if self._signer is not None and self._announced:
            lines = "".join(f"{name}:{self.trailer[name]}\n" for name in sorted(self.trailer))
            digest = hashlib.sha256(lines.encode("latin-1")).hexdigest()
            _must_match(self._signer.trailer(digest), self._trailer_signature)
        self._state = "ended"


def _must_match(expected: str, given: str) -> None:
    if not hmac.compare_digest(expected.encode(), given.encode()):
        raise NotAuthenticated(
            "The request signature we calculated does not match the signature you provided. "
            "Check your key and signing method.",
            code="SignatureDoesNotMatch",
        )


def _malformed(why: str) -> BadRequest:
    return BadRequest(f"The body is not aws-chunked as it should be: {why}.", code="IncompleteBody")
