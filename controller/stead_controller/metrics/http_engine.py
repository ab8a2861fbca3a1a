"""Requests to an engine by HTTP."""

import base64
import socket
import ssl
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Final

import aiohttp

from stead_controller.metrics.datum import MetricsUnavailable

WRITE_PATH: Final = "/api/v1/write"
"""Where the engine takes samples by the remote-write protocol; a part of the endpoint's URL may come before it."""

_AT_ONCE: Final = 4
_CONNECT_SECONDS: Final = 5.0
_SECONDS: Final = 30.0
_MOST_TEXT: Final = 300


class NoAnswer(MetricsUnavailable):
    """The connection failed, or was cut off."""


class Refused(MetricsUnavailable):
    """It answered with an HTTP status that means failure, or a redirection."""

    def __init__(self, status: int, detail: str) -> None:
        """Store the status."""
        super().__init__(detail)
        self.status = status


class HttpEngine:
    """An engine at a URL, to which paths are appended."""

    def __init__(
        self,
        url: str,
        *,
        token: str = "",
        ca_file: Path | None = None,
        take_socket: Callable[[aiohttp.AddrInfoType], socket.socket] | None = None,
    ) -> None:
        """Set where it is; raises OSError for a `ca_file` that is not the certificate of its authority, in PEM.

        `token` is a bearer token or USER:PASSWORD, `take_socket` returns a socket in the engine's network.
        """
        self._trust = True if ca_file is None else ssl.create_default_context(cafile=str(ca_file))
        self._url = url
        self._authorization = {"Authorization": _authorization(token)} if token else {}
        self._take_socket = take_socket
        self._session: aiohttp.ClientSession | None = None

    async def post(self, path: str, body: bytes, headers: Mapping[str, str]) -> bytes:
        """Send a body, and return that of the answer; raises MetricsUnavailable."""
        if self._session is None:
            self._session = aiohttp.ClientSession(
                connector=aiohttp.TCPConnector(
                    limit=_AT_ONCE, socket_factory=self._take_socket, keepalive_timeout=3600, ssl=self._trust
                ),
                timeout=aiohttp.ClientTimeout(total=_SECONDS, sock_connect=_CONNECT_SECONDS),
                trust_env=False,
                cookie_jar=aiohttp.DummyCookieJar(),
                headers=self._authorization,
            )
        try:
            async with self._session.post(
                self._url + path, data=body, headers=headers, allow_redirects=False
            ) as answer:
                content = await answer.read()
                if answer.status >= 300:
                    text = content.decode("utf-8", "replace")[:_MOST_TEXT]
                    raise Refused(answer.status, f"{self._url}{path} answers {answer.status}: {text}")
                return content
        except (aiohttp.ClientError, OSError, TimeoutError) as error:
            raise NoAnswer(f"{self._url} does not answer: {type(error).__name__}: {error}") from error

    async def show_written(self) -> None:
        """Do nothing: when an engine of others shows what was written is its own matter."""

    async def close(self) -> None:
        """Close connections."""
        if self._session is not None:
            await self._session.close()
            self._session = None


def _authorization(token: str) -> str:
    """Return the header's value: Basic for USER:PASSWORD (RFC 7617); no bearer token has a colon (RFC 6750, 2.1)."""
    if ":" in token:
        return f"Basic {base64.b64encode(token.encode()).decode('ascii')}"
    return f"Bearer {token}"
