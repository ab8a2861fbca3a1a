"""A session at a guest's serial port: bytes between its terminal and a call of the controller, both ways.

terminal -> readable -> ConsoleText ->      what the guest writes; a controller that is slow misses some of it
terminal <- written  <- ConsoleKeys <-      what is typed; a guest that does not read makes it wait
"""

import asyncio
import contextlib
import os
from collections.abc import AsyncIterator
from typing import Final

import grpc

from stead_agent.logs import Log
from stead_proto.v1 import host_pb2_grpc
from stead_proto.v1.host_pb2 import ConsoleText

_log = Log(__name__)

_PIECE: Final = 4096
_MOST_PIECES: Final = 256  # that wait for the controller


async def serve(stub: "host_pb2_grpc.HostLinkAsyncStub", session_id: str, terminal: int) -> None:
    """Serve a session until either side ends it; closes the terminal. An error of the network ends it as well."""
    port = _Port(terminal)
    try:
        async for keys in stub.Console(_said(session_id, port)):
            await port.write(keys.content)
    except (grpc.aio.AioRpcError, OSError) as error:  # the controller went away, or the guest's machine
        _log.info("console_ended", reason=str(error))
    finally:
        port.close()


async def _said(session_id: str, port: "_Port") -> AsyncIterator[ConsoleText]:
    yield ConsoleText(session_id=session_id)
    while piece := await port.pieces.get():
        yield ConsoleText(content=piece)


class _Port:
    """An open terminal; an empty piece is its end."""

    def __init__(self, terminal: int) -> None:
        self._terminal = terminal
        self._loop = asyncio.get_running_loop()
        self._is_open = True
        self.pieces: asyncio.Queue[bytes] = asyncio.Queue()
        self._loop.add_reader(terminal, self._readable)

    def _readable(self) -> None:
        try:
            piece = os.read(self._terminal, _PIECE)
        except BlockingIOError:
            return
        except OSError:  # EIO: nobody has the other end any more
            piece = b""
        if not piece:
            self._loop.remove_reader(self._terminal)
        if not piece or self.pieces.qsize() < _MOST_PIECES:
            self.pieces.put_nowait(piece)

    async def write(self, content: bytes) -> None:
        """Write all of it, as fast as the guest reads; raises OSError when its end is gone."""
        while content:
            try:
                content = content[os.write(self._terminal, content) :]
            except BlockingIOError:
                await self._room()

    async def _room(self) -> None:
        has_room = asyncio.Event()
        self._loop.add_writer(self._terminal, has_room.set)
        try:
            await has_room.wait()
        finally:
            self._loop.remove_writer(self._terminal)

    def close(self) -> None:
        if self._is_open:
            self._is_open = False
            self._loop.remove_reader(self._terminal)
            self.pieces.put_nowait(b"")  # else who takes them would wait for ever, unseen
            with contextlib.suppress(OSError):  # its other end is gone
                os.close(self._terminal)
