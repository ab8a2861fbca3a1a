"""Ask the kernel for its lists of links, addresses, neighbours and rules as rtnetlink(7) messages.

By pyroute2 a list takes 0.7 ms of a processor before its first element, and the host is read by seven of them.
"""

import socket
import struct
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from stead_agent.network.route_messages import check

_HEADER: Final = struct.Struct("=IHHII")  # struct nlmsghdr
_ATTRIBUTE: Final = struct.Struct("=HH")  # struct rtattr
LINK: Final = struct.Struct("=BxHiII")  # struct ifinfomsg
ADDRESS: Final = struct.Struct("=BBBBI")  # struct ifaddrmsg
NEIGHBOUR: Final = struct.Struct("=BxxxiHBB")  # struct ndmsg
ROUTE: Final = struct.Struct("=BBBBBBBBI")  # struct rtmsg
RULE: Final = struct.Struct("=BBBBBBBBI")  # struct fib_rule_hdr
_KIND_MASK: Final = 0x3FFF  # of an attribute's type, without NLA_F_NESTED and NLA_F_NET_BYTEORDER
_NLMSG_ERROR, _NLMSG_DONE = 2, 3
_DUMP: Final = 0x301  # NLM_F_REQUEST | NLM_F_DUMP
_INTERRUPTED: Final = 0x10  # NLM_F_DUMP_INTR: the list has changed meanwhile
_TRIES: Final = 5  # of a list that changes meanwhile
_BUFFER: Final = 1 << 16  # the kernel sends at most 32 KiB at once
_NO_STATISTICS: Final = struct.pack("=HHI", 8, 29, 8)  # IFLA_EXT_MASK: RTEXT_FILTER_SKIP_STATS


@dataclass(frozen=True, slots=True)
class Kind:
    """A kind of list: the request, the type of its elements, and what each begins with."""

    request: int  # RTM_GET…
    element: int  # RTM_NEW…
    beginning: struct.Struct
    asked: bytes = b""  # attributes of the request


LINKS: Final = Kind(18, 16, LINK, _NO_STATISTICS)
ADDRESSES: Final = Kind(22, 20, ADDRESS)
NEIGHBOURS: Final = Kind(30, 28, NEIGHBOUR)
ROUTES: Final = Kind(26, 24, ROUTE)
RULES: Final = Kind(34, 32, RULE)


@dataclass(frozen=True, slots=True)
class Element:
    """An element of a list: the fields that it begins with, and its attributes."""

    fields: tuple[Any, ...]
    attributes: Mapping[int, bytes]

    def number(self, kind: int) -> int:
        """Return an attribute that is a number; 0 when it is not there."""
        return int.from_bytes(self.attributes.get(kind, b""), sys.byteorder)

    def text(self, kind: int) -> str:
        """Return an attribute that is a text; empty when it is not there."""
        return self.attributes.get(kind, b"").rstrip(b"\0").decode(errors="replace")

    def mac(self, kind: int) -> str:
        """Return an attribute that is the address of a link; empty when it is not there."""
        return self.attributes.get(kind, b"").hex(":")

    def address(self, *kinds: int) -> str:
        """Return the first attribute of these that is there, an IP address; empty when none is."""
        found = next((self.attributes[kind] for kind in kinds if kind in self.attributes), b"")
        return socket.inet_ntop(socket.AF_INET if len(found) == 4 else socket.AF_INET6, found) if found else ""

    def inside(self, kind: int) -> "Element":
        """Return the attributes in an attribute; none when it is not there."""
        found = self.attributes.get(kind, b"")
        return Element((), attributes(found, 0, len(found)))


def read(opened: socket.socket, kind: Kind, *fields: int) -> list[Element]:
    """Return the elements of a list that match these fields of its elements, as far as the kernel filters by them.

    A list that changes while it is read is read again, some times. Raises OSError with the kernel's error.
    """
    body = kind.beginning.pack(*fields) + kind.asked
    request = _HEADER.pack(_HEADER.size + len(body), kind.request, _DUMP, 1, 0) + body
    found: list[Element] = []
    for _ in range(_TRIES):
        opened.send(request)
        found, is_whole = _received(opened, kind)
        if is_whole:
            break
    return found


def _received(opened: socket.socket, kind: Kind) -> tuple[list[Element], bool]:
    found: list[Element] = []
    is_whole = True
    while True:
        buffer, at = opened.recv(_BUFFER), 0
        while at + _HEADER.size <= len(buffer):
            size, what, flags, _, _ = _HEADER.unpack_from(buffer, at)
            start = at + _HEADER.size
            is_whole = is_whole and not flags & _INTERRUPTED
            if what == _NLMSG_DONE:
                return found, is_whole
            if what == _NLMSG_ERROR:
                check(buffer, start)
            elif what == kind.element:
                found.append(
                    Element(
                        kind.beginning.unpack_from(buffer, start),
                        attributes(buffer, start + kind.beginning.size, at + size),
                    )
                )
            at += (size + 3) & ~3


def attributes(buffer: bytes, at: int, end: int) -> dict[int, bytes]:
    """Return the attributes between two places, by their type."""
    found: dict[int, bytes] = {}
    while at + _ATTRIBUTE.size <= end:
        size, kind = _ATTRIBUTE.unpack_from(buffer, at)
        found[kind & _KIND_MASK] = buffer[at + _ATTRIBUTE.size : at + size]
        at += (max(size, _ATTRIBUTE.size) + 3) & ~3
    return found
