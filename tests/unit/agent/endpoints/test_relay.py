"""How many connections one guest has at a time, and what becomes of those that no controller takes."""

import asyncio
import socket
import ssl

import pytest

from stead_agent.endpoints import relay
from stead_agent.endpoints.relay import Relay, Way

ENDPOINT = "vpce-0123456789abcdef0"


async def _is_cut_off(reader: asyncio.StreamReader, seconds: float) -> bool:
    try:
        return await asyncio.wait_for(reader.read(1), seconds) == b""
    except ConnectionResetError:
        return True
    except TimeoutError:
        return False


async def test_one_guest_has_so_many(monkeypatch: pytest.MonkeyPatch) -> None:
    """One more is cut off at once, and the others go on; one that has ended makes room."""
    monkeypatch.setattr(relay, "MOST_OF_ONE", 2)
    with socket.create_server(("127.0.0.1", 0)) as stalled:
        way = Way(("127.0.0.1",), ssl.create_default_context)
        carried = Relay(ENDPOINT, stalled.getsockname()[1], way)
        listener = socket.create_server(("127.0.0.1", 0))
        port = listener.getsockname()[1]
        await carried.listen([listener])
        ends = [await asyncio.open_connection("127.0.0.1", port) for _ in range(2)]
        third, last = await asyncio.open_connection("127.0.0.1", port)
        assert await _is_cut_off(third, 10)
        assert not await _is_cut_off(ends[0][0], 0.1)
        await carried.close()
        for _, writer in (*ends, (third, last)):
            writer.close()


async def test_without_a_controller_a_connection_ends() -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        nobody = free.getsockname()[1]
    carried = Relay(ENDPOINT, nobody, Way(("127.0.0.1",), ssl.create_default_context))
    listener = socket.create_server(("127.0.0.1", 0))
    await carried.listen([listener])
    reader, writer = await asyncio.open_connection("127.0.0.1", listener.getsockname()[1])
    assert await _is_cut_off(reader, 10)
    writer.close()
    await carried.close()
