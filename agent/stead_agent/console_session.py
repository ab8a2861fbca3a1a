"""A session at a guest's serial port: bytes between its terminal and a call of the controller, both ways.

terminal -> readable -> ConsoleText ->      what the guest writes; a controller that is slow misses some of it
terminal <- written  <- ConsoleKeys <-      what is typed; it waits for a guest, but not for one that does not read
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
_DEAF_SECONDS: Final = 10.0  # a guest that reads nothing for so long misses what is typed meanwhile


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
        self._is_deaf = False
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
        """Write it as fast as the guest reads; what is left when it does not is lost. OSError when its end is gone.

        Else a guest could keep the session, and what is still to be typed in it, for as long as it lives.
        """
        while content:
            try:
                content = content[os.write(self._terminal, content) :]
                self._is_deaf = False
            except BlockingIOError:
                if self._is_deaf or not await self._has_room():
                    return

    async def _has_room(self) -> bool:
        has_room = asyncio.Event()
        self._loop.add_writer(self._terminal, has_room.set)
        try:
            async with asyncio.timeout(_DEAF_SECONDS):
                await has_room.wait()
        except TimeoutError:
            self._is_deaf = True
        finally:
            self._loop.remove_writer(self._terminal)
        return not self._is_deaf

    def close(self) -> None:
        if self._is_open:
            self._is_open = False
            self._loop.remove_reader(self._terminal)
            self.pieces.put_nowait(b"")  # else who takes them would wait for ever, unseen
            with contextlib.suppress(OSError):  # its other end is gone
                os.close(self._terminal)
