"""The HTTP(S) listeners of the AWS endpoint: they convert HTTP requests to `Request`, and `Response` to HTTP."""

import asyncio
import resource
import socket
import ssl
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any, Final, Protocol

from aiohttp import web
from aiohttp.web_protocol import RequestHandler

from stead_controller.aws.app import AwsApp
from stead_controller.aws.endpoint_arrivals import Arrival, Arrived, EndpointListener
from stead_controller.aws.failed_logins import counted_as
from stead_controller.aws.protocol.message import Request
from stead_controller.errors import BadRequest

OBJECTS: Final = "s3"  # the service of endpoints for the object store
HEALTH_PATH: Final = "/_stead/health"
MAX_BODY: Final = 1 << 20
MOST_OF_ONE: Final = 2048  # connections of one IPv4 address, or of one IPv6 subscriber's prefix
_IP_FREEBIND: Final = 15  # linux/in.h; the socket module does not name it
_MAX_REQUEST_LINE: Final = 1 << 16  # GET requests carry all parameters, presigned ones also a session token
_MAX_HEADER: Final = 1 << 14
_BODY_SECONDS: Final = 60


class StreamHandler(Protocol):
    """Handles requests with streamed bodies; `object_store.handler.ObjectStoreHandler` implements it."""

    def takes(self, request: Request) -> bool:
        """Tell whether it handles this request, whose body has not been read."""

    async def serve(self, http: web.BaseRequest, request: Request) -> web.StreamResponse:
        """Read the body and answer."""


PageHandler = Callable[[web.BaseRequest], Awaitable[web.StreamResponse]]


@dataclass(frozen=True, slots=True)
class Listener:
    """An address to listen on; uses TLS if it has a context; port 0 means any free one."""

    host: str
    port: int
    tls: ssl.SSLContext | None = None
    may_be_absent: bool = False  # the host may get the address later


class BodyTooLargeError(Exception):
    """The body is longer than the endpoint allows."""


class _BoundedServer(web.Server):
    """Limits the connections of one address, and closes further ones, so that no address can use all of them."""

    def __init__(self, handler: PageHandler, most: int, **options: Any) -> None:
        super().__init__(handler, **options)
        self._most = most
        self._sources: dict[RequestHandler, str] = {}
        self._open: Counter[str] = Counter()
        self.arrived: dict[RequestHandler, Arrived] = {}

    def by_endpoint(self, arrived: Arrived) -> RequestHandler:
        """Return the protocol for a connection that came through a VPC endpoint, and remember the endpoint."""
        handler = self()
        self.arrived[handler] = arrived
        return handler

    def connection_made(self, handler: RequestHandler, transport: asyncio.Transport) -> None:
        """Accept a connection, or close it."""
        super().connection_made(handler, transport)
        peer = transport.get_extra_info("peername")
        arrived = self.arrived.get(handler)
        source = arrived.counted_as if arrived is not None else counted_as(peer[0]) if peer else ""
        self._sources[handler] = source
        self._open[source] += 1
        if self._open[source] > self._most:
            asyncio.get_running_loop().call_soon(handler.force_close)  # later, once it is fully set up

    def connection_lost(self, handler: RequestHandler, exc: BaseException | None = None) -> None:
        """Count one connection less."""
        super().connection_lost(handler, exc)
        self.arrived.pop(handler, None)
        source = self._sources.pop(handler, None)
        if source is not None:
            self._open[source] -= 1
            if not self._open[source]:
                del self._open[source]


