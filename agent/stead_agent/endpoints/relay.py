"""Relay guests' connections to a controller: TLS with the host's certificate, one line first, then their bytes.

The line contains the endpoint, the guest's address and the port; the guest cannot influence it. The controller
answers with a line, `ok` or an error, and only then are the guest's bytes sent. The guest's traffic may be TLS
itself: it is relayed unchanged. `aws/endpoint_arrivals.py` of the controller is the other end.
"""

import asyncio
import json
import logging
import socket
import ssl
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

from stead_proto.tls import CONTROLLER_NAME

log = logging.getLogger("stead_agent.endpoints")

MOST_OF_ONE: Final = 256  # connections of one guest at a time
_MOST: Final = 4096  # of all
_DIAL_SECONDS: Final = 15.0  # a controller may be busy; one that is not running refuses at once
_ANSWER_SECONDS: Final = 20.0
_SILENCE_SECONDS: Final = 10.0  # of the controller, after the guest has closed its sending side
_PIECE: Final = 1 << 18


@dataclass(frozen=True, slots=True)
class Way:
    """How controllers are reached: their names or addresses, tried in order, and the TLS context to use."""

    controllers: tuple[str, ...]
    context: Callable[[], ssl.SSLContext]  # of the host's certificate, which may have been renewed


class NoControllerError(Exception):
    """No controller accepted a connection."""


class Relay:
    """Relays the connections of one endpoint; belongs to the event loop that it is created on."""

    def __init__(self, endpoint_id: str, controller_port: int, way: Way) -> None:
        self._endpoint_id = endpoint_id
        self._controller_port = controller_port
        self._way = way
        self._servers: list[asyncio.Server] = []
        self._open: Counter[str] = Counter()
        self._carrying: set[asyncio.Task[None]] = set()

    async def listen(self, listeners: Sequence[socket.socket]) -> None:
        """Accept connections on these sockets, of any namespace."""
        for listener in listeners:
            self._servers.append(await asyncio.start_server(self._take, sock=listener, limit=_PIECE))

    async def close(self) -> None:
        """Accept no more connections, and close the existing ones."""
        for server in self._servers:
            server.close()
        for task in list(self._carrying):
            task.cancel()
        await asyncio.gather(*self._carrying, return_exceptions=True)

    async def _take(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Relay one connection until either end closes it."""
        task = asyncio.current_task()
        if task is None:
            raise AssertionError("no task")
        source, port = writer.get_extra_info("peername")[0], writer.get_extra_info("sockname")[1]
        if self._open[source] >= MOST_OF_ONE or len(self._carrying) >= _MOST:
            writer.transport.abort()
            return
        self._open[source] += 1
        self._carrying.add(task)
        try:
            await self._carry(reader, writer, source, port)
        except (OSError, NoControllerError, TimeoutError) as failure:
            log.info("%s: a connection of %s ended: %s", self._endpoint_id, source, failure)
            writer.transport.abort()
        finally:
            writer.close()
            self._carrying.discard(task)
            self._open[source] -= 1
            if not self._open[source]:
                del self._open[source]

    async def _carry(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, source: str, port: int) -> None:
        """Relay in both directions; raises OSError, TimeoutError, NoControllerError."""
        there_reader, there_writer = await self._dial(source, port)
        asking, answering = _Pump(reader, there_writer), _Pump(there_reader, writer)
        try:
            async with asyncio.TaskGroup() as group:
                answers = group.create_task(answering.run())
                questions = group.create_task(asking.run())
                await asyncio.wait({questions, answers}, return_when=asyncio.FIRST_COMPLETED)
                # A guest that has closed its sending side may still wait for the answer.
                before = -1
                while not answers.done() and answering.carried != before:
                    before = answering.carried
                    await asyncio.wait({answers}, timeout=_SILENCE_SECONDS)
                questions.cancel()
                answers.cancel()
        except* OSError as failures:
            raise OSError(str(failures.exceptions[0])) from None
        finally:
            there_writer.transport.abort()

    async def _dial(self, source: str, port: int) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        """Connect to the first controller that accepts; raises NoControllerError."""
        said = {"endpoint": self._endpoint_id, "source": source, "port": port}
        reasons = []
        for controller in self._way.controllers:
            try:
                async with asyncio.timeout(_DIAL_SECONDS):
                    reader, writer = await asyncio.open_connection(
                        controller,
                        self._controller_port,
                        ssl=self._way.context(),
                        server_hostname=CONTROLLER_NAME,
                        limit=_PIECE,
                    )
            except (OSError, TimeoutError) as failure:  # TLS errors too: ssl.SSLError is an OSError
                reasons.append(f"{controller}: {failure!r}")
                continue
            try:
                writer.write(json.dumps(said).encode() + b"\n")
                async with asyncio.timeout(_ANSWER_SECONDS):
                    answer = await reader.readline()
            except (OSError, TimeoutError) as failure:
                answer = repr(failure).encode()
            if answer == b"ok\n":
                return reader, writer
            writer.transport.abort()
            reasons.append(f"{controller}: {answer.decode(errors='replace').strip() or 'ended'}")
        raise NoControllerError("; ".join(reasons) or "none is known")


class _Pump:
    """Relays bytes in one direction, and counts them."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer
        self.carried = 0

    async def run(self) -> None:
        """Relay until the end of the stream."""
        while piece := await self._reader.read(_PIECE):
            self._writer.write(piece)
            self.carried += len(piece)
            await self._writer.drain()
