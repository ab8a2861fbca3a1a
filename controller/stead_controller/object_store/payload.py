"""Request bodies, checked against the signature while they are forwarded to the server behind.

The last bytes are held back until the whole body is verified: a body that does not match its signature, or is cut off,
stays incomplete for the server behind, which then stores nothing of it.
"""

import base64
import hashlib
import hmac
import re
import zlib
from collections.abc import AsyncIterator, Callable
from typing import Final

from stead_controller.aws.protocol.message import Request
from stead_controller.aws.signature import S3, UNSIGNED_PAYLOAD, Claim, signing_key
from stead_controller.errors import BadRequest, LimitExceeded, NotAuthenticated
from stead_controller.object_store.chunked_body import ChunkedBody, ChunkSigner

MOST_OBJECT: Final = 5 << 30  # of one request; larger objects are uploaded in parts
MOST_DOCUMENT: Final = 4 << 20

_SIGNED: Final = "STREAMING-AWS4-HMAC-SHA256-PAYLOAD"
_TRAILER: Final = "-TRAILER"
_UNSIGNED_TRAILER: Final = "STREAMING-UNSIGNED-PAYLOAD-TRAILER"
_HASH: Final = re.compile(r"[0-9a-f]{64}\Z")
_NUMBER: Final = re.compile(r"[0-9]{1,15}\Z")
_CHECKSUM: Final = re.compile(r"x-amz-checksum-(?:crc32|crc32c|crc64nvme|sha1|sha256)\Z")


def declared_hash(request: Request, claim: Claim) -> str:
    """Return the value that represents the body in the request's signature; raises BadRequest for an invalid one."""
    values = request.header_values("x-amz-content-sha256")
    if claim.presigned:
        values = values or [value for name, value in request.query_fields if name == "X-Amz-Content-Sha256"]
    if not values:
        if claim.presigned:
            return UNSIGNED_PAYLOAD
        raise BadRequest("Missing required header for this request: x-amz-content-sha256", code="InvalidRequest")
    text = values[0]
    known = (UNSIGNED_PAYLOAD, _SIGNED, _SIGNED + _TRAILER, _UNSIGNED_TRAILER)
    if len(values) > 1 or not (text in known or _HASH.match(text)):
        raise BadRequest(
            "x-amz-content-sha256 must be UNSIGNED-PAYLOAD, one of the STREAMING- values, or a valid sha256 value.",
            code="InvalidArgument",
        )
    return text


