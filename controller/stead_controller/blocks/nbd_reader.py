"""A read-only NBD client: an export's size, its data extents, and their data, with several requests in flight.

Protocol: https://github.com/NetworkBlockDevice/nbd/blob/master/doc/proto.md (fixed newstyle, structured replies,
`base:allocation`). The server has read a hostile file and may be controlled by the attacker: no length is trusted.
"""

import socket
import struct
import time
from collections.abc import Callable, Iterable, Iterator
from types import TracebackType
from typing import Final, Self

_INIT: Final = b"NBDMAGICIHAVEOPT"
_OPTION: Final = struct.Struct(">8sII")
_OPTION_REPLY: Final = struct.Struct(">QIII")
_OPTION_REPLY_MAGIC: Final = 0x3E889045565A9
_REQUEST: Final = struct.Struct(">IHHQQI")
_REQUEST_MAGIC: Final = 0x25609513
_CHUNK: Final = struct.Struct(">IHHQI")
_CHUNK_MAGIC: Final = 0x668E33EF
_SIMPLE_MAGIC: Final = 0x67446698
_GO, _STRUCTURED, _SET_META = 7, 8, 10
_ACK, _INFO, _META = 1, 3, 4
_READ, _STATUS = 0, 7
_NONE, _DATA, _HOLE, _BLOCK_STATUS = 0, 1, 2, 5
_DONE: Final = 1
_READS_AS_ZERO: Final = 2
_CONTEXT: Final = b"base:allocation"
_MOST_STATUS: Final = 1 << 30  # bytes of the disk per block status request
_MOST_OPTION: Final = 4096
_MOST_EXTENTS: Final = 1 << 20
_IN_FLIGHT: Final = 4
_PAUSE_SECONDS: Final = 0.003


class NbdError(Exception):
    """The server ended, refused, or violated the protocol."""


