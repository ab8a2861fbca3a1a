"""Which host calls a service that is for hosts alone."""

from typing import Any

import grpc

from stead_proto import tls


async def require_host(context: grpc.aio.ServicerContext[Any, Any]) -> str:
    """Give the id of the host whose certificate the peer has shown; ends the call for anyone else."""
    try:
        peer = tls.peer_of(context)
    except tls.UnknownPeerError:
        await context.abort(grpc.StatusCode.UNAUTHENTICATED, "no certificate of this cloud")
    if peer.kind is not tls.PeerKind.HOST:
        await context.abort(grpc.StatusCode.PERMISSION_DENIED, "this service is for hosts")
    return peer.name