class AwsServer:
    """Serves an `AwsApp` on several addresses.

    `pages` are handlers by path prefix for other content on the same ports (the console). `health` returns the
    controller's health as a text, "ok" if all is well.
    """

    def __init__(
        self,
        app: AwsApp,
        listeners: list[Listener],
        *,
        pages: Mapping[str, PageHandler] | None = None,
        objects: StreamHandler | None = None,
        endpoints: EndpointListener | None = None,
        health: Callable[[], str] = lambda: "ok",
        max_body: int = MAX_BODY,
        most_of_one: int = MOST_OF_ONE,
        shutdown_seconds: float = 10.0,
    ) -> None:
        """Store the parts; `start` opens the sockets."""
        self._app = app
        self._listeners = listeners
        self._pages = dict(pages or {})
        self._objects = objects
        self._endpoints = endpoints
        self._arrivals: asyncio.Server | None = None
        self._server: _BoundedServer | None = None
        self._health = health
        self._max_body = max_body
        self._most_of_one = most_of_one
        self._shutdown_seconds = shutdown_seconds
        self._runner: web.ServerRunner | None = None

    async def start(self) -> list[tuple[str, int]]:
        """Listen; returns the bound addresses in the order of the listeners."""
        files, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
        server = self._server = _BoundedServer(
            self._serve,
            min(self._most_of_one, files // 4),
            max_line_size=_MAX_REQUEST_LINE,
            max_field_size=_MAX_HEADER,
            auto_decompress=False,  # objects are stored in their encoding, and signatures cover the bytes as sent
            access_log=None,
            keepalive_timeout=75.0,
            lingering_time=2.0,
        )
        runner = self._runner = web.ServerRunner(server, shutdown_timeout=self._shutdown_seconds)
        await runner.setup()
        for listener in self._listeners:
            if listener.may_be_absent:
                site: web.BaseSite = web.SockSite(runner, _free_bound(listener), ssl_context=listener.tls)
            else:
                site = web.TCPSite(runner, listener.host, listener.port, ssl_context=listener.tls)
            await site.start()
        if self._endpoints is not None:
            where = self._endpoints
            self._arrivals = await asyncio.get_running_loop().create_server(
                lambda: Arrival(where, server.by_endpoint), where.host, where.port, ssl=where.hosts_tls
            )
        return [(address[0], address[1]) for address in runner.addresses]

    async def stop(self) -> None:
        """Stop accepting requests, wait for the running ones, then close."""
        if self._arrivals is not None:
            self._arrivals.close()
            self._arrivals = None
        if self._runner is not None:
            await self._runner.cleanup()
            self._runner = None

    async def _serve(self, http: web.BaseRequest) -> web.StreamResponse:
        path, _, query = http.raw_path.partition("?")
        arrived = self._server.arrived.get(http.protocol) if self._server is not None else None
        if arrived is not None:
            return await self._serve_endpoint(http, arrived)
        if path == HEALTH_PATH:
            return web.json_response({"status": self._health()})
        for prefix, page in self._pages.items():
            if path.startswith(prefix):
                return await page(http)
        request = Request(http.method, path, query, _headers(http), b"", http.remote or "", secure=http.secure)
        if self._objects is not None and self._objects.takes(request):
            return await self._objects.serve(http, request)
        return await self._serve_app(http, request)

    async def _serve_endpoint(self, http: web.BaseRequest, arrived: Arrived) -> web.StreamResponse:
        """Answer a request through an endpoint, with the endpoint's service only."""
        path, _, query = http.raw_path.partition("?")
        request = Request(
            http.method,
            path,
            query,
            _headers(http),
            b"",
            arrived.source,
            secure=arrived.is_secure,
            via=arrived.via,
        )
        if arrived.via.service != OBJECTS:
            return await self._serve_app(http, request)
        if self._objects is None:
            raise AssertionError("there is no object store")
        return await self._objects.serve(http, request)

    async def _serve_app(self, http: web.BaseRequest, request: Request) -> web.StreamResponse:
        refusal: BadRequest | None = None
        body = b""
        try:
            async with asyncio.timeout(_BODY_SECONDS):
                body = await self._read_body(http)
        except BodyTooLargeError:
            refusal = BadRequest(f"The body is longer than {self._max_body} bytes", code="RequestEntityTooLarge")
        except TimeoutError:
            refusal = BadRequest(f"The body did not come within {_BODY_SECONDS} seconds", code="RequestTimeout")
        request = replace(request, body=body)
        answer = self._app.refuse(request, refusal) if refusal else await self._app.handle(request)
        response = web.Response(
            status=answer.status,
            body=answer.body,
            headers={"Content-Type": answer.content_type, "Server": "stead", **answer.headers},
        )
        if refusal:
            response.force_close()  # the unread rest of the body must not be parsed as a request
        return response

    async def _read_body(self, http: web.BaseRequest) -> bytes:
        if http.content_length is not None and http.content_length > self._max_body:
            raise BodyTooLargeError
        if http.headers.get("Expect", "").lower() == "100-continue":
            await http.writer.write(b"HTTP/1.1 100 Continue\r\n\r\n")
        pieces = []
        size = 0
        async for piece in http.content.iter_chunked(1 << 16):
            size += len(piece)
            if size > self._max_body:
                raise BodyTooLargeError
            pieces.append(piece)
        return b"".join(pieces)


def _headers(http: web.BaseRequest) -> tuple[tuple[str, str], ...]:
    return tuple(
        (name.decode("utf-8", "surrogateescape"), value.decode("utf-8", "surrogateescape"))
        for name, value in http.raw_headers
    )


def _free_bound(listener: Listener) -> socket.socket:
    """Make a socket that listens at an address that may not exist yet (ip(7), IP_FREEBIND)."""
    sock = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    try:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        sock.setsockopt(socket.IPPROTO_IP, _IP_FREEBIND, 1)
        sock.bind((listener.host, listener.port))
    except OSError:
        sock.close()
        raise
    return sock
