"""An HTTPS server that receives messages of topics, and the parts that send them to it."""

import asyncio
import json
import ssl
import threading
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

from stead_controller.clock import now
from stead_controller.secrets.message_signer import MessageSigner
from stead_controller.workflows.notifications import Notifications
from stead_controller.workflows.webhooks import Webhooks
from stead_proto.certificates import Authority

NETWORK = "127.0.0.0/8"


@dataclass
class Arrived:
    """A request of a receiver."""

    headers: dict[str, str]
    body: bytes

    @property
    def fields(self) -> dict[str, str]:
        """The fields of a message with an envelope."""
        found: dict[str, str] = json.loads(self.body)
        return found


class Receiver:
    """A server on loopback that answers with `status`, and remembers what came."""

    def __init__(self, folder: Path, authority: Authority, *, tls: bool = True) -> None:
        """Listen; with TLS the certificate is of this authority."""
        self.status = 200
        self.headers: dict[str, str] = {}
        self.arrived: list[Arrived] = []
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                outer.arrived.append(Arrived({k.lower(): v for k, v in self.headers.items()}, body))
                self.send_response(outer.status)
                for name, value in outer.headers.items():
                    self.send_header(name, value)
                self.send_header("Content-Length", "0")
                self.end_headers()

            def log_message(self, *_args: object) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        if tls:
            identity = authority.issue_server(["127.0.0.1", "localhost"])
            chain = folder / "receiver.pem"
            chain.write_bytes(identity.key_pem + identity.certificate_pem)
            context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
            context.load_cert_chain(chain)
            self._server.socket = context.wrap_socket(self._server.socket, server_side=True)
        port = self._server.server_address[1]
        self.url = f"{'https' if tls else 'http'}://localhost:{port}/hook?key=hidden"
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.02})
        self._thread.start()

    def close(self) -> None:
        """Stop."""
        self._server.shutdown()
        self._thread.join(60)
        self._server.server_close()

    @property
    def last(self) -> Arrived:
        """The newest request."""
        return self.arrived[-1]

    def asked(self, member: str) -> dict[str, str]:
        """The parameters of the URL in a member of the newest message."""
        return {name: value for name, [value] in parse_qs(urlsplit(self.last.fields[member]).query).items()}


@dataclass
class Sending:
    """The loop that sends, run by hand; a test may add to `now`."""

    api: Any
    folder: Path
    authority: Authority
    signer: MessageSigner
    now: datetime = field(default_factory=now)
    networks: tuple[str, ...] = (NETWORK,)

    def __post_init__(self) -> None:
        """Write the authority's certificate as the file that is trusted."""
        self.ca_file = self.folder / "ca.pem"
        self.ca_file.write_bytes(self.authority.certificate_pem)
        self.own_url = f"http://127.0.0.1:{self.api.port}"

    def loop(self) -> Notifications:
        """A new loop, as after the controller was killed."""
        return Notifications(
            self.api.database,
            self.api.world.cloud,
            lambda: self.now,
            signer=self.signer,
            webhooks=Webhooks(self.networks, self.ca_file, 5.0),
            own_url=self.own_url,
        )

    async def run(self, seconds: float = 0.0) -> None:
        """Send what is due some seconds later."""
        self.now = max(self.now, now()) + timedelta(seconds=seconds)
        await self.loop().run_due()


def to_loopback(api: Any) -> None:
    """Let notifications of an endpoint go to loopback, also by HTTP."""
    api.world.cloud = api.app._cloud = replace(api.world.cloud, webhook_networks=(NETWORK,))


def subscribe(client: Any, sending: Sending, receiver: Receiver, topic: str, **asked: Any) -> str:
    """Subscribe a receiver to a topic, and confirm it by what it was sent; give the ARN."""
    given = {"TopicArn": topic, "Protocol": "https", "Endpoint": receiver.url} | asked
    assert client.subscribe(**given)["SubscriptionArn"] == "pending confirmation"
    asyncio.run(sending.run())
    arn: str = client.confirm_subscription(TopicArn=topic, Token=receiver.last.fields["Token"])["SubscriptionArn"]
    return arn
