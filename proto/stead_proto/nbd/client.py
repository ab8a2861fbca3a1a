"""A reader of a disk that an NBD server exports on a unix socket: content, and block status by context.

The server may be the process of a guest that broke out: nothing in its answers is trusted beyond its disk's content.
"""

import contextlib
import os
import socket
import struct
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Final, Self

from stead_proto.nbd import wire
from stead_proto.nbd.wire import Chunk, Extent, NbdError

_MOST_EXTENTS_BYTES: Final = 16 << 20
_MOST_STATUS: Final = (1 << 32) - (1 << 20)  # one block status request; a multiple of any block size
_MOST_DISK: Final = 1 << 60


@dataclass(slots=True)
class _Reading:
    """A read in flight."""

    offset: int
    content: bytearray
    filled: int = 0
    error: str = ""


@dataclass(slots=True)
class _Asking:
    """A block status request in flight: the extents of each context."""

    offset: int
    limit: int
    extents: dict[int, list[Extent]] = field(default_factory=dict)
    error: str = ""


class NbdClient:
    """One connection, for one thread at a time. All methods raise NbdError, after which only `close` may be called."""

    def __init__(self, path: Path, export: str, *, contexts: tuple[str, ...] = (), timeout: float = 60.0) -> None:
        """Connect and shake hands; a context that the server does not know is left out of `contexts`."""
        self.size = 0
        self.contexts: dict[int, str] = {}
        self._flags = 0
        self._cookie = 0
        self._largest = wire.LARGEST_READ
        self._socket = socket.socket(socket.AF_UNIX)
        self._socket.settimeout(timeout)
        try:
            with _address(path) as address:
                self._socket.connect(address)
            self._stream = self._socket.makefile("rb")
            self._shake_hands(export, contexts)
        except (OSError, EOFError) as error:
            self._socket.close()
            raise NbdError(f"{path}: {error}") from error
        except NbdError:
            self._socket.close()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """End the connection."""
        with contextlib.suppress(OSError):  # the server may have disconnected before
            self._socket.sendall(wire.REQUEST.pack(wire.REQUEST_MAGIC, 0, wire.DISCONNECT, 0, 0, 0))
        self._stream.close()
        self._socket.close()

    def read(self, offset: int, length: int) -> bytes:
        """Read some bytes."""
        return b"".join(content for _offset, content in self.read_each([(offset, length)], in_flight=1))

    def read_each(self, ranges: Iterable[tuple[int, int]], *, in_flight: int = 8) -> Iterator[tuple[int, bytes]]:
        """Read ranges (offset, length), several at a time; yield each with its offset as it arrives, in any order.

        A range may be at most as long as the server allows: LARGEST_READ, unless it announced less. The iterator must
        be exhausted before the next request.
        """
        waiting = iter(ranges)
        reads: dict[int, _Reading] = {}
        more = True
        with _translated():
            while True:
                while more and len(reads) < in_flight:
                    wanted = next(waiting, None)
                    if wanted is None:
                        more = False
                        break
                    reads[self._send(wire.READ, *self._checked(*wanted))] = _Reading(wanted[0], bytearray(wanted[1]))
                if not reads:
                    return
                chunk = self._next_chunk()
                reading = reads.get(chunk.cookie)
                if reading is None:
                    raise NbdError("a reply to nothing that was asked")
                self._take_read(chunk, reading)
                if chunk.is_last:
                    del reads[chunk.cookie]
                    yield reading.offset, _whole(reading)

    def status(self, offset: int, length: int) -> dict[str, list[Extent]]:
        """Return for each context the extents of a range, in order and without a gap."""
        found: dict[str, list[Extent]] = {name: [] for name in self.contexts.values()}
        if not found or not length:
            return found
        end = offset + length
        at = offset
        with _translated():
            while at < end:
                pieces = self._one_status(at, min(end - at, _MOST_STATUS))
                reached = min(sum(extent.length for extent in pieces.get(number, [])) for number in self.contexts)
                if not reached:
                    raise NbdError("a block status that leaves a context out")
                for number, name in self.contexts.items():
                    found[name] += _cut(pieces[number], at + reached)
                at += reached
        return {name: wire.joined(extents) for name, extents in found.items()}

    # -- handshake

    def _shake_hands(self, export: str, contexts: tuple[str, ...]) -> None:
        first, second, flags = wire.GREETING.unpack(self._receive(wire.GREETING.size))
        if (first, second) != (wire.GREETING_MAGIC, wire.OPTION_MAGIC) or not flags & wire.FIXED_NEWSTYLE:
            raise NbdError("no NBD server of the fixed newstyle answers")
        self._socket.sendall(wire.CLIENT_FLAGS.pack(flags & (wire.FIXED_NEWSTYLE | wire.NO_ZEROES)))
        self._option(wire.OPTION_STRUCTURED_REPLY)
        if contexts:
            for content in self._option(wire.OPTION_SET_META_CONTEXT, wire.pack_contexts(export, contexts)):
                if len(content) < 4:
                    raise NbdError("a context without a number")
                name = content[4:].decode(errors="replace")
                if name in contexts:
                    self.contexts[struct.unpack_from(">I", content)[0]] = name
        self._take_info(self._option(wire.OPTION_GO, wire.pack_go(export)))

    def _option(self, option: int, content: bytes = b"") -> list[bytes]:
        """Send an option and return the contents of the replies up to the acknowledgement."""
        self._socket.sendall(wire.pack_option(option, content))
        replies: list[bytes] = []
        while True:
            magic, answered, kind, length = wire.OPTION_REPLY.unpack(self._receive(wire.OPTION_REPLY.size))
            if magic != wire.OPTION_REPLY_MAGIC or answered != option or length > wire.LONGEST_OPTION:
                raise NbdError("an answer to another option than the one sent")
            reply = self._receive(length)
            if kind & wire.REPLY_ERROR:
                raise NbdError(f"option {option} was refused ({kind & 0xFF}): {reply.decode(errors='replace')[:200]}")
            if kind == wire.REPLY_ACK:
                return replies
            if len(replies) > len(content) + 64:
                raise NbdError("answers without end")
            replies.append(reply)

    def _take_info(self, replies: list[bytes]) -> None:
        """Record the server's description of the export."""
        known = False
        for content in replies:
            kind = int.from_bytes(content[:2], "big")
            if kind == wire.KIND_EXPORT and len(content) == wire.INFO_EXPORT.size:
                _kind, self.size, self._flags = wire.INFO_EXPORT.unpack(content)
                known = True
            elif kind == wire.KIND_BLOCK_SIZE and len(content) == wire.INFO_BLOCK_SIZE.size:
                _kind, _smallest, _preferred, largest = wire.INFO_BLOCK_SIZE.unpack(content)
                self._largest = min(self._largest, largest)
        if not known or self.size > _MOST_DISK:
            raise NbdError("the server does not tell the size of the disk")

    # -- transmission

    def _checked(self, offset: int, length: int) -> tuple[int, int]:
        """Reject ranges that the server would reject, or whose answer would be undefined."""
        if not 0 < length <= self._largest or offset < 0 or offset + length > self.size:
            raise NbdError(f"{length} bytes at {offset} of {self.size} cannot be read")
        return offset, length

    def _send(self, command: int, offset: int, length: int) -> int:
        self._cookie += 1
        self._socket.sendall(wire.REQUEST.pack(wire.REQUEST_MAGIC, 0, command, self._cookie, offset, length))
        return self._cookie

    def _next_chunk(self) -> Chunk:
        magic, flags, kind, cookie, length = wire.CHUNK.unpack(self._receive(wire.CHUNK.size))
        if magic != wire.CHUNK_MAGIC:
            raise NbdError("a reply that is not structured, as was agreed")
        return Chunk(kind, cookie, length, bool(flags & wire.CHUNK_DONE))

    def _take_read(self, chunk: Chunk, reading: _Reading) -> None:
        """Handle a chunk of data."""
        size = len(reading.content)
        if chunk.kind == wire.CHUNK_DATA and 8 < chunk.length <= size + 8:
            start = int.from_bytes(self._receive(8), "big") - reading.offset
            length = chunk.length - 8
            if not 0 <= start <= size - length:
                raise NbdError("content that was not asked for")
            self._receive_into(memoryview(reading.content)[start : start + length])
            reading.filled += length
        elif chunk.kind == wire.CHUNK_HOLE and chunk.length == wire.HOLE.size:
            start, length = wire.HOLE.unpack(self._receive(chunk.length))
            if not 0 <= start - reading.offset <= size - length:
                raise NbdError("a hole that was not asked for")
            reading.filled += length
        else:
            reading.error = reading.error or self._take_other(chunk)

    def _one_status(self, offset: int, length: int) -> dict[int, list[Extent]]:
        cookie = self._send(wire.BLOCK_STATUS, offset, length)
        asking = _Asking(offset, offset + length)
        while True:
            chunk = self._next_chunk()
            if chunk.cookie != cookie:
                raise NbdError("a reply to nothing that was asked")
            if chunk.kind == wire.CHUNK_BLOCK_STATUS and chunk.length <= _MOST_EXTENTS_BYTES:
                number, extents = wire.parse_extents(self._receive(chunk.length), offset, asking.limit)
                asking.extents[number] = extents
            else:
                asking.error = asking.error or self._take_other(chunk)
            if chunk.is_last:
                break
        if asking.error:
            raise NbdError(asking.error)
        return asking.extents

    def _take_other(self, chunk: Chunk) -> str:
        """Handle an error or empty chunk; return the error's message."""
        if chunk.kind == wire.CHUNK_NONE and not chunk.length:
            return ""
        if not chunk.kind & wire.CHUNK_IS_ERROR or not wire.ERROR.size <= chunk.length <= wire.LONGEST_OPTION:
            raise NbdError(f"a reply of kind {chunk.kind} and {chunk.length} bytes")
        content = self._receive(chunk.length)
        number, length = wire.ERROR.unpack_from(content)
        text = content[wire.ERROR.size : wire.ERROR.size + length].decode(errors="replace")[:200]
        return f"the server cannot read (error {number}): {text}"

    def _receive(self, length: int) -> bytes:
        received = self._stream.read(length)
        if len(received) != length:
            raise EOFError("the server has gone")
        return received

    def _receive_into(self, place: memoryview) -> None:
        while place:
            length = self._stream.readinto(place)
            if not length:
                raise EOFError("the server has gone")
            place = place[length:]


@contextlib.contextmanager
def _translated() -> Iterator[None]:
    try:
        yield
    except (OSError, EOFError) as error:
        raise NbdError(str(error) or repr(error)) from error


@contextlib.contextmanager
def _address(path: Path) -> Iterator[str]:
    """Yield an address that fits the 108 bytes of sockaddr_un, however long the path is."""
    handle = os.open(path.parent, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        yield f"/proc/self/fd/{handle}/{path.name}"
    finally:
        os.close(handle)


def _whole(reading: _Reading) -> bytes:
    if reading.error:
        raise NbdError(reading.error)
    if reading.filled != len(reading.content):
        raise NbdError("a reply that leaves something out")
    return bytes(reading.content)


def _cut(extents: list[Extent], end: int) -> list[Extent]:
    """Leave out what is at or beyond `end`."""
    return [
        Extent(each.offset, min(each.length, end - each.offset), each.flags) for each in extents if each.offset < end
    ]
