"""Rejects calls of the operators' services by any other caller before their handlers begin."""

from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import grpc

from stead_controller.operator.peers import require_operator

type _Context = grpc.aio.ServicerContext[Any, Any]


class OperatorsOnly(grpc.aio.ServerInterceptor):
    """Allows only operators, identified by their certificates, to call the given services, named in full."""

    def __init__(self, services: frozenset[str]) -> None:
        """Guard these services, and no others."""
        self._services = services

    async def intercept_service(
        self,
        continuation: Callable[[grpc.HandlerCallDetails], Awaitable[Any]],
        handler_call_details: grpc.HandlerCallDetails,
    ) -> Any:
        """Wrap the handler of a call with the check."""
        handler = await continuation(handler_call_details)
        _, service, _name = handler_call_details.method.split("/")
        if handler is None or service not in self._services:
            return handler
        codec = {
            "request_deserializer": handler.request_deserializer,
            "response_serializer": handler.response_serializer,
        }
        if handler.stream_stream is not None:
            return grpc.stream_stream_rpc_method_handler(_streaming(handler.stream_stream), **codec)
        if handler.unary_stream is not None:
            return grpc.unary_stream_rpc_method_handler(_streaming(handler.unary_stream), **codec)
        return grpc.unary_unary_rpc_method_handler(_single(handler.unary_unary), **codec)


def _single(inner: Any) -> Any:
    async def call(request: Any, context: _Context) -> Any:
        await require_operator(context)
        return await inner(request, context)

    return call


def _streaming(inner: Any) -> Any:
    async def call(request: Any, context: _Context) -> AsyncIterator[Any]:
        await require_operator(context)
        async for response in inner(request, context):
            yield response

    return call
