"""Convert the kernel's change messages (rtnetlink(7)) into the places where our objects may have changed: pure.

In a VPC's namespace everything is ours, so any message counts. The host's namespace also has links of others: there a
message counts only if it is about one of our links, or about the route out of the host.
"""

import socket
import struct
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Final

from stead_agent.network.bandwidth import INTO_PREFIX, OUT_OF_PREFIX
from stead_agent.network.desired_objects import owner_of
from stead_agent.network.interface import (
    BRIDGE_PREFIX,
    GATEWAY_PREFIX,
    HOST_LINK,
    INTERNET_PREFIX,
    TAP_PREFIX,
)
from stead_agent.network.kernel_objects import MAIN_TABLE
from stead_agent.network.route_messages import PROTOCOL

HOST: Final = ""
"""The host's own part, among the ids of VPCs."""
EVERYTHING: Final = "*"
"""All VPCs: the message does not say which one it concerns."""

# RTNLGRP_…: links, neighbours, traffic control, addresses, routes, rules, and settings such as proxy_arp
# (linux/rtnetlink.h).
GROUPS: Final = (1, 3, 4, 5, 7, 8, 9, 11, 19, 24, 25)

_HEADER: Final = struct.Struct("=IHHII")  # struct nlmsghdr
_ATTRIBUTE: Final = struct.Struct("=HH")  # struct rtattr
_LINK: Final = struct.Struct("=BxHiII")  # struct ifinfomsg: family, type, index, flags, change
_ADDRESS: Final = struct.Struct("=BBBBI")  # struct ifaddrmsg: family, prefix length, flags, scope, index
_ROUTE: Final = struct.Struct("=BBBBBBBBI")  # struct rtmsg: family, destination's length, …, table, protocol, …
_NEIGHBOUR: Final = struct.Struct("=BxxxiHBB")  # struct ndmsg: family, index, state, flags, type
_CONTROL: Final = struct.Struct("=BxxxiIII")  # struct tcmsg: family, index, handle, parent, info
_NETCONF: Final = struct.Struct("=Bxxx")  # struct netconfmsg
_TYPE_BITS: Final = 0x3FFF

_NEW_LINK, _DEL_LINK = 16, 17  # RTM_…, also below
_ADDRESSES: Final = frozenset({20, 21})
_ROUTES: Final = frozenset({24, 25})
_NEIGHBOURS: Final = frozenset({28, 29})
# Qdiscs and filters that are deleted, classes that are changed or deleted: what is new limits nobody less.
_CONTROLS: Final = frozenset({37, 40, 41, 45})
_SETTINGS: Final = frozenset({80, 81})
_IS_UP: Final = 1  # IFF_UP
_PROXY: Final = 8  # NTF_PROXY
_NAME, _MASTER, _PORT, _ALIAS = 3, 10, 12, 20  # IFLA_IFNAME, IFLA_MASTER, IFLA_PROTINFO, IFLA_IFALIAS
_ISOLATED: Final = 33  # IFLA_BRPORT_ISOLATED
_OUT: Final = 4  # RTA_OIF
_SETTING_LINK: Final = 1  # NETCONFA_IFINDEX
_OURS: Final = (BRIDGE_PREFIX, GATEWAY_PREFIX, INTERNET_PREFIX, TAP_PREFIX)
_SHAPERS: Final = (INTO_PREFIX, OUT_OF_PREFIX)


@dataclass(frozen=True, slots=True)
class Mark:
    """A possible change of our objects: in a VPC, at the host, or at a tap, whose VPC the caller knows."""

    vpc_id: str = ""
    tap: str = ""  # or a shaper
    is_over: bool = False  # what was marked before has its required state again


