"""Connections through VPC endpoints: hosts forward those of their guests, each with a line that identifies the guest.

The host shows its certificate, so the line comes from the host and not from a guest: it says which endpoint, which
private address and which port. After the answer `ok` the connection is the guest's, which may start TLS in it.
`agent/stead_agent/endpoints/relay.py` is the other end.
"""

import asyncio
import ipaddress
import json
import logging
import ssl
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any, Final

from stead_controller.resources.network.vpc_endpoint_access import Via
from stead_proto.tls import Peer, PeerKind, UnknownPeerError

log = logging.getLogger(__name__)

_LINE_SECONDS: Final = 20.0
_MOST_LINE: Final = 1024

type ContextOf = Callable[[Via], Awaitable[ssl.SSLContext]]
"""Returns the TLS context for a guest's connection through an endpoint; raises OSError."""

type Admit = Callable[[str, str], Awaitable[Via | None]]
"""Returns the endpoint that a host names, None if it is not one of the host's."""


@dataclass(frozen=True, slots=True)
class Arrived:
    """Where a guest's connection came from."""

    via: Via
    source: str  # its private address
    is_secure: bool  # the guest speaks TLS

    @property
    def counted_as(self) -> str:
        """A text by which connections are counted; it distinguishes guests with the same private address."""
        return f"{self.via.vpc_id} {self.source}"


@dataclass(frozen=True, slots=True)
class EndpointListener:
    """Where hosts forward connections through endpoints; those to `ports` use TLS, all others do not."""

    host: str
    port: int
    hosts_tls: ssl.SSLContext  # demands a host's certificate
    context_of: ContextOf
    ports: frozenset[int]
    admit: Admit


class Arrival(asyncio.Protocol):
    """A connection whose guest is not known yet; `accept` returns the protocol for the guest's connection."""

    def __init__(self, listener: EndpointListener, accept: Callable[[Arrived], asyncio.Protocol]) -> None:
        """Prepare to wait for the host's line."""
        self._listener = listener
        self._accept = accept
        self._received = bytearray()
        self._transport: asyncio.Transport | None = None
        self._deadline: asyncio.TimerHandle | None = None
        self._admitting: asyncio.Task[None] | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Start the time limit for the line."""
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        self._deadline = asyncio.get_running_loop().call_later(_LINE_SECONDS, transport.abort)

    def data_received(self, data: bytes) -> None:
        """Receive the line; no data may follow it before the answer."""
        if self._transport is None:
            return
        self._received += data
        if len(self._received) > _MOST_LINE or self._admitting is not None:
            self._transport.abort()
        elif self._received.endswith(b"\n"):
            self._admitting = asyncio.get_running_loop().create_task(self._admit(self._transport))

    def connection_lost(self, exc: Exception | None) -> None:
        """Cancel the time limit."""
        del exc
        if self._deadline is not None:
            self._deadline.cancel()

    async def _admit(self, transport: asyncio.Transport) -> None:
        """Look up the guest, and make this the guest's connection."""
        try:
            arrived = await self._read(transport)
            tls = await self._listener.context_of(arrived.via) if arrived is not None and arrived.is_secure else None
        except (ValueError, KeyError, TypeError, UnknownPeerError, OSError) as failure:
            log.warning("endpoint_arrival_refused", extra={"reason": str(failure)})
            arrived = None
        if arrived is None:
            transport.write(b"no such endpoint of this host\n")
            transport.close()
            return
        if self._deadline is not None:
            self._deadline.cancel()
        if transport.is_closing():
            return
        protocol = self._accept(arrived)
        transport.write(b"ok\n")
        if tls is None:
            transport.set_protocol(protocol)
            protocol.connection_made(transport)
            return
        try:
            loop = asyncio.get_running_loop()
            inner = await loop.start_tls(transport, protocol, tls, server_side=True)
        except (OSError, TimeoutError) as failure:  # the guest does not speak TLS, or has disconnected
            log.info("endpoint_tls_failed", extra={"reason": str(failure)})
            transport.abort()
            protocol.connection_lost(None)
            return
        if inner is not None:
            protocol.connection_made(inner)

    async def _read(self, transport: asyncio.Transport) -> Arrived | None:
        said = json.loads(self._received)
        source, port = str(ipaddress.IPv4Address(said["source"])), int(said["port"])
        via = await self._listener.admit(host_of(transport.get_extra_info("peercert")), str(said["endpoint"]))
        return None if via is None else Arrived(via, source, port in self._listener.ports)


def host_of(certificate: dict[str, Any] | None) -> str:
    """Return the id of the host that a certificate names; raises UnknownPeerError."""
    names = [value for kind, value in (certificate or {}).get("subjectAltName", ()) if kind == "URI"]
    if len(names) != 1:
        raise UnknownPeerError(f"a certificate with {len(names)} names of ours")
    peer = Peer.from_uri(names[0])
    if peer.kind is not PeerKind.HOST:
        raise UnknownPeerError(f"{peer.uri} is no host")
    return peer.name
