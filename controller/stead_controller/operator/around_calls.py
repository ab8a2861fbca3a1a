"""Interceptors that do something around each call of some services, whether it streams or not."""

from abc import abstractmethod
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager
from typing import Any

import grpc

type Context = grpc.aio.ServicerContext[Any, Any]


class AroundCalls(grpc.aio.ServerInterceptor):
    """Runs each call of the given services, named in full, inside of what `around` gives."""

    def __init__(self, services: frozenset[str]) -> None:
        """Wrap the calls of these services, and of no others."""
        self._services = services

    @abstractmethod
    def around(
        self, name: str, request: Any, context: Context
    ) -> AbstractAsyncContextManager[Callable[[Any], None] | None]:
        """Return what a call runs in; the request is an iterator where the client streams.

        What it gives, if anything, is called with the answer of a call that does not stream.
        """

    async def intercept_service(
        self,
        continuation: Callable[[grpc.HandlerCallDetails], Awaitable[Any]],
        handler_call_details: grpc.HandlerCallDetails,
    ) -> Any:
        """Wrap the handler of a call."""
        handler = await continuation(handler_call_details)
        _, service, name = handler_call_details.method.split("/")
        if handler is None or service not in self._services:
            return handler
        codec = {
            "request_deserializer": handler.request_deserializer,
            "response_serializer": handler.response_serializer,
        }
        if handler.stream_stream is not None:
            return grpc.stream_stream_rpc_method_handler(self._streaming(name, handler.stream_stream), **codec)
        if handler.unary_stream is not None:
            return grpc.unary_stream_rpc_method_handler(self._streaming(name, handler.unary_stream), **codec)
        return grpc.unary_unary_rpc_method_handler(self._single(name, handler.unary_unary), **codec)

    def _single(self, name: str, inner: Any) -> Any:
        async def call(request: Any, context: Context) -> Any:
            async with self.around(name, request, context) as answered:
                response = await inner(request, context)
                if answered is not None:
                    answered(response)
                return response

        return call

    def _streaming(self, name: str, inner: Any) -> Any:
        async def call(request: Any, context: Context) -> AsyncIterator[Any]:
            async with self.around(name, request, context):
                async for response in inner(request, context):
                    yield response

        return call
