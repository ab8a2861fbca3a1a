"""Options of gRPC: each is one that gRPC knows, and the server allows the pings that its hosts send."""

import asyncio
from pathlib import Path

import grpc
from grpc._cython import cygrpc

from stead_proto import limits


def test_grpc_knows_each_option():
    """It takes any name, and does nothing for those that it does not know."""
    program = Path(cygrpc.__file__).read_bytes()
    options = [
        *limits.channel_options(),
        *limits.channel_options(watchful=True),
        *limits.quick_options(),
        *limits.server_options(),
    ]
    assert [name for name, _ in options if f"{name}\0".encode() not in program] == []


async def test_a_watchful_session_on_which_nothing_is_said_goes_on():
    """Its pings are not too many: a server of gRPC ends a connection by its third that came too soon, after 3.7 s."""
    server = grpc.aio.server(options=limits.server_options())
    server.add_generic_rpc_handlers((_Waiting(),))
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    try:
        async with grpc.aio.insecure_channel(
            f"127.0.0.1:{port}", options=limits.channel_options(watchful=True)
        ) as channel:
            call = channel.stream_stream("/it/waits")()
            await call.wait_for_connection()
            done, _ = await asyncio.wait([asyncio.ensure_future(call.read())], timeout=5.0)
            assert not done, await call.details()
            call.cancel()
    finally:
        await server.stop(None)


class _Waiting(grpc.GenericRpcHandler):
    """Says nothing until the call ends."""

    def service(self, _details):
        """Answer each call so."""

        async def wait(_messages, context):
            await context.send_initial_metadata(())
            await asyncio.Event().wait()

        return grpc.stream_stream_rpc_method_handler(wait)
