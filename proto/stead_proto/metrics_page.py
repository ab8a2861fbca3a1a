"""The page from which Prometheus reads a program's metrics of itself: plain HTTP, at a port of its own.

Who reaches the port may read it: it has numbers of the whole cloud, and no ids.
"""

from collections.abc import Awaitable, Callable
from typing import Final

from aiohttp import web
from prometheus_client import CollectorRegistry
from prometheus_client.exposition import choose_encoder

PATH: Final = "/metrics"


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
        self._runner: web.ServerRunner | None = None

    async def start(self) -> int:
        """Listen, and return the port; raises OSError."""
        self._runner = web.ServerRunner(web.Server(self._serve, access_log=None))
        await self._runner.setup()
        await web.TCPSite(self._runner, self._host, self._port).start()
        port: int = self._runner.addresses[0][1]
        return port

    async def stop(self) -> None:
        """Stop listening."""
        if self._runner is not None:
            await self._runner.cleanup()
            self._runner = None

    async def _serve(self, request: web.BaseRequest) -> web.Response:
        if request.path != PATH:
            return web.Response(status=404, text=f"There is {PATH} here.\n")
        if request.method not in ("GET", "HEAD"):
            return web.Response(status=405, text="This page is for reading.\n", headers={"Allow": "GET, HEAD"})
        await self._prepare()
        encode, content_type = choose_encoder(request.headers.get("Accept", ""))
        return web.Response(body=encode(self._registry), headers={"Content-Type": content_type})
