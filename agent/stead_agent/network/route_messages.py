"""Encode and decode routes as rtnetlink(7) messages, thousands at once; pyroute2 handles one at a time.

A VPC may have 10,000 addresses on other hosts: 4 s of CPU time by pyroute2, 0.1 s here.
"""

import os
import socket
import struct
from collections.abc import Iterable, Iterator
from itertools import batched
from typing import Final

from stead_agent.network.kernel_objects import MAIN_TABLE, Kind, Place, Route, is_ipv6

# rtm_protocol: who made a route. It marks our routes, so that we leave all others alone; unused by any daemon
# (include/uapi/linux/rtnetlink.h and iproute2's rt_protos).
PROTOCOL: Final = 83
FAMILIES: Final = (socket.AF_INET, socket.AF_INET6)

_HEADER: Final = struct.Struct("=IHHII")  # struct nlmsghdr
_ROUTE: Final = struct.Struct("=BBBBBBBBI")  # struct rtmsg
_ATTRIBUTE: Final = struct.Struct("=HH")  # struct rtattr
_NUMBER: Final = struct.Struct("=I")
_RTM_NEWROUTE, _RTM_GETROUTE = 24, 26
_NLMSG_ERROR, _NLMSG_DONE = 2, 3
_DUMP: Final = 0x301  # NLM_F_REQUEST | NLM_F_DUMP
_REPLACE: Final = 0x505  # NLM_F_REQUEST | NLM_F_ACK | NLM_F_REPLACE | NLM_F_CREATE
_RTN_UNICAST: Final = 1
_ONLINK: Final = 4  # RTNH_F_ONLINK
_DST, _OIF, _GATEWAY, _PRIORITY, _PREFSRC, _TABLE = 1, 4, 5, 6, 7, 15  # RTA_…
_KINDS: Final = {_RTN_UNICAST: Kind.ONWARD, 6: Kind.BLACKHOLE, 7: Kind.UNREACHABLE}  # RTN_…
_IPV6_METRIC: Final = 1024  # the kernel's value for 0 (IP6_RT_PRIO_USER)
_SOL_NETLINK, _STRICT_CHECK = 270, 12  # the kernel lists only what matches the request's own fields
_BUFFER: Final = 1 << 18
_AT_ONCE: Final = 100  # their acknowledgements fit into a socket's buffer


def open_socket() -> socket.socket:
    """Open a socket in the calling thread's namespace, for the caller to close."""
    opened = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, 0)
    opened.setsockopt(_SOL_NETLINK, _STRICT_CHECK, 1)
    return opened


def read(opened: socket.socket, place: Place) -> Iterator[tuple[int, Route]]:
    """List our routes as pairs of link index (0 for none) and route, which has no link name yet.

    Raises OSError with the kernel's error. A route that changes during the dump may be missed (NLM_F_DUMP_INTR): only
    work on the same VPC changes routes, and that is serialised.
    """
    for family in FAMILIES:
        body = _ROUTE.pack(family, 0, 0, 0, 0, PROTOCOL, 0, 0, 0)
        opened.send(_HEADER.pack(_HEADER.size + _ROUTE.size, _RTM_GETROUTE, _DUMP, 1, 0) + body)
        for kind, buffer, start, end in received(opened):
            if kind == _NLMSG_DONE:
                break
            if kind == _NLMSG_ERROR:
                check(buffer, start)
            elif kind == _RTM_NEWROUTE and (found := decode(buffer, start, end, place)):
                yield found


def write(opened: socket.socket, routes: Iterable[tuple[int, Route]]) -> None:
    """Create routes, or replace those to the same destination; raises OSError with the kernel's error."""
    for some in batched(routes, _AT_ONCE):
        opened.send(b"".join(encode(index, route, number) for number, (index, route) in enumerate(some, 1)))
        answers = 0
        for kind, buffer, start, _ in received(opened):
            if kind == _NLMSG_ERROR:
                check(buffer, start)
                answers += 1
            if answers == len(some):
                break


def is_plain(route: Route) -> bool:
    """Tell whether `encode` supports a route: in the main table, to a next hop."""
    return bool(route.gateway) and not route.source and not route.metric and route.table == MAIN_TABLE


def encode(index: int, route: Route, sequence: int) -> bytes:
    """Return the message that creates a plain route by the link of this index."""
    family = socket.AF_INET6 if is_ipv6(route.destination) else socket.AF_INET
    address, _, length = route.destination.partition("/")
    body = _ROUTE.pack(family, int(length), 0, 0, MAIN_TABLE, PROTOCOL, 0, _RTN_UNICAST, _ONLINK)
    for kind, value in (
        (_DST, socket.inet_pton(family, address)),
        (_GATEWAY, socket.inet_pton(family, route.gateway)),
        (_OIF, _NUMBER.pack(index)),
    ):
        body += _ATTRIBUTE.pack(_ATTRIBUTE.size + len(value), kind) + value
    return _HEADER.pack(_HEADER.size + len(body), _RTM_NEWROUTE, _REPLACE, sequence, 0) + body


def decode(buffer: bytes, start: int, end: int, place: Place) -> tuple[int, Route] | None:
    """Decode the route in a message's body; None when it is of a kind that we never make, or not ours."""
    family, length, _, _, table, protocol, _, kind_number, _ = _ROUTE.unpack_from(buffer, start)
    kind = _KINDS.get(kind_number)
    if kind is None or protocol != PROTOCOL:
        return None
    found: dict[int, bytes] = {}
    at = start + _ROUTE.size
    while at + _ATTRIBUTE.size <= end:
        size, name = _ATTRIBUTE.unpack_from(buffer, at)
        found[name] = buffer[at + _ATTRIBUTE.size : at + size]
        at += (size + 3) & ~3
    numbers = {name: _NUMBER.unpack(found[name])[0] if name in found else 0 for name in (_OIF, _PRIORITY, _TABLE)}
    texts = {name: socket.inet_ntop(family, found[name]) for name in (_DST, _GATEWAY, _PREFSRC) if name in found}
    is_six = family == socket.AF_INET6
    metric = numbers[_PRIORITY]
    route = Route(
        place,
        f"{texts.get(_DST) or ('::' if is_six else '0.0.0.0')}/{length}",
        gateway=texts.get(_GATEWAY, ""),
        source=texts.get(_PREFSRC, ""),
        metric=0 if is_six and metric == _IPV6_METRIC else metric,
        table=numbers[_TABLE] or table,
        kind=kind,
    )
    return (numbers[_OIF] if kind is Kind.ONWARD else 0), route


def received(opened: socket.socket) -> Iterator[tuple[int, bytes, int, int]]:
    """Return the received messages: type, buffer, and where in it the body begins and ends."""
    while True:
        buffer = opened.recv(_BUFFER)
        at = 0
        while at + _HEADER.size <= len(buffer):
            size, kind, _, _, _ = _HEADER.unpack_from(buffer, at)
            yield kind, buffer, at + _HEADER.size, at + size
            at += (size + 3) & ~3


def check(buffer: bytes, start: int) -> None:
    """Raise the OSError that the body of an NLMSG_ERROR message is about; 0 is an acknowledgement."""
    (error,) = struct.unpack_from("=i", buffer, start)
    if error:
        raise OSError(-error, os.strerror(-error))
