"""A session at a serial port that the controller ends while the guest says nothing."""

import asyncio
import os
import pty
from collections.abc import AsyncIterator
from typing import Any

import grpc

from stead_agent import console_session
from stead_proto.v1 import host_pb2_grpc
from stead_proto.v1.host_pb2 import ConsoleKeys, ConsoleText


class _Controller(host_pb2_grpc.HostLinkServicer):
    """Types two keys, and ends the session."""

    async def Console(self, said: AsyncIterator[ConsoleText], _context: Any) -> AsyncIterator[ConsoleKeys]:  # noqa: N802 - as generated
        await anext(said)
        yield ConsoleKeys(content=b"hi")


async def _session(terminal: int) -> set[str]:
    """Serve a session; return the names of what still runs after it and does not end by itself."""
    server = grpc.aio.server()
    controller = _Controller()  # type: ignore[abstract]  # nothing else is called
    host_pb2_grpc.add_HostLinkServicer_to_server(controller, server)
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    async with grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel:
        await console_session.serve(host_pb2_grpc.HostLinkStub(channel), "session", terminal)
    await server.stop(None)
    left = asyncio.all_tasks() - {asyncio.current_task()}
    if left:
        await asyncio.wait(left, timeout=1)
    return {str(each) for each in left if not each.done()}


def test_nothing_of_it_is_left() -> None:
    ours, guests = pty.openpty()
    os.set_blocking(ours, False)
    assert asyncio.run(_session(ours)) == set()
    os.close(guests)
