"""A session at a serial port that the controller ends while the guest says nothing, and one of a guest that does not read."""

import asyncio
import os
import pty
import socket
from collections.abc import AsyncIterator
from typing import Any

import grpc
import pytest

from stead_agent import console_session
from stead_proto.v1 import host_pb2_grpc
from stead_proto.v1.host_pb2 import ConsoleKeys, ConsoleText

_MIB = 1 << 20


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


def test_a_guest_that_does_not_read_misses_what_is_typed_and_gets_all_of_it_when_it_does_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(console_session, "_DEAF_SECONDS", 0.01)
    ours, guests = socket.socketpair()
    for end in (ours, guests):
        end.setblocking(False)

    async def typed() -> bytes:
        port, got = console_session._Port(ours.detach()), b""
        async with asyncio.timeout(20):
            await port.write(b"x" * _MIB)
            monkeypatch.setattr(console_session, "_DEAF_SECONDS", 3600.0)
            await port.write(b"y" * _MIB)  # it is not waited for again
            while not got.endswith(b"z" * _MIB):
                if b"z" not in got:
                    got += guests.recv(2 * _MIB)
                    typing = asyncio.create_task(port.write(b"z" * _MIB))
                got += await asyncio.get_running_loop().sock_recv(guests, 2 * _MIB)
        await typing
        port.close()
        return got

    got = asyncio.run(typed())
    guests.close()
    assert (got.count(b"y"), got.count(b"z")) == (0, _MIB)
    assert 0 < got.count(b"x") < _MIB
