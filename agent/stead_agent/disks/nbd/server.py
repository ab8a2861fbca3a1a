"""A read-only NBD export on a unix socket, for an event loop; QEMU is its client.

Its clients may be processes of guests that broke out: the memory for each is bounded, and one that violates the
protocol is disconnected.
"""

import asyncio
import contextlib
import logging
import struct
from collections.abc import Sequence
from typing import Final, Protocol

from stead_proto.nbd import wire
from stead_proto.nbd.wire import Extent, NbdError

_log = logging.getLogger(__name__)

LARGEST_READ: Final = 4 << 20
"""The largest request; QEMU splits its requests accordingly."""

_IN_FLIGHT: Final = 16  # requests per connection
_CONTEXT: Final = 1
_HANDSHAKE_SECONDS: Final = 10.0
_FLAGS: Final = wire.FLAGS_KNOWN | wire.FLAG_READ_ONLY | wire.FLAG_MULTI_CONN


class Export(Protocol):
    """A disk to be exported."""

    size: int

    async def read(self, offset: int, length: int) -> bytes:
        """Read some bytes, as soon as they are there; OSError when they cannot be read."""

    def extents(self, offset: int, length: int) -> list[Extent]:
        """Return the extents of a range, without gaps, with those known to read as zeroes (`wire.IS_ZERO`)."""


