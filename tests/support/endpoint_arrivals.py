"""A controller's listener for requests by VPC endpoints, in a thread: it answers with what it knows of each request."""

import asyncio
import json
import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

from aiohttp import web

from stead_controller.aws.app import AwsApp
from stead_controller.aws.endpoint_arrivals import EndpointListener
from stead_controller.aws.endpoint_certificates import EndpointCertificates
from stead_controller.aws.protocol.message import Request
from stead_controller.aws.server import AwsServer, Listener
from stead_controller.resources.network.vpc_endpoint_access import Via
from stead_controller.resources.network.vpc_endpoint_services import host_names
from stead_proto.certificates import Authority
from tests.support.processes import free_ports

TLS_PORT = 443


class _Door:
    """Answers every request with what is known of it, and the length of its body."""

    def takes(self, request: Request) -> bool:
        return request.path == "/mine"

    async def serve(self, http: web.BaseRequest, request: Request) -> web.StreamResponse:
        body = await http.content.read()
        via = request.via
        return web.json_response(
            {
                "via": [via.endpoint_id, via.vpc_id] if via else None,
                "source": request.source_ip,
                "secure": request.secure,
                "path": request.path,
                "body": len(body),
            }
        )


@dataclass
class Arrivals:
    """A running listener; `known` has the endpoints of hosts."""

    folder: Path
    authority: Authority = field(default_factory=Authority.create)
    known: dict[tuple[str, str], Via] = field(default_factory=dict)
    region: str = "us-east-1"
    zone: str = "us-east-1a"
    port: int = 0
    open_port: int = 0  # of the ordinary listener besides it

    def know(
        self, host_id: str, endpoint_id: str, vpc_id: str, service: str = "s3", *, is_interface: bool = False
    ) -> None:
        """Add an endpoint of a host."""
        self.known[host_id, endpoint_id] = Via(endpoint_id, vpc_id, service, is_interface=is_interface)

    @property
    def trust(self) -> ssl.SSLContext:
        """The TLS context of a client of the APIs."""
        return ssl.create_default_context(cadata=self.authority.certificate_pem.decode())

    async def _admit(self, host_id: str, endpoint_id: str) -> Via | None:
        return self.known.get((host_id, endpoint_id))

    def _listener(self) -> EndpointListener:
        identity = self.authority.issue_server(["198.51.100.1", *host_names(self.region)])
        chain = self.folder / "server.pem"
        chain.write_bytes(identity.key_pem + identity.certificate_pem)
        hosts, clients = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER), ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        for context in (hosts, clients):
            context.load_cert_chain(chain)
        hosts.load_verify_locations(cadata=identity.ca_pem.decode())
        hosts.verify_mode = ssl.CERT_REQUIRED
        certificates = EndpointCertificates(self.authority, clients, self.region, (self.zone,), self.folder)
        return EndpointListener(
            "127.0.0.1", self.port, hosts, certificates.context_of, frozenset({TLS_PORT}), self._admit
        )

    @contextmanager
    def running(self) -> Iterator[None]:
        """Serve while the context is open."""
        started, loop = threading.Event(), asyncio.new_event_loop()
        stop = asyncio.Event()

        async def serve() -> None:
            server = AwsServer(
                cast("AwsApp", cast("Any", None)),
                [Listener("127.0.0.1", 0)],
                objects=_Door(),
                endpoints=self._listener(),
            )
            ((_, self.open_port),) = await server.start()
            started.set()
            await stop.wait()
            await server.stop()

        thread = threading.Thread(target=loop.run_until_complete, args=(serve(),))
        thread.start()
        try:
            assert started.wait(60)
            yield
        finally:
            loop.call_soon_threadsafe(stop.set)
            thread.join(60)
            loop.close()


def new_arrivals(folder: Path) -> Arrivals:
    """Make a listener at a free port, which does not run yet."""
    folder.mkdir(parents=True, exist_ok=True)
    (port,) = free_ports(1)
    return Arrivals(folder, port=port)


def answer_of(text: bytes) -> dict[str, Any]:
    """Return the JSON body of a whole HTTP answer."""
    head, _, body = text.partition(b"\r\n\r\n")
    assert b" 200 " in head.splitlines()[0], text
    said: dict[str, Any] = json.loads(body)
    return said