class NbdReader:
    """One connection to the export "" of a server at a unix socket."""

    def __init__(self, path: str, timeout: float, is_alive: Callable[[], bool]) -> None:
        """Connect to a server that is starting; each answer may take `timeout` seconds. Raises NbdError."""
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self._socket.settimeout(timeout)
        self._handle = 0
        try:
            self._connect(path, time.monotonic() + timeout, is_alive)
            self.size = self._negotiate()
        except OSError as error:
            self._socket.close()
            raise NbdError(f"the server at the socket does not answer: {error}") from error
        except NbdError:
            self._socket.close()
            raise

    def _connect(self, path: str, deadline: float, is_alive: Callable[[], bool]) -> None:
        """Connect as soon as the server listens, which is a moment after its socket file exists."""
        while True:
            try:
                self._socket.connect(path)
                return
            except ConnectionRefusedError:
                if time.monotonic() > deadline or not is_alive():
                    raise
                time.sleep(_PAUSE_SECONDS)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._socket.close()

    def data_extents(self) -> Iterator[tuple[int, int]]:
        """Yield the parts of the disk that are not known to be all zero, as start and end, in ascending order."""
        at = 0
        while at < self.size:
            for length, flags in self._status(at, min(_MOST_STATUS, self.size - at)):
                end = min(at + length, self.size)
                if not flags & _READS_AS_ZERO:
                    yield at, end
                at = end

    def read_all(self, wanted: Iterable[tuple[int, int]]) -> Iterator[tuple[int, bytes]]:
        """Read parts, given as offset and length, and yield each offset with its bytes, in the order requested."""
        waiting: dict[int, tuple[int, bytearray]] = {}
        order: list[int] = []
        done: set[int] = set()
        parts = iter(wanted)
        more = True
        while more or order:
            while more and len(order) < _IN_FLIGHT:
                part = next(parts, None)
                if part is None:
                    more = False
                    break
                handle = self._ask(_READ, *part)
                waiting[handle] = (part[0], bytearray(part[1]))
                order.append(handle)
            if order:
                self._take_read(waiting, done)
            while order and order[0] in done:
                handle = order.pop(0)
                done.discard(handle)
                offset, content = waiting.pop(handle)
                yield offset, bytes(content)

    def _take_read(self, waiting: dict[int, tuple[int, bytearray]], done: set[int]) -> None:
        """Read one chunk of the awaited replies."""
        flags, kind, handle, length = self._chunk()
        if handle not in waiting or handle in done:
            raise NbdError("the server answers what it was not asked")
        start, content = waiting[handle]
        if kind == _DATA:
            (at,) = struct.unpack(">Q", self._receive(8))
            offset = at - start
            if offset < 0 or length < 8 or offset + length - 8 > len(content):
                raise NbdError("the server sends bytes that were not asked for")
            self._receive_into(memoryview(content)[offset : offset + length - 8])
        elif kind == _HOLE and length == 12:
            self._receive(12)
        elif kind != _NONE or length:
            self._refuse(kind, length)
        if flags & _DONE:
            done.add(handle)

    def _status(self, offset: int, length: int) -> list[tuple[int, int]]:
        asked = self._ask(_STATUS, offset, length)
        extents: list[tuple[int, int]] = []
        while True:
            flags, kind, handle, size = self._chunk()
            if handle != asked:
                raise NbdError("the server answers what it was not asked")
            if kind == _BLOCK_STATUS:
                if not 12 <= size <= 4 + 8 * _MOST_EXTENTS or (size - 4) % 8:
                    raise NbdError("the server sends a status of a wrong length")
                content = self._receive(size)
                extents = list(struct.iter_unpack(">II", content[4:]))
            elif kind != _NONE or size:
                self._refuse(kind, size)
            if flags & _DONE:
                break
        if not extents or any(not extent[0] for extent in extents):
            raise NbdError("the server does not say where data are")
        return extents

    def _refuse(self, kind: int, length: int) -> None:
        if length > _MOST_OPTION:
            raise NbdError(f"the server sends a chunk of type {kind} and {length} bytes")
        content = self._receive(length)
        code = int.from_bytes(content[:4]) if len(content) >= 4 else 0
        raise NbdError(f"the image cannot be read (error {code})")

    def _ask(self, kind: int, offset: int, length: int) -> int:
        self._handle += 1
        self._send(_REQUEST.pack(_REQUEST_MAGIC, 0, kind, self._handle, offset, length))
        return self._handle

    def _chunk(self) -> tuple[int, int, int, int]:
        """Read a reply's header: flags, type, handle, number of bytes that follow."""
        head = self._receive(4)
        (magic,) = struct.unpack(">I", head)
        if magic == _SIMPLE_MAGIC:  # only allowed for replies without data: errors
            code, _handle = struct.unpack(">IQ", self._receive(12))
            raise NbdError(f"the image cannot be read (error {code})")
        if magic != _CHUNK_MAGIC:
            raise NbdError("the server does not keep to the protocol")
        _magic, flags, kind, handle, length = _CHUNK.unpack(head + self._receive(_CHUNK.size - 4))
        return flags, kind, handle, length

    def _negotiate(self) -> int:
        """Negotiate structured replies and the context; return the export's size in bytes."""
        if self._receive(16) != _INIT:
            raise NbdError("the server does not speak NBD")
        self._receive(2)
        self._send(struct.pack(">I", 3))  # fixed newstyle, no zeroes
        self._option(_STRUCTURED, b"")
        query = struct.pack(">III", 0, 1, len(_CONTEXT)) + _CONTEXT
        if not any(kind == _META for kind, _content in self._option(_SET_META, query)):
            raise NbdError("the server does not say where data are")
        size = None
        for kind, content in self._option(_GO, struct.pack(">IH", 0, 0)):
            if kind == _INFO and len(content) == 12 and content[:2] == b"\0\0":
                size = int.from_bytes(content[2:10])
        if size is None:
            raise NbdError("the server does not say how large the disk is")
        return size

    def _option(self, option: int, content: bytes) -> list[tuple[int, bytes]]:
        self._send(_OPTION.pack(b"IHAVEOPT", option, len(content)) + content)
        replies: list[tuple[int, bytes]] = []
        while True:
            magic, answered, kind, length = _OPTION_REPLY.unpack(self._receive(_OPTION_REPLY.size))
            if magic != _OPTION_REPLY_MAGIC or answered != option or length > _MOST_OPTION or len(replies) > 16:
                raise NbdError("the server does not keep to the protocol")
            payload = self._receive(length)
            if kind == _ACK:
                return replies
            if kind & 1 << 31:
                raise NbdError(f"the server refuses option {option}: {payload.decode(errors='replace')}")
            replies.append((kind, payload))

    def _send(self, content: bytes) -> None:
        try:
            self._socket.sendall(content)
        except OSError as error:
            raise NbdError(f"the server is gone: {error}") from error

    def _receive(self, length: int) -> bytes:
        content = bytearray(length)
        self._receive_into(memoryview(content))
        return bytes(content)

    def _receive_into(self, left: memoryview) -> None:
        try:
            while left:
                count = self._socket.recv_into(left)
                if not count:
                    raise NbdError("the server is gone")
                left = left[count:]
        except OSError as error:
            raise NbdError(f"the server does not answer: {error}") from error
