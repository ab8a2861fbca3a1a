"""The S3 server behind: which parts of a request it receives, signed with a key that only we have."""

import asyncio
import contextlib
import re
import ssl
import time
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Final, Protocol
from urllib.parse import quote, urlsplit

import aiohttp
from yarl import URL

from stead_controller.aws.protocol.message import Request
from stead_controller.aws.signature import ALGORITHM, S3, UNSIGNED_PAYLOAD, Claim, sign
from stead_controller.object_store.deleted_prefixes import DeletedPrefixes

ENCRYPTED: Final = {"x-amz-server-side-encryption": "AES256"}
"""Header of requests for objects that must be encrypted (SSE-S3), and of their answers."""

_BUFFER: Final = 1 << 18
_AT_ONCE: Final = 128
_REFUSED: Final = frozenset({400, 501})  # for features that a server does not have
_PAUSE_SECONDS: Final = 0.2
_CONNECT_SECONDS: Final = 10.0
_SILENCE_SECONDS: Final = 300.0
_READING: Final = frozenset({"GET", "HEAD"})

type Writing = Callable[[str], AbstractAsyncContextManager[None]]
"""Makes what is entered while the bucket of this name, as the server knows it, is written to."""


def _unwatched(backend_name: str) -> AbstractAsyncContextManager[None]:
    del backend_name
    return contextlib.nullcontext()


@dataclass(frozen=True, slots=True)
class ServerAddress:
    """Where a server listens: its URL, its Unix socket if it has one, and the access key that it accepts.

    `encrypts` is whether it encrypts objects on request; None if that must be probed. `ca_file` has the authority of
    its certificate, if browsers do not trust that.
    """

    url: str
    region: str
    key_id: str
    secret: str = field(repr=False)
    socket: str = ""
    encrypts: bool | None = None
    ca_file: Path | None = None


class Server(Protocol):
    """A server that is started or located on demand."""

    async def place(self) -> ServerAddress:
        """Return where it listens, after starting it if necessary; raises BackendError."""

    def close(self) -> None:
        """Release it; the process keeps running."""


class BackendError(Exception):
    """The server behind cannot be reached; the message is for the operator."""


@dataclass(frozen=True, slots=True)
class Ask:
    """One request to the server behind; `path` is percent-encoded, `body` is streamed when it is an iterator."""

    method: str
    path: str
    query: Sequence[tuple[str, str]] = ()
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes | AsyncIterator[bytes] | None = None
    body_hash: str = UNSIGNED_PAYLOAD