class Connection:
    """One client; `run` returns when it has disconnected."""

    def __init__(self, export: Export, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._export = export
        self._reader = reader
        self._writer = writer
        self._structured = False
        self._context = False
        self._sending = asyncio.Lock()
        self._free = asyncio.Semaphore(_IN_FLIGHT)
        self._tasks: set[asyncio.Task[None]] = set()

    async def run(self) -> None:
        """Serve until the client disconnects; an error of the client ends the connection."""
        try:
            async with asyncio.timeout(_HANDSHAKE_SECONDS):
                wants = await self._shake_hands()
            while wants and await self._request():
                pass
        except (NbdError, TimeoutError, asyncio.IncompleteReadError, ConnectionError) as error:
            _log.debug("a client was hung up on: %s", error)
        finally:
            for task in self._tasks:
                task.cancel()
            self._writer.close()
            with contextlib.suppress(OSError):  # it has disconnected before
                await self._writer.wait_closed()

    # -- handshake

    async def _shake_hands(self) -> bool:
        """Do the handshake; tell whether the client wants to read."""
        flags = wire.FIXED_NEWSTYLE | wire.NO_ZEROES
        self._writer.write(wire.GREETING.pack(wire.GREETING_MAGIC, wire.OPTION_MAGIC, flags))
        (answered,) = wire.CLIENT_FLAGS.unpack(await self._reader.readexactly(wire.CLIENT_FLAGS.size))
        if answered & ~flags or not answered & wire.FIXED_NEWSTYLE:
            raise NbdError(f"flags {answered:#x}")
        while True:
            magic, option, length = wire.OPTION.unpack(await self._reader.readexactly(wire.OPTION.size))
            if magic != wire.OPTION_MAGIC or length > wire.LONGEST_OPTION:
                raise NbdError("no option")
            content = await self._reader.readexactly(length)
            match option:
                case wire.OPTION_STRUCTURED_REPLY:
                    self._structured = True
                    self._answer(option, wire.REPLY_ACK)
                case wire.OPTION_SET_META_CONTEXT if self._structured:
                    _export, queries = wire.parse_contexts(content)
                    self._context = wire.ALLOCATION in queries
                    if self._context:
                        self._answer(
                            option, wire.REPLY_META_CONTEXT, struct.pack(">I", _CONTEXT) + wire.ALLOCATION.encode()
                        )
                    self._answer(option, wire.REPLY_ACK)
                case wire.OPTION_GO | wire.OPTION_INFO:
                    self._describe(option, wire.parse_go(content))
                    if option == wire.OPTION_GO:
                        await self._writer.drain()
                        return True
                case wire.OPTION_ABORT:
                    self._answer(option, wire.REPLY_ACK)
                    return False
                case _:
                    self._answer(option, wire.REPLY_UNSUPPORTED)
            await self._writer.drain()

    def _describe(self, option: int, _name: str) -> None:
        """Describe the one disk, whatever export name is requested."""
        self._answer(option, wire.REPLY_INFO, wire.INFO_EXPORT.pack(wire.KIND_EXPORT, self._export.size, _FLAGS))
        sizes = wire.INFO_BLOCK_SIZE.pack(wire.KIND_BLOCK_SIZE, 1, 4096, LARGEST_READ)
        self._answer(option, wire.REPLY_INFO, sizes)
        self._answer(option, wire.REPLY_ACK)

    def _answer(self, option: int, kind: int, content: bytes = b"") -> None:
        self._writer.write(wire.OPTION_REPLY.pack(wire.OPTION_REPLY_MAGIC, option, kind, len(content)) + content)

    # -- transmission

    async def _request(self) -> bool:
        """Handle one request; tell whether there may be more."""
        await self._free.acquire()
        head = await self._reader.readexactly(wire.REQUEST.size)
        magic, flags, command, cookie, offset, length = wire.REQUEST.unpack(head)
        if magic != wire.REQUEST_MAGIC:
            raise NbdError("no request")
        if command == wire.DISCONNECT:
            return False
        if command == wire.WRITE:
            raise NbdError("a write, to what is read-only")
        task = asyncio.create_task(self._serve(command, flags, cookie, offset, length))
        self._tasks.add(task)
        task.add_done_callback(self._done)
        return True

    def _done(self, task: "asyncio.Task[None]") -> None:
        self._tasks.discard(task)
        self._free.release()
        if not task.cancelled() and task.exception() is not None:
            self._writer.close()  # the next reader sees the end

    async def _serve(self, command: int, flags: int, cookie: int, offset: int, length: int) -> None:
        error, content, kind = 0, b"", wire.CHUNK_NONE
        within = offset + length <= self._export.size
        if command == wire.READ and within and 0 < length <= LARGEST_READ:
            try:
                content, kind = await self._export.read(offset, length), wire.CHUNK_DATA
            except OSError as failure:
                _log.warning("%d bytes at %d cannot be read: %s", length, offset, failure)
                error = wire.EIO
        elif command == wire.BLOCK_STATUS and within and length and self._context:
            content, kind = (
                self._status(offset, length, only_one=bool(flags & wire.ONE_EXTENT)),
                wire.CHUNK_BLOCK_STATUS,
            )
        elif command != wire.FLUSH:
            error = wire.EINVAL
        async with self._sending:
            self._reply(error, content, kind, cookie, offset)
            await self._writer.drain()

    def _reply(self, error: int, content: bytes, kind: int, cookie: int, offset: int) -> None:
        if not self._structured:
            self._writer.write(wire.SIMPLE_REPLY.pack(wire.SIMPLE_REPLY_MAGIC, error, cookie))
            self._writer.write(content)
            return
        if error:
            content, kind = wire.ERROR.pack(error, 0), wire.CHUNK_ERROR
        head = offset.to_bytes(8, "big") if kind == wire.CHUNK_DATA else b""
        length = len(head) + len(content)
        self._writer.write(wire.CHUNK.pack(wire.CHUNK_MAGIC, wire.CHUNK_DONE, kind, cookie, length) + head)
        self._writer.write(content)

    def _status(self, offset: int, length: int, *, only_one: bool) -> bytes:
        extents: Sequence[Extent] = wire.joined(self._export.extents(offset, length))
        if only_one:
            extents = extents[:1]
        return struct.pack(">I", _CONTEXT) + b"".join(wire.EXTENT.pack(each.length, each.flags) for each in extents)
