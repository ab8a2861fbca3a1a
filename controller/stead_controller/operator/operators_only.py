"""Calls of the operators' services by anybody else end before their handlers begin."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import grpc

from stead_controller.operator.around_calls import AroundCalls, Context
from stead_proto import tls


class OperatorsOnly(AroundCalls):
    """Allows only operators, identified by their certificates, to call the given services."""

    @asynccontextmanager
    async def around(self, name: str, request: Any, context: Context) -> AsyncIterator[None]:
        """End the call of anyone else."""
        del name, request
        try:
            peer = tls.peer_of(context)
        except tls.UnknownPeerError:
            await context.abort(grpc.StatusCode.UNAUTHENTICATED, "no certificate of this cloud")
        if peer.kind is not tls.PeerKind.OPERATOR:
            await context.abort(grpc.StatusCode.PERMISSION_DENIED, "this service is for operators")
        yield
