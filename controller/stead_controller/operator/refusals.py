"""What a call's handler raises of our errors ends the call with the status that the error has in gRPC."""

from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
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
from stead_controller.operator.around_calls import AroundCalls, Context
from stead_proto.refusals import MARK
from stead_proto.v1 import compute_pb2, host_pb2, operator_pb2

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


class Refusals(AroundCalls):
    """Refuses calls of operators, of machines that enrol and of the native API with what their handlers raise."""

    def __init__(self) -> None:
        """Wrap all of them."""
        files = (operator_pb2.DESCRIPTOR, compute_pb2.DESCRIPTOR)
        services = [one.full_name for file in files for one in file.services_by_name.values()]
        super().__init__(frozenset((*services, host_pb2.DESCRIPTOR.services_by_name["Enrolment"].full_name)))

    @asynccontextmanager
    async def around(self, name: str, request: Any, context: Context) -> AsyncIterator[None]:
        """End a call that raises one of our errors."""
        del name, request
        try:
            yield
        except SteadError as error:
            await _refuse(context, error)


@contextmanager
def partly_done() -> Iterator[None]:
    """Be entered once a call has changed something: that the database does not answer must not deny it."""
    try:
        yield
    except Unavailable as error:
        raise Unavailable(is_known=False) from error


async def _refuse(context: Context, error: SteadError) -> NoReturn:
    """End a call with the gRPC status of one of our errors and its message."""
    for kind, status in _STATUS:
        if isinstance(error, kind):
            await context.abort(status, error.message, MARK)
    await context.abort(grpc.StatusCode.UNKNOWN, error.message)
