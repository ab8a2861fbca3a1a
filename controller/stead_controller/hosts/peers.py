"""Identifies who calls a service that is for hosts, or for other controllers, alone."""

from typing import Any

import grpc

from stead_proto import tls


async def require_host(context: grpc.aio.ServicerContext[Any, Any]) -> str:
    """Return the id of the host whose certificate the peer presented; ends the call for any other peer."""
    return await _require(context, tls.PeerKind.HOST)


async def require_controller(context: grpc.aio.ServicerContext[Any, Any]) -> None:
    """End the call of any peer that is no other controller of this cloud."""
    await _require(context, tls.PeerKind.CONTROLLER)


async def _require(context: grpc.aio.ServicerContext[Any, Any], kind: tls.PeerKind) -> str:
    try:
        peer = tls.peer_of(context)
    except tls.UnknownPeerError:
        await context.abort(grpc.StatusCode.UNAUTHENTICATED, "no certificate of this cloud")
    if peer.kind is not kind:
        await context.abort(grpc.StatusCode.PERMISSION_DENIED, f"this service is for {kind.value}s")
    return peer.name
