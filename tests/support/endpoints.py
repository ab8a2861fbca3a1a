"""Endpoints of this process that stay while what they serve changes: each test has its own database, app and world.

To listen anew for each test, and to make clients of other ports, took a tenth of the time of the tests of the API.
"""

import asyncio
import atexit
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Final

import boto3
import botocore.config

from stead_controller.aws.app import AwsApp
from stead_controller.aws.protocol.message import Request, Response
from stead_controller.aws.server import AwsServer, Listener
from stead_controller.errors import BadRequest
from tests.support.waiting import wait_for

_SECONDS: Final = 60
_free: list["Endpoint"] = []


class _Served:
    """Passes requests to the app of the test that runs now, as `AwsServer` does to the only one of a program."""

    app: AwsApp

    def __init__(self) -> None:
        self.running = 0

    async def handle(self, request: Request) -> Response:
        """Answer a request."""
        self.running += 1
        try:
            return await self.app.handle(request)
        finally:
            self.running -= 1

    def refuse(self, request: Request, refusal: BadRequest) -> Response:
        """Answer a request whose body was not read."""
        return self.app.refuse(request, refusal)


class Endpoint:
    """A port of loopback that is served in a thread of its own until the process ends, and clients of it."""

    def __init__(self) -> None:
        """Begin to listen."""
        self._served = _Served()
        self._clients: dict[tuple[str, str, str], Any] = {}
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._thread.start()
        served: Any = self._served
        self._server = AwsServer(served, [Listener("127.0.0.1", 0)], shutdown_seconds=2)
        [(_, self.port)] = asyncio.run_coroutine_threadsafe(self._server.start(), self._loop).result(_SECONDS)
        atexit.register(self._stop)

    def client(self, service: str, key: str, secret: str) -> Any:
        """Return the boto3 client of a long-term key, which tries once: for tests that change nothing of it."""
        which = service, key, secret
        if which not in self._clients:
            self._clients[which] = self.make_client(service, aws_access_key_id=key, aws_secret_access_key=secret)
        return self._clients[which]

    def make_client(self, service: str, signature_version: Any = None, **options: Any) -> Any:
        """Make a boto3 client, which tries once, with these of boto3's options."""
        config = botocore.config.Config(
            retries={"total_max_attempts": 1}, read_timeout=60, signature_version=signature_version
        )
        make: Any = boto3.client
        url = f"http://127.0.0.1:{self.port}"
        return make(service, region_name="us-east-1", endpoint_url=url, config=config, **options)

    @contextmanager
    def serving(self, app: AwsApp) -> Iterator[None]:
        """Serve an app; the requests that run are answered before it ends."""
        self._served.app = app
        try:
            yield
        finally:
            wait_for(lambda: self._served.running == 0, "requests of the test are answered")
            del self._served.app

    def _stop(self) -> None:
        asyncio.run_coroutine_threadsafe(self._server.stop(), self._loop).result(_SECONDS)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(_SECONDS)
        self._loop.close()


@contextmanager
def lent() -> Iterator[Endpoint]:
    """Give an endpoint that nobody else uses meanwhile."""
    endpoint = _free.pop() if _free else Endpoint()
    try:
        yield endpoint
    finally:
        _free.append(endpoint)
