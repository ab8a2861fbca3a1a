"""A metadata service for one guest: a dictionary of paths, served as IMDSv2 (or v1 only), all requests recorded."""

import json
import threading
from collections.abc import Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

TOKEN = "trial-token"


class FakeMetadata:
    """Serve at ``address``:80 from construction until ``close``.

    ``values`` maps paths below ``/latest/`` (any version is taken) to contents; folders list themselves. It may be
    replaced at any time. With ``tokens`` off the service supports only v1.
    """

    def __init__(self, address: str, values: Mapping[str, bytes], *, tokens: bool = True) -> None:
        self.values = values
        self.tokens = tokens
        self.requests: list[str] = []
        owner = self

        class Handler(BaseHTTPRequestHandler):
            """Answers from ``owner``."""

            def do_PUT(self) -> None:
                """Return a token."""
                owner.requests.append(f"PUT {self.path}")
                self._answer(*((200, TOKEN.encode()) if owner.tokens else (404, b"")))

            def do_GET(self) -> None:
                """Return a value or the listing of a folder."""
                owner.requests.append(f"GET {self.path}")
                if owner.tokens and self.headers.get("X-aws-ec2-metadata-token") != TOKEN:
                    self._answer(401, b"")
                else:
                    found = owner.look_up(self.path)
                    self._answer(404, b"") if found is None else self._answer(200, found)

            def _answer(self, status: int, body: bytes) -> None:
                self.send_response(status)
                self.send_header("Content-Type", "text/plain")
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_: object) -> None:
                """Write nothing: requests are recorded in ``owner.requests``."""

        self._server = ThreadingHTTPServer((address, 80), Handler)
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def look_up(self, url_path: str) -> bytes | None:
        """Return what a request for ``/VERSION/path`` gets: a value, a listing, or None when there is nothing."""
        path = url_path.strip("/").partition("/")[2]
        if path in self.values:
            return self.values[path]
        below = path + "/" if path else ""
        names = {name.removeprefix(below) for name in self.values if name.startswith(below)}
        entries = {first + ("/" if slash else "") for first, slash, _ in (name.partition("/") for name in names)}
        if path == "meta-data/public-keys":
            entries = {f"{entry.rstrip('/')}=trial" for entry in entries}
        return "\n".join(sorted(entries)).encode() if entries else None

    def close(self) -> None:
        """Stop serving."""
        self._server.shutdown()
        self._server.server_close()


def instance_values(
    instance_id: str, *, host_name: str, mac: str, address: str, ssh_key: str, user_data: bytes
) -> dict[str, bytes]:
    """Return the metadata of one instance, as much as cloud-init's Ec2 datasource asks for."""
    interface = f"meta-data/network/interfaces/macs/{mac}"
    identity = {"accountId": "123456789012", "instanceId": instance_id, "region": "trial-1", "version": "2017-09-30"}
    texts = {
        # Without it cloud-init repeats all requests for minutes.
        "dynamic/instance-identity/document": json.dumps(identity),
        "meta-data/ami-id": "ami-0123456789abcdef0",
        "meta-data/ami-launch-index": "0",
        "meta-data/hostname": f"{host_name}.ec2.internal",
        "meta-data/instance-id": instance_id,
        "meta-data/instance-type": "t3.micro",
        "meta-data/local-hostname": f"{host_name}.ec2.internal",
        "meta-data/local-ipv4": address,
        "meta-data/mac": mac,
        f"{interface}/device-number": "0",
        f"{interface}/interface-id": "eni-0123456789abcdef0",
        f"{interface}/local-ipv4s": address,
        f"{interface}/mac": mac,
        f"{interface}/subnet-ipv4-cidr-block": "10.99.0.0/24",
        "meta-data/placement/availability-zone": "trial-1a",
        "meta-data/placement/region": "trial-1",
        "meta-data/public-keys/0/openssh-key": ssh_key,
        "meta-data/reservation-id": "r-0123456789abcdef0",
        "meta-data/security-groups": "default",
    }
    return {path: text.encode() for path, text in texts.items()} | {"user-data": user_data}
