"""Who may call the operators' services."""

from typing import Any, NoReturn

import grpc

from stead_controller.errors import (
    AlreadyExists,
    BadRequest,
    InUse,
    LimitExceeded,
    NoCapacity,
    NotAuthenticated,
    NotAuthorized,
    NotFound,
    OutOfRoom,
    SteadError,
    TooManyRequests,
    Unavailable,
    WrongState,
)
from stead_proto import tls
from stead_proto.refusals import MARK

_STATUS = (
    (NotFound, grpc.StatusCode.NOT_FOUND),
    (AlreadyExists, grpc.StatusCode.ALREADY_EXISTS),
    (BadRequest, grpc.StatusCode.INVALID_ARGUMENT),
    (NotAuthenticated, grpc.StatusCode.UNAUTHENTICATED),
    (NotAuthorized, grpc.StatusCode.PERMISSION_DENIED),
    (LimitExceeded, grpc.StatusCode.RESOURCE_EXHAUSTED),
    (TooManyRequests, grpc.StatusCode.RESOURCE_EXHAUSTED),
    (NoCapacity, grpc.StatusCode.RESOURCE_EXHAUSTED),
    (OutOfRoom, grpc.StatusCode.UNAVAILABLE),
    (Unavailable, grpc.StatusCode.UNAVAILABLE),
    (WrongState, grpc.StatusCode.FAILED_PRECONDITION),
    (InUse, grpc.StatusCode.FAILED_PRECONDITION),
)


async def require_operator(context: grpc.aio.ServicerContext[Any, Any]) -> None:
    """End the call of any other caller."""
    try:
        peer = tls.peer_of(context)
    except tls.UnknownPeerError:
        await context.abort(grpc.StatusCode.UNAUTHENTICATED, "no certificate of this cloud")
    if peer.kind is not tls.PeerKind.OPERATOR:
        await context.abort(grpc.StatusCode.PERMISSION_DENIED, "this service is for operators")


async def refuse(context: grpc.aio.ServicerContext[Any, Any], error: SteadError) -> NoReturn:
    """End a call with the gRPC status of one of our errors and its message."""
    for kind, status in _STATUS:
        if isinstance(error, kind):
            await context.abort(status, error.message, MARK)
    await context.abort(grpc.StatusCode.UNKNOWN, error.message)
