"""Requests that no client would make, signed all the same."""

import contextlib
import hashlib
import http.client
import urllib.parse
from datetime import UTC, datetime

from stead_controller.aws.protocol.message import Request
from stead_controller.aws.signature import ALGORITHM, Claim, sign, signing_key
from stead_controller.object_store.chunked_body import ChunkSigner
from tests.support.clients import Account

SIGNED = "STREAMING-AWS4-HMAC-SHA256-PAYLOAD"


class Raw:
    """One request of an account; `headers` has its signature, `signer` signs its chunks."""

    def __init__(self, account: Account, method: str, path: str, query: str = "", body_hash: str = "", **headers: str):
        self.where = urllib.parse.urlsplit(account.endpoint)
        self.method, self.path, self.query = method, path, query
        now = datetime.now(UTC)
        time_text = now.strftime("%Y%m%dT%H%M%SZ")
        body_hash = body_hash or hashlib.sha256(b"").hexdigest()
        self.headers = {
            "host": self.where.netloc,
            "x-amz-date": time_text,
            "x-amz-content-sha256": body_hash,
            **{name.replace("_", "-"): value for name, value in headers.items()},
        }
        names = tuple(sorted(self.headers))
        claim = Claim(
            account.access_key_id, now, time_text, time_text[:8], "us-east-1", "s3", names, "", False, None, None
        )
        request = Request(method, path, query, tuple(self.headers.items()), b"", "")
        signature = sign(request, claim, account.secret_access_key, body_hash)
        self.headers["authorization"] = (
            f"{ALGORITHM} Credential={account.access_key_id}/{claim.scope}, "
            f"SignedHeaders={';'.join(names)}, Signature={signature}"
        )
        key = signing_key(account.secret_access_key, claim.date, claim.region, "s3")
        self.signer = ChunkSigner(key, time_text, claim.scope, signature)

    def chunk(self, data: bytes) -> bytes:
        """The next chunk of a signed body."""
        signature = self.signer.chunk(hashlib.sha256(data).hexdigest())
        return b"%x;chunk-signature=%b\r\n" % (len(data), signature.encode()) + (data + b"\r\n" if data else b"")

    def trailer(self, name: str, value: str) -> bytes:
        """The end of a signed body with a trailer."""
        line = f"{name}:{value}\n".encode()
        signature = self.signer.trailer(hashlib.sha256(line).hexdigest())
        return f"{name}:{value}\r\nx-amz-trailer-signature:{signature}\r\n".encode()

    def send(self, body: bytes = b"", length: int | None = None) -> tuple[int, bytes]:
        """Send it; a shorter body than `length` is cut off there. Give the status, 0 for none, and the answer."""
        with contextlib.closing(
            http.client.HTTPConnection(self.where.hostname or "", self.where.port, timeout=60)
        ) as http_:
            http_.putrequest(
                self.method,
                self.path + (f"?{self.query}" if self.query else ""),
                skip_host=True,
                skip_accept_encoding=True,
            )
            for name, value in {**self.headers, "content-length": str(len(body) if length is None else length)}.items():
                http_.putheader(name, value)
            http_.endheaders()
            http_.send(body)
            if length is not None and length > len(body):
                return 0, b""
            answer = http_.getresponse()
            return answer.status, answer.read()
