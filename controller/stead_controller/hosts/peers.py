"""Identifies the host that calls a service reserved for hosts."""

from typing import Any

import grpc

from stead_proto import tls


async def require_host(context: grpc.aio.ServicerContext[Any, Any]) -> str:
    """Return the id of the host whose certificate the peer presented; ends the call for any other peer."""
    try:
        peer = tls.peer_of(context)
    except tls.UnknownPeerError:
        await context.abort(grpc.StatusCode.UNAUTHENTICATED, "no certificate of this cloud")
    if peer.kind is not tls.PeerKind.HOST:
        await context.abort(grpc.StatusCode.PERMISSION_DENIED, "this service is for hosts")
    return peer.name
