"""One request to the object store on its way through the front door."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field
from datetime import datetime
from typing import Final

from aiohttp import web

from stead_controller.aws.app import Transactions
from stead_controller.aws.protocol.message import Request
from stead_controller.aws.signature import Claim
from stead_controller.errors import BadRequest
from stead_controller.object_store.access import Asker
from stead_controller.object_store.addressing import Address
from stead_controller.object_store.backend import Backend
from stead_controller.object_store.operations import Operation
from stead_controller.object_store.payload import Payload
from stead_controller.resources.buckets import BucketFacts
from stead_controller.resources.caller import Caller

_SILENCE_SECONDS: Final = 60.0


@dataclass(slots=True)
class Exchange:
    """A request, and what each step found out about it."""

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
    source: str = ""  # the copy source as the server behind knows it
    has_read: bool = False

    @property
    def kept(self) -> BucketFacts:
        """The bucket that the request names, which was found."""
        if self.bucket is None:
            raise AssertionError("no bucket")
        return self.bucket

    @property
    def asked(self) -> Caller:
        """Who asks, which was established."""
        if self.caller is None:
            raise AssertionError("no caller")
        return self.caller

    @property
    def rights(self) -> Asker:
        """What decides about the caller's requests."""
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
        """Read the body as it comes, having told a client that waits to go on."""
        self.has_read = True
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
            yield piece

    async def document(self) -> bytes:
        """Read all of a short body."""
        return await self.body.document(self.incoming())


@dataclass(frozen=True, slots=True)
class Answer:
    """A short answer."""

    status: int = 200
    body: bytes = b""
    headers: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Means:
    """What operations that are answered here need."""

    transactions: Transactions
    backend: Backend
    region: str


type Handler = Callable[[Exchange, Means], Awaitable[Answer]]
"""Answers an operation of a request that was allowed."""
