"""One request to the object store as it passes through the S3 endpoint."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final

from aiohttp import web

from stead_controller.aws.app import Transactions
from stead_controller.aws.protocol.message import Request
from stead_controller.aws.signature import Claim
from stead_controller.errors import BadRequest
from stead_controller.object_store.access import Asker
from stead_controller.object_store.addressing import Address
from stead_controller.object_store.backend import Backend
from stead_controller.object_store.operations import Operation
from stead_controller.object_store.payload import Payload, check_digests
from stead_controller.request.caller import ANONYMOUS, Caller
from stead_controller.resources.storage.buckets import BucketFacts

_SILENCE_SECONDS: Final = 60.0


@dataclass(slots=True)
class Exchange:
    """A request, and the results of each step."""

    http: web.BaseRequest
    request: Request
    request_id: str
    now: datetime
    claim: Claim | None = None
    address: Address = field(default_factory=Address)
    query: dict[str, str] = field(default_factory=dict)
    operation: Operation | None = None
    caller: Caller | None = None
    payload: Payload | None = None
    bucket: BucketFacts | None = None
    asker: Asker | None = None
    is_version_2: bool = False
    is_anonymous: bool = False
    is_control: bool = False  # a request to S3 Control
    tagging: dict[str, str] | None = None  # the tags in its header
    tags: dict[tuple[str, str], dict[str, str]] = field(default_factory=dict)  # of objects, by path and version
    source: str = ""  # the copy source as the server behind names it
    source_address: Address | None = None
    source_bucket: BucketFacts | None = None
    content: bytes | None = None  # a short body that was read
    noted: dict[str, Any] = field(default_factory=dict)  # additional fields of the call's record
    received: int = 0
    sent: int = 0
    has_cors: bool = False  # whether the bucket allows any cross-origin requests
    cross_origin: dict[str, str] = field(default_factory=dict)  # CORS headers of the answer
    entered: str = ""  # the account in whose count of running requests it is included

    @property
    def operation_name(self) -> str:
        """The operation's name, empty until it is known."""
        return self.operation.name if self.operation is not None else ""

    @property
    def existing_bucket(self) -> BucketFacts:
        """The existing bucket that the request names."""
        if self.bucket is None:
            raise AssertionError("no bucket")
        return self.bucket

    @property
    def asked(self) -> Caller:
        """The authenticated caller, or the anonymous one."""
        if self.is_anonymous:
            return ANONYMOUS
        if self.caller is None:
            raise AssertionError("no caller")
        return self.caller

    @property
    def rights(self) -> Asker:
        """The object that authorizes the caller's requests."""
        if self.asker is None:
            raise AssertionError("no asker")
        return self.asker

    @property
    def body(self) -> Payload:
        """The body of a request whose signature was checked."""
        if self.payload is None:
            raise AssertionError("no payload")
        return self.payload

    async def incoming(self) -> AsyncIterator[bytes]:
        """Yield the body as it is received, after sending 100 Continue to a client that waits for it."""
        if self.http.headers.get("Expect", "").lower() == "100-continue":
            await self.http.writer.write(b"HTTP/1.1 100 Continue\r\n\r\n")
        content = self.http.content
        while True:
            try:
                async with asyncio.timeout(_SILENCE_SECONDS):
                    piece = await content.readany()
            except TimeoutError:
                raise BadRequest("Your socket connection to the server was not read from or written to within the "
                                 "timeout period.", code="RequestTimeout") from None  # fmt: skip
            if not piece:
                return
            self.received += len(piece)
            yield piece

    async def document(self) -> bytes:
        """Read a short body completely, once; raises an error if it is invalid, also by the checksums sent with it."""
        if self.content is None:
            content = await self.body.document(self.incoming())
            # The checksums in CompleteMultipartUpload are those of the object.
            check_digests(self.request, content, checksums=self.operation_name != "CompleteMultipartUpload")
            self.content = content
        return self.content


@dataclass(frozen=True, slots=True)
class Answer:
    """A short answer."""

    status: int = 200
    body: bytes = b""
    headers: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Means:
    """The dependencies of operations that are answered here."""

    transactions: Transactions
    backend: Backend
    region: str


type Handler = Callable[[Exchange, Means], Awaitable[Answer]]
"""Answers an operation of an authorized request."""
