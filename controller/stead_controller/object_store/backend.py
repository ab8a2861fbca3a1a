"""The S3 server behind: what of a request gets there, signed with the key that only we have."""

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Final, Protocol
from urllib.parse import quote, urlsplit

import aiohttp
from yarl import URL

from stead_controller.aws.protocol.message import Request
from stead_controller.aws.signature import ALGORITHM, S3, UNSIGNED_PAYLOAD, Claim, sign

_BUFFER: Final = 1 << 18
_AT_ONCE: Final = 128
_PAUSE_SECONDS: Final = 0.2
_CONNECT_SECONDS: Final = 10.0
_SILENCE_SECONDS: Final = 300.0


@dataclass(frozen=True, slots=True)
class Place:
    """Where a server answers: its URL, by a socket's file if it has one, and the key that it knows."""

    url: str
    region: str
    key_id: str
    secret: str = field(repr=False)
    socket: str = ""


class Server(Protocol):
    """A server that can be reached, once it has been asked for."""

    async def place(self) -> Place:
        """Give where it answers, having started it if need be; raises BackendError."""

    def close(self) -> None:
        """Let go of it; it runs on."""


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
    """Sends requests to a server, over connections that are kept."""

    def __init__(self, server: Server) -> None:
        """Take the server; nothing is sent yet."""
        self._server = server
        self._session: aiohttp.ClientSession | None = None
        self._socket = ""

    async def send(self, ask: Ask) -> aiohttp.ClientResponse:
        """Send a request, and give the answer, whose body is still to be read; raises BackendError.

        What may be sent twice is tried once more: the connection may have been one to a server that has just ended.
        """
        try:
            return await self._send(ask)
        except BackendError:
            if ask.method == "POST" or not isinstance(ask.body, bytes | None):
                raise
        await asyncio.sleep(_PAUSE_SECONDS)  # until a server that is ending has ended, and can be found to have
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
        """Close the connections, and let go of the server."""
        await self._close_session()
        self._server.close()

    async def _close_session(self) -> None:
        if self._session is not None:
            await self._session.close()
            self._session = None

    async def _session_for(self, place: Place) -> aiohttp.ClientSession:
        if self._session is not None and self._socket != place.socket:
            await self._close_session()
        if self._session is None:
            self._socket = place.socket
            connector = (
                aiohttp.UnixConnector(place.socket, limit=_AT_ONCE)
                if place.socket
                else aiohttp.TCPConnector(limit=_AT_ONCE)
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


def _signed(place: Place, ask: Ask, query: str, now: datetime) -> dict[str, str]:
    """Add to a request's headers those that prove that it is ours."""
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
