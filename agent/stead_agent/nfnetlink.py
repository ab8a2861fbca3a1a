"""Netlink messages to the kernel's netfilter: just enough for conntrack entries and the nftables generation.

Written by hand because a conntrack table may have a hundred thousand entries, and pyroute2 takes many times as long to
read one (linux/netlink.h, linux/netfilter/nfnetlink.h).
"""

import errno
import fcntl
import os
import socket
import struct
import threading
from collections.abc import Iterator
from typing import Final

_NETLINK_NETFILTER: Final = 12
_SOL_NETLINK, _ADD_MEMBERSHIP, _BUFFER_BY_FORCE = 270, 1, 33  # linux/netlink.h; SO_RCVBUFFORCE
_SIOCGIFINDEX: Final = 0x8933  # linux/sockios.h
_HEADER: Final = struct.Struct("=IHHII")  # length, type, flags, sequence, port
_NETFILTER_HEADER: Final = struct.Struct("!BBH")  # family, version, resource
_ATTRIBUTE: Final = struct.Struct("=HH")  # length, type
_BODY: Final = _HEADER.size + _NETFILTER_HEADER.size

_REQUEST, _ACK, _DUMP = 0x1, 0x4, 0x300
_ERROR, _DONE = 2, 3
_TYPE_BITS: Final = 0x3FFF
_NESTED: Final = 0x8000
_RECEIVE: Final = 1 << 17

Span = tuple[int, int]


class NetfilterSocket:
    """A socket in the network namespace of the thread that creates it. Any thread may use it then."""

    def __init__(self) -> None:
        self._socket = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, _NETLINK_NETFILTER)
        self._lock = threading.Lock()
        self._sequence = 0

    def close(self) -> None:
        """Close the socket, which releases the namespace."""
        self._socket.close()

    def fileno(self) -> int:
        """Return the file descriptor to wait on for events."""
        return self._socket.fileno()

    def join(self, group: int, buffer_bytes: int) -> None:
        """Listen to a multicast group, with room for that many bytes of events."""
        self._socket.bind((0, 0))  # without a port id of its own it would count as the sender of all events
        self._socket.setsockopt(socket.SOL_SOCKET, _BUFFER_BY_FORCE, buffer_bytes)
        self._socket.setsockopt(_SOL_NETLINK, _ADD_MEMBERSHIP, group)

    def events(self) -> Iterator[tuple[bytes, Span]]:
        """Yield the events received so far; OSError with ENOBUFS if some were lost. Not for a socket with requests."""
        try:
            buffer = self._socket.recv(_RECEIVE, socket.MSG_DONTWAIT)
        except BlockingIOError:
            return
        start = 0
        while start < len(buffer):
            length, kind, _, _, _ = _HEADER.unpack_from(buffer, start)
            if kind not in (_ERROR, _DONE):
                yield buffer, (start + _BODY, start + length)
            start += (length + 3) & ~3

    def link_index(self, name: str) -> int:
        """Return the index of a link of the namespace; 0 when there is none of this name (netdevice(7))."""
        try:
            answer = fcntl.ioctl(self._socket, _SIOCGIFINDEX, struct.pack("16si20x", name.encode(), 0))
        except OSError as error:
            if error.errno == errno.ENODEV:
                return 0
            raise
        index: int = struct.unpack_from("=i", answer, 16)[0]
        return index

    def dump(self, kind: int, family: int, body: bytes = b"") -> list[tuple[bytes, Span]]:
        """Request all objects; each is returned as a buffer and the span of the object's attributes in it."""
        return self._ask(kind, _REQUEST | _DUMP, family, body)

    def get(self, kind: int, family: int = socket.AF_UNSPEC) -> tuple[bytes, Span]:
        """Request one object."""
        found = self._ask(kind, _REQUEST | _ACK, family, b"")
        if not found:
            raise OSError(errno.EIO, "the kernel's netfilter gave no answer")
        return found[0]

    def do(self, kind: int, family: int, body: bytes, resource: int = 0) -> None:
        """Send a command; OSError when the kernel refuses it."""
        self._ask(kind, _REQUEST | _ACK, family, body, resource)

    def _ask(self, kind: int, flags: int, family: int, body: bytes, resource: int = 0) -> list[tuple[bytes, Span]]:
        with self._lock:
            self._sequence += 1
            header = _HEADER.pack(_BODY + len(body), kind, flags, self._sequence, 0)
            self._socket.send(header + _NETFILTER_HEADER.pack(family, 0, resource) + body)
            return list(self._answers(self._sequence))

    def _answers(self, sequence: int) -> Iterator[tuple[bytes, Span]]:
        """Read until the end of a dump, or the acknowledgement."""
        while True:
            buffer = self._socket.recv(_RECEIVE)
            start = 0
            while start < len(buffer):
                length, kind, _, number, _ = _HEADER.unpack_from(buffer, start)
                if number == sequence:
                    if kind == _DONE:
                        return
                    if kind == _ERROR:
                        (code,) = struct.unpack_from("=i", buffer, start + _HEADER.size)
                        if code:
                            raise OSError(-code, os.strerror(-code))
                        return
                    yield buffer, (start + _BODY, start + length)
                start += (length + 3) & ~3


def attributes(buffer: bytes, span: Span) -> dict[int, Span]:
    """Return the attributes within a span: their types and the spans of their values."""
    found = {}
    start, end = span
    while start + 4 <= end:
        length, kind = _ATTRIBUTE.unpack_from(buffer, start)
        found[kind & _TYPE_BITS] = (start + 4, start + length)
        start += (length + 3) & ~3
    return found


def each_attribute(buffer: bytes, span: Span) -> Iterator[Span]:
    """Yield the spans of the values within a span, whatever their types: those of a list have the same one."""
    start, end = span
    while start + 4 <= end:
        length, _ = _ATTRIBUTE.unpack_from(buffer, start)
        yield start + 4, start + length
        start += (length + 3) & ~3


def attribute(kind: int, value: bytes, *, nested: bool = False) -> bytes:
    """Encode an attribute."""
    length = 4 + len(value)
    return _ATTRIBUTE.pack(length, kind | (_NESTED if nested else 0)) + value + bytes(-length % 4)


NOT_THERE: Final = errno.ENOENT