class Payload:
    """The body of a request whose own signature has been checked."""

    def __init__(self, request: Request, claim: Claim, secret: str, declared: str) -> None:
        """Parse the headers about the body; raises BadRequest. `declared` is what represents it in the signature."""
        self.declared = declared
        self._chunked: ChunkedBody | None = None
        self.trailers: tuple[str, ...] = ()
        self.failure: Exception | None = None
        self.length = _length(request, "content-length")
        if not declared.startswith("STREAMING-"):
            if self.length is None and request.header("transfer-encoding") is None:
                self.length = 0
            return
        self.length = _length(request, "x-amz-decoded-content-length")
        if self.length is None:
            raise BadRequest("You must provide the x-amz-decoded-content-length header.", code="MissingContentLength")
        if declared.endswith(_TRAILER):
            self.trailers = _trailers(request)
        signer = None
        if declared != _UNSIGNED_TRAILER:
            key = signing_key(secret, claim.date, claim.region, S3)
            signer = ChunkSigner(key, claim.time_text, claim.scope, claim.signature)
        self._chunked = ChunkedBody(self.length, signer, self.trailers)

    def require_length(self) -> int:
        """Return the length of an object to be stored; raises BadRequest, LimitExceeded."""
        if self.length is None:
            raise BadRequest("You must provide the Content-Length HTTP header.", code="MissingContentLength")
        if self.length > MOST_OBJECT:
            raise LimitExceeded("Your proposed upload exceeds the maximum allowed size", code="EntityTooLarge")
        return self.length

    async def pieces(self, incoming: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
        """Yield the data, the last of it only after all checks; stores an error in `failure`, and raises it."""
        try:
            held = b""
            async for piece in self._checked(incoming):
                if held:
                    yield held
                held = piece
            if held:
                yield held
        except Exception as error:  # the HTTP client that sends our pieces hides why they ended
            self.failure = error
            raise

    async def with_trailer(self, incoming: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
        """Yield the data as an unsigned aws-chunked body with its trailer, which the server behind checks."""
        async for piece in self.pieces(incoming):
            yield b"%x\r\n%b\r\n" % (len(piece), piece)
        yield b"0\r\n" + "".join(f"{name}:{value}\r\n" for name, value in self._trailer()).encode() + b"\r\n"

    async def document(self, incoming: AsyncIterator[bytes]) -> bytes:
        """Read a short document completely; raises LimitExceeded, BadRequest, NotAuthenticated."""
        found = bytearray()
        if self.length is not None and self.length > MOST_DOCUMENT:
            raise LimitExceeded("Your request was too big.", code="MaxMessageLengthExceeded")
        async for piece in self.pieces(incoming):
            found += piece
            if len(found) > MOST_DOCUMENT:
                raise LimitExceeded("Your request was too big.", code="MaxMessageLengthExceeded")
        return bytes(found)

    def _trailer(self) -> list[tuple[str, str]]:
        assert self._chunked
        return sorted(self._chunked.trailer.items())

    async def _checked(self, incoming: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
        if self._chunked is None:
            async for piece in self._hashed(incoming):
                yield piece
            return
        async for data in incoming:
            for piece in self._chunked.feed(data):
                yield piece
        if not self._chunked.has_ended:
            raise BadRequest("You did not provide the number of bytes specified.", code="IncompleteBody")

    async def _hashed(self, incoming: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
        digest = None if self.declared == UNSIGNED_PAYLOAD else hashlib.sha256()
        async for piece in incoming:
            if digest is not None:
                digest.update(piece)
            yield piece
        if digest is not None and not hmac.compare_digest(digest.hexdigest(), self.declared):
            raise NotAuthenticated(
                "The provided 'x-amz-content-sha256' header does not match what was computed.",
                code="XAmzContentSHA256Mismatch",
            )


def check_digests(request: Request, content: bytes, *, checksums: bool) -> None:
    """Raise BadRequest if a short body does not match the digests in its headers.

    Only checksums that Python has are computed; for the others the signature, if any, protects the body.
    """
    asked: dict[str, Callable[[], bytes]] = {
        "content-md5": lambda: hashlib.md5(content, usedforsecurity=False).digest()
    }
    if checksums:
        asked |= {
            "x-amz-checksum-crc32": lambda: zlib.crc32(content).to_bytes(4),
            "x-amz-checksum-sha1": lambda: hashlib.sha1(content, usedforsecurity=False).digest(),
            "x-amz-checksum-sha256": lambda: hashlib.sha256(content).digest(),
        }
    for name, compute in asked.items():
        given = request.header(name)
        if given is None:
            continue
        if not hmac.compare_digest(given.strip().encode("utf-8", "surrogateescape"), base64.b64encode(compute())):
            raise BadRequest(f"The {name} you specified did not match what we received.", code="BadDigest")


def _length(request: Request, name: str) -> int | None:
    values = request.header_values(name)
    if not values:
        return None
    if len(values) > 1 or not _NUMBER.match(values[0]):
        raise BadRequest(f"The {name} header is no number.", code="InvalidArgument")
    return int(values[0])


def _trailers(request: Request) -> tuple[str, ...]:
    names = [name.strip().lower() for value in request.header_values("x-amz-trailer") for name in value.split(",")]
    if not names or len(set(names)) != len(names) or not all(_CHECKSUM.match(name) for name in names):
        raise BadRequest("x-amz-trailer must name checksums.", code="InvalidRequest")
    return tuple(names)