@dataclass(slots=True)
class HostNotices:
    """Parses the messages of the host's namespace; remembers each link's name and owner."""

    links: dict[int, tuple[str, str]] = field(default_factory=dict)  # index -> name and alias

    def read(self, buffer: bytes) -> Iterator[Mark]:
        """Return the marks of a buffer of messages."""
        for kind, start, end in messages(buffer):
            if kind in (_NEW_LINK, _DEL_LINK):
                yield from self._of_link(kind, buffer, start, end)
            elif kind in _ADDRESSES:
                yield from self._of_address(_ADDRESS.unpack_from(buffer, start)[4])
            elif kind in _ROUTES:
                yield from self._of_route(buffer, start, end)
            elif kind in _NEIGHBOURS:
                yield from self._of_neighbour(buffer, start)
            elif kind in _CONTROLS:
                name = self.links.get(_CONTROL.unpack_from(buffer, start)[1], ("", ""))[0]
                if name.startswith((TAP_PREFIX, *_SHAPERS)):
                    yield Mark(tap=name)
            elif kind in _SETTINGS:
                found = attributes(buffer, start + _NETCONF.size, end)
                yield from self._of_setting(_number(found.get(_SETTING_LINK, b"")))

    def _of_link(self, kind: int, buffer: bytes, start: int, end: int) -> Iterator[Mark]:
        family, _, index, flags, _ = _LINK.unpack_from(buffer, start)
        found = attributes(buffer, start + _LINK.size, end)
        name = found.get(_NAME, b"").rstrip(b"\0").decode("utf-8", "replace")
        alias = found.get(_ALIAS, b"").rstrip(b"\0").decode("utf-8", "replace")
        before = self.links.get(index, ("", ""))
        if family == socket.AF_BRIDGE:  # about a bridge port; it does not contain the link's alias
            alias = before[1]
        if kind == _DEL_LINK and family != socket.AF_BRIDGE:
            self.links.pop(index, None)
        elif family != socket.AF_BRIDGE:
            self.links[index] = (name, alias)
        if before[0] and before[0] != name and before[0].startswith((*_OURS, HOST_LINK)):
            yield from _marks_of(*before)  # it was renamed
        if name.startswith(_SHAPERS):
            yield Mark(tap=name, is_over=kind == _NEW_LINK and bool(flags & _IS_UP))
        elif name.startswith(TAP_PREFIX) and owner_of(alias) is None:
            is_well = kind == _NEW_LINK and _is_well(family, flags, found)
            yield Mark(tap=name, is_over=is_well)
        else:
            yield from _marks_of(name, alias)

    def _of_address(self, index: int) -> Iterator[Mark]:
        name, alias = self.links.get(index, ("", ""))
        if name.startswith(_OURS):
            yield from _marks_of(name, alias)
        else:
            yield Mark(HOST)  # stead0, the uplink or the underlay

    def _of_route(self, buffer: bytes, start: int, end: int) -> Iterator[Mark]:
        _, length, _, _, table, protocol, _, _, _ = _ROUTE.unpack_from(buffer, start)
        if protocol != PROTOCOL:
            if length == 0 and table == MAIN_TABLE:
                yield Mark(HOST)  # the default route may have changed
            return
        index = _number(attributes(buffer, start + _ROUTE.size, end).get(_OUT, b""))
        name, alias = self.links.get(index, ("", ""))
        yield from _marks_of(name, alias) if name.startswith(_OURS) else [Mark(HOST)]

    def _of_neighbour(self, buffer: bytes, start: int) -> Iterator[Mark]:
        family, index, _, flags, _ = _NEIGHBOUR.unpack_from(buffer, start)
        if family == socket.AF_BRIDGE:
            return  # learned by a bridge
        if flags & _PROXY:
            yield Mark(EVERYTHING)
            return
        name, alias = self.links.get(index, ("", ""))
        if name.startswith(_OURS):
            yield from _marks_of(name, alias)

    def _of_setting(self, index: int) -> Iterator[Mark]:
        name, alias = self.links.get(index, ("", ""))
        yield from _marks_of(name, alias) if name.startswith(_OURS) else [Mark(HOST)]


def _is_well(family: int, flags: int, found: dict[int, bytes]) -> bool:
    """Tell whether a tap is up, a bridge port, and, if the message says so, isolated."""
    if not flags & _IS_UP or not _number(found.get(_MASTER, b"")):
        return False
    if family != socket.AF_BRIDGE:
        return True
    port = found.get(_PORT, b"")
    return attributes(port, 0, len(port)).get(_ISOLATED, b"\1") != b"\0"


def _marks_of(name: str, alias: str) -> Iterator[Mark]:
    owner = owner_of(alias)
    if name == HOST_LINK:
        yield Mark(HOST)
    elif owner is not None and name.startswith(_OURS):
        yield Mark(owner)


def messages(buffer: bytes) -> Iterator[tuple[int, int, int]]:
    """Return each message's type, and where its body begins and ends."""
    start = 0
    while start + _HEADER.size <= len(buffer):
        length, kind, _, _, _ = _HEADER.unpack_from(buffer, start)
        if length < _HEADER.size:
            return
        yield kind, start + _HEADER.size, min(start + length, len(buffer))
        start += (length + 3) & ~3


def attributes(buffer: bytes, start: int, end: int) -> dict[int, bytes]:
    """Read the attributes between two offsets of a buffer."""
    found = {}
    while start + _ATTRIBUTE.size <= end:
        size, kind = _ATTRIBUTE.unpack_from(buffer, start)
        if size < _ATTRIBUTE.size:
            break
        found[kind & _TYPE_BITS] = buffer[start + _ATTRIBUTE.size : start + size]
        start += (size + 3) & ~3
    return found


def _number(value: bytes) -> int:
    return int.from_bytes(value[:4], sys.byteorder) if value else 0
