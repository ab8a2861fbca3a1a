"""The kernel's flow counts and rejected packets, read by netlink in a VPC's namespace.

linux/netfilter/nfnetlink_conntrack.h and nfnetlink_log.h.
"""

import contextlib
import errno
import itertools
import socket
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from stead_agent.flow_logs.interface import REJECTED_GROUP, REJECTED_OUT, Namespaces
from stead_agent.flow_logs.tally import Counted, Rejected
from stead_agent.nfnetlink import NetfilterSocket, Span, attribute, attributes

_GET_AND_ZERO: Final = (1 << 8) | 3  # NFNL_SUBSYS_CTNETLINK, IPCTNL_MSG_CT_GET_CTRZERO
_GROUP_DESTROY: Final = 3  # NFNLGRP_CONNTRACK_DESTROY
_TUPLES: Final = (1, 2)  # CTA_TUPLE_ORIG, CTA_TUPLE_REPLY
_COUNTERS: Final = (9, 10)  # CTA_COUNTERS_ORIG, CTA_COUNTERS_REPLY
_TUPLE_IP, _TUPLE_PROTOCOL, _NUMBER, _SOURCE_PORT = 1, 2, 1, 2
_PACKETS, _BYTES = 1, 2
_EVENT_ROOM: Final = 4 << 20
_BUFFERS: Final = 256
_MOST_READ: Final = 50_000  # tracked flows per read; more are skipped
_ACCOUNTING: Final = Path("/proc/sys/net/netfilter/nf_conntrack_acct")

_CONFIGURE: Final = (4 << 8) | 1  # NFNL_SUBSYS_ULOG, NFULNL_MSG_CONFIG
_COMMAND, _MODE, _TIMEOUT, _THRESHOLD = 1, 2, 4, 5  # NFULA_CFG_…
_BIND, _COPY_PACKET = 1, 2
_HARDWARE_ADDRESS, _PAYLOAD, _PREFIX = 8, 9, 10  # NFULA_…
_SNAPPED: Final = 128
_PORTS: Final = frozenset({6, 17, 33, 132, 136})
_IPV6_EXTENSIONS: Final = frozenset({0, 43, 60})
_FRAGMENT: Final = 44


class LostEventsError(Exception):
    """The kernel had more events than the socket's buffer could hold."""


class Accepted:
    """The counts of tracked flows: of existing ones at each read, of ended ones when they end."""

    def __init__(self, namespaces: Namespaces, vpc_id: str) -> None:
        namespaces.inside(vpc_id, _count_from_now_on)
        self._asking = namespaces.inside(vpc_id, NetfilterSocket)
        self.ended = namespaces.inside(vpc_id, NetfilterSocket)
        self.ended.join(_GROUP_DESTROY, _EVENT_ROOM)

    def close(self) -> None:
        """Close the sockets, and with them the hold on the namespace."""
        self._asking.close()
        self.ended.close()

    def look(self) -> Iterator[Counted]:
        """Return what all tracked flows carried since the last read."""
        found = self._asking.dump(_GET_AND_ZERO, socket.AF_UNSPEC)
        for buffer, span in itertools.islice(found, _MOST_READ):
            yield from _counted(buffer, span)
        if len(found) > _MOST_READ:
            raise LostEventsError

    def read_ended(self) -> Iterator[Counted]:
        """Return what ended flows carried since the last read."""
        for buffer, span in _events(self.ended):
            yield from _counted(buffer, span)


class Turned:
    """Packets that the firewall rejected, as far as it samples them."""

    def __init__(self, namespaces: Namespaces, vpc_id: str) -> None:
        self.log = namespaces.inside(vpc_id, NetfilterSocket)
        for kind, value in (
            (_COMMAND, struct.pack("=B", _BIND)),
            (_MODE, struct.pack("!IBx", _SNAPPED, _COPY_PACKET)),
            (_TIMEOUT, struct.pack("!I", 10)),  # hundredths of a second
            (_THRESHOLD, struct.pack("!I", 64)),
        ):
            self.log.do(_CONFIGURE, socket.AF_UNSPEC, attribute(kind, value), REJECTED_GROUP)

    def close(self) -> None:
        """Close the socket, and with it the hold on the namespace."""
        self.log.close()

    def read(self) -> Iterator[Rejected]:
        """Return the packets received so far."""
        for buffer, span in _events(self.log):
            packet = _rejected(buffer, attributes(buffer, span))
            if packet is not None:
                yield packet