class Backend:
    """Sends requests to a server over pooled connections."""

    def __init__(self, server: Server, writing: Writing = _unwatched) -> None:
        """Take the server, and what is entered while a bucket is written to; no request is sent yet."""
        self._server = server
        self._writing = writing
        self.deleted = DeletedPrefixes()
        self._session: aiohttp.ClientSession | None = None
        self._socket = ""
        self._encrypts: bool | None = None

    async def encrypts(self, path: str) -> bool:
        """Tell whether the server encrypts objects sent with ENCRYPTED; raises BackendError.

        If its settings do not say, it is probed once by a part of an upload below a bucket's path, which is aborted.
        """
        known = (await self._server.place()).encrypts
        if known is None and self._encrypts is None:
            self._encrypts = await self._try_encryption(f"{path}/encryption-probe")
        return bool(known if known is not None else self._encrypts)

    async def _try_encryption(self, path: str) -> bool:
        begun = await self.send(Ask("POST", path, [("uploads", "")], ENCRYPTED))
        async with begun:
            text = await _text_of(begun)
        upload = re.search("<UploadId>([^<]+)</UploadId>", text)
        if begun.status in _REFUSED:
            return False
        if upload is None:
            raise BackendError(f"whether it encrypts is unknown: {begun.status} {text[:200]}")
        ours = ("uploadId", upload[1])
        try:
            # Some, such as SeaweedFS, say it of parts alone.
            async with await self.send(Ask("PUT", path, [("partNumber", "1"), ours], body=b"1")) as part:
                await _text_of(part)
        finally:
            async with await self.send(Ask("DELETE", path, [ours])) as ended:
                await _text_of(ended)
        [(name, value)] = ENCRYPTED.items()
        return value in {begun.headers.get(name), part.headers.get(name)}

    async def send(self, ask: Ask) -> aiohttp.ClientResponse:
        """Send a request, and return the answer, whose body is still unread; raises BackendError.

        Repeatable requests are retried once: the connection may have belonged to a server that has just exited.
        """
        if ask.method in _READING:
            return await self._send_twice(ask)
        async with self._writing(ask.path.split("/")[1]):
            try:
                return await self._send_twice(ask)
            finally:
                if ask.method == "DELETE" or ("delete", "") in ask.query:
                    self.deleted.note(ask.path, ask.body, time.monotonic())

    async def _send_twice(self, ask: Ask) -> aiohttp.ClientResponse:
        try:
            return await self._send(ask)
        except BackendError:
            if ask.method == "POST" or not isinstance(ask.body, bytes | None):
                raise
        await asyncio.sleep(_PAUSE_SECONDS)  # so that a server that is exiting has exited and is found to be gone
        return await self._send(ask)

    async def _send(self, ask: Ask) -> aiohttp.ClientResponse:
        place = await self._server.place()
        session = await self._session_for(place)
        query = "&".join(f"{quote(name, safe='-_.~')}={quote(value, safe='-_.~')}" for name, value in sorted(ask.query))
        url = place.url + ask.path + (f"?{query}" if query else "")
        try:
            return await session.request(
                ask.method,
                URL(url, encoded=True),
                headers=_signed(place, ask, query, datetime.now(UTC)),
                data=ask.body,
                allow_redirects=False,
            )
        except (aiohttp.ClientError, OSError, TimeoutError) as error:
            raise BackendError(f"{ask.method} at {place.url}: {type(error).__name__}: {error}") from error

    async def close(self) -> None:
        """Close the connections, and release the server."""
        await self._close_session()
        self._server.close()

    async def _close_session(self) -> None:
        if self._session is not None:
            await self._session.close()
            self._session = None

    async def _session_for(self, place: ServerAddress) -> aiohttp.ClientSession:
        if self._session is not None and self._socket != place.socket:
            await self._close_session()
        if self._session is None:
            self._socket = place.socket
            connector = (
                aiohttp.UnixConnector(place.socket, limit=_AT_ONCE)
                if place.socket
                else aiohttp.TCPConnector(limit=_AT_ONCE, ssl=_trust(place))
            )
            self._session = aiohttp.ClientSession(
                connector=connector,
                auto_decompress=False,
                read_bufsize=_BUFFER,
                skip_auto_headers=("User-Agent", "Accept", "Accept-Encoding", "Content-Type"),
                timeout=aiohttp.ClientTimeout(total=None, sock_connect=_CONNECT_SECONDS, sock_read=_SILENCE_SECONDS),
                trust_env=False,
                cookie_jar=aiohttp.DummyCookieJar(),
            )
        return self._session


def _trust(place: ServerAddress) -> ssl.SSLContext | bool:
    return ssl.create_default_context(cafile=place.ca_file) if place.ca_file else True


async def _text_of(answer: aiohttp.ClientResponse) -> str:
    try:
        return (await answer.read()).decode("utf-8", "replace")
    except (aiohttp.ClientError, OSError, TimeoutError) as error:
        raise BackendError(f"an answer of the server behind was cut off: {error}") from error


def _signed(place: ServerAddress, ask: Ask, query: str, now: datetime) -> dict[str, str]:
    """Add the headers that sign a request to its headers."""
    time_text = now.strftime("%Y%m%dT%H%M%SZ")
    headers = {
        **ask.headers,
        "host": urlsplit(place.url).netloc,
        "x-amz-date": time_text,
        "x-amz-content-sha256": ask.body_hash,
    }
    names = tuple(sorted(name for name in headers if name == "host" or name.startswith("x-amz-")))
    claim = Claim(place.key_id, now, time_text, time_text[:8], place.region, S3, names, "", False, None, None)
    request = Request(ask.method, ask.path, query, tuple(headers.items()), b"", "")
    headers["authorization"] = (
        f"{ALGORITHM} Credential={place.key_id}/{claim.scope}, SignedHeaders={';'.join(names)}, "
        f"Signature={sign(request, claim, place.secret, ask.body_hash)}"
    )
    return headers
