"""The page from which Prometheus reads a program's metrics of itself: plain HTTP, at a port of its own.

Who reaches the port may read it: it has numbers of the whole cloud, and no ids. A connection is for one request
(RFC 9112). An agent would have 10 MiB more if a library served it.
"""

import asyncio
import contextlib
from collections.abc import Awaitable, Callable
from http import HTTPStatus
from typing import Final

from prometheus_client import CollectorRegistry
from prometheus_client.exposition import choose_encoder

PATH: Final = "/metrics"
_HEAD_BYTES: Final = 8192
_SECONDS: Final = 30.0  # for a request and its answer
_TEXT: Final = "text/plain; charset=utf-8"


async def _nothing() -> None:
    """Prepare nothing."""


class MetricsPage:
    """Serves what is in a registry, in the format that the reader asks for."""

    def __init__(
        self, registry: CollectorRegistry, host: str, port: int, prepare: Callable[[], Awaitable[None]] = _nothing
    ) -> None:
        """Take the address; `prepare` is awaited before each answer."""
        self._registry = registry
        self._host = host
        self._port = port
        self._prepare = prepare
        self._server: asyncio.Server | None = None
        self._open: set[asyncio.StreamWriter] = set()

    async def start(self) -> int:
        """Listen, and return the port; raises OSError."""
        self._server = await asyncio.start_server(self._take, self._host, self._port, limit=_HEAD_BYTES)
        port: int = self._server.sockets[0].getsockname()[1]
        return port

    async def stop(self) -> None:
        """Stop listening, and end connections."""
        if self._server is not None:
            self._server.close()
            for each in self._open:
                each.close()
            await self._server.wait_closed()
            self._server = None

    async def _take(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        # Who sends no request, or too long a one, or goes away, gets no answer.
        gone = (asyncio.IncompleteReadError, asyncio.LimitOverrunError, TimeoutError, ConnectionError)
        self._open.add(writer)
        with contextlib.ExitStack() as stack:
            stack.callback(writer.close)
            stack.callback(self._open.discard, writer)
            stack.enter_context(contextlib.suppress(*gone))  # nobody is there who would be told
            async with asyncio.timeout(_SECONDS):
                head = await reader.readuntil(b"\r\n\r\n")
                writer.write(await self._answer(head.decode("latin-1").split("\r\n")))
                await writer.drain()

    async def _answer(self, head: list[str]) -> bytes:
        """Answer a request, by its lines."""
        method, _, rest = head[0].partition(" ")
        path = rest.partition(" ")[0].partition("?")[0]
        if path != PATH:
            return _response(HTTPStatus.NOT_FOUND, _TEXT, f"There is {PATH} here.\n".encode())
        if method not in ("GET", "HEAD"):
            return _response(HTTPStatus.METHOD_NOT_ALLOWED, _TEXT, b"This page is for reading.\n", "Allow: GET, HEAD")
        await self._prepare()
        fields = (line.partition(":") for line in head[1:])
        accept = ",".join(value.strip() for name, _, value in fields if name.lower() == "accept")
        encode, content_type = choose_encoder(accept)
        answer = _response(HTTPStatus.OK, content_type, encode(self._registry))
        return answer if method == "GET" else answer[: answer.index(b"\r\n\r\n") + 4]


def _response(status: HTTPStatus, content_type: str, body: bytes, *further: str) -> bytes:
    lines = (
        f"HTTP/1.1 {status.value} {status.phrase}",
        f"Content-Type: {content_type}",
        f"Content-Length: {len(body)}",
        "Connection: close",
        *further,
    )
    return "\r\n".join((*lines, "", "")).encode("latin-1") + body