def _count_from_now_on() -> None:
    """Let the namespace count packets and bytes of flows that begin from now on."""
    _ACCOUNTING.write_text("1", encoding="ascii")


def _events(netfilter: NetfilterSocket) -> Iterator[tuple[bytes, Span]]:
    """Return the events received so far, up to a limit, so that other VPCs are read too."""
    try:
        for _ in range(_BUFFERS):
            found = list(netfilter.events())
            if not found:
                return
            yield from found
    except OSError as error:
        if error.errno == errno.ENOBUFS:
            raise LostEventsError from error
        raise


def _counted(buffer: bytes, span: Span) -> Iterator[Counted]:
    parts = attributes(buffer, span)
    if not all(kind in parts for kind in (*_TUPLES, *_COUNTERS)):
        return  # it began before counting was enabled
    forth, back = (_counter(buffer, parts[kind]) for kind in _COUNTERS)
    if not forth[0] and not back[0]:
        return
    (asker, asker_port, protocol), (answerer, answerer_port, _) = (_end(buffer, parts[kind]) for kind in _TUPLES)
    yield Counted(protocol, asker, answerer, asker_port, answerer_port, forth, back)


def _counter(buffer: bytes, span: Span) -> tuple[int, int]:
    parts = attributes(buffer, span)
    return int.from_bytes(buffer[slice(*parts[_PACKETS])]), int.from_bytes(buffer[slice(*parts[_BYTES])])


def _end(buffer: bytes, span: Span) -> tuple[str, int, int]:
    """Return a tuple's source address, source port and protocol."""
    parts = attributes(buffer, span)
    source = buffer[slice(*next(iter(attributes(buffer, parts[_TUPLE_IP]).values())))]
    protocol = attributes(buffer, parts[_TUPLE_PROTOCOL])
    port = int.from_bytes(buffer[slice(*protocol[_SOURCE_PORT])]) if _SOURCE_PORT in protocol else 0
    return _address(source), port, int.from_bytes(buffer[slice(*protocol[_NUMBER])])


def _address(packed: bytes) -> str:
    return socket.inet_ntop(socket.AF_INET if len(packed) == 4 else socket.AF_INET6, packed)


def _rejected(buffer: bytes, parts: dict[int, Span]) -> Rejected | None:
    packet = buffer[slice(*parts[_PAYLOAD])] if _PAYLOAD in parts else b""
    if len(packet) < 20:
        return None
    prefix = buffer[slice(*parts[_PREFIX])].rstrip(b"\0").decode("ascii", "replace") if _PREFIX in parts else ""
    mac = ""
    if _HARDWARE_ADDRESS in parts:
        start = parts[_HARDWARE_ADDRESS][0] + 4
        mac = buffer[start : start + 6].hex(":")
    is_egress = prefix == REJECTED_OUT
    with contextlib.suppress(IndexError, struct.error):  # truncated too early to contain more
        if packet[0] >> 4 == 4:
            (length,) = struct.unpack_from("!H", packet, 2)
            protocol, place = packet[9], (packet[0] & 15) * 4
            source, destination = _address(packet[12:16]), _address(packet[16:20])
        else:
            length = 40 + struct.unpack_from("!H", packet, 4)[0]
            protocol, place = _upper_layer(packet)
            source, destination = _address(packet[8:24]), _address(packet[24:40])
        port, other_port = 0, 0
        if protocol in _PORTS and len(packet) >= place + 4:
            port, other_port = struct.unpack_from("!HH", packet, place)
        return Rejected(protocol, source, destination, port, other_port, length, mac, is_egress)
    return None


def _upper_layer(packet: bytes) -> tuple[int, int]:
    """Return an IPv6 packet's protocol behind its extension headers, and its offset."""
    kind, place = packet[6], 40
    while kind in _IPV6_EXTENSIONS or kind == _FRAGMENT:
        length = 8 if kind == _FRAGMENT else (packet[place + 1] + 1) * 8
        kind, place = packet[place], place + length
    return kind, place
