"""Posts messages to URLs that users gave, and connects to no address that they should not reach.

The address is checked in the place where its socket is made, so there is no second look-up that could find another one.
Redirects are not followed, and no more of an answer is read than its status.
"""

import socket
import ssl
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

import aiohttp

from stead_controller.resources.notifications import endpoints
from stead_controller.resources.notifications.deliveries import Outcome

SECONDS: Final = 15.0
"""How long an attempt may take in all, as in SNS."""

_TOO_MANY: Final = 429


class _ForbiddenError(OSError):
    """An address that must not be connected to."""


class Webhooks:
    """A sender; `networks` may be reached beside public addresses."""

    def __init__(self, networks: Sequence[str], ca_file: Path | None, seconds: float = SECONDS) -> None:
        """Set what may be reached; the authorities in `ca_file` are trusted beside the system's."""
        self._networks = networks
        self._ca_file = ca_file
        self._seconds = seconds
        self._tls: ssl.SSLContext | None = None

    async def post(self, url: str, headers: Mapping[str, str], body: bytes, *, plain: bool) -> tuple[Outcome, str]:
        """Send a message; returns what came of it, and why in words that have nothing of the URL."""

        def socket_of(info: aiohttp.AddrInfoType) -> socket.socket:
            if not endpoints.may_connect(str(info[4][0]), self._networks, plain=plain):
                raise _ForbiddenError("the address may not be connected to")
            return socket.socket(*info[:3])

        connector = aiohttp.TCPConnector(
            ssl=self._context(), socket_factory=socket_of, force_close=True, use_dns_cache=False, resolver=None
        )
        try:
            async with (
                aiohttp.ClientSession(
                    connector=connector,
                    timeout=aiohttp.ClientTimeout(total=self._seconds),
                    trust_env=False,
                    cookie_jar=aiohttp.DummyCookieJar(),
                    auto_decompress=False,
                ) as session,
                session.post(url, data=body, headers=headers, allow_redirects=False) as answer,
            ):
                return _outcome(answer.status)
        except (aiohttp.ClientError, OSError, TimeoutError, ValueError) as error:
            return Outcome.FAILED, _reason(error)

    def _context(self) -> ssl.SSLContext:
        if self._tls is None:
            self._tls = ssl.create_default_context()
            if self._ca_file is not None:
                self._tls.load_verify_locations(cafile=self._ca_file)
        return self._tls


def _outcome(status: int) -> tuple[Outcome, str]:
    """Judge a status: what the receiver says of the message itself is final."""
    if 200 <= status < 300:
        return Outcome.DELIVERED, ""
    return (Outcome.FAILED if status >= 500 or status == _TOO_MANY else Outcome.REFUSED), f"status {status}"


def _reason(error: BaseException) -> str:
    found: BaseException | None = error
    while found is not None:
        if isinstance(found, _ForbiddenError):
            return str(found)
        found = getattr(found, "os_error", None) or found.__cause__
    return type(error).__name__
