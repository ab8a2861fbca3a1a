"""Read and end the flows that a namespace's kernel tracks (linux/netfilter/nfnetlink_conntrack.h)."""

import socket
import struct
import sys
from collections.abc import Callable, Iterator
from typing import Final

from stead_agent.firewall.flows import Flow
from stead_agent.nfnetlink import NOT_THERE, NetfilterSocket, Span, attribute, attributes

_GET: Final = (1 << 8) | 1  # NFNL_SUBSYS_CTNETLINK, IPCTNL_MSG_CT_GET
_GET_STATS: Final = (1 << 8) | 5  # IPCTNL_MSG_CT_GET_STATS
_STATS_ENTRIES: Final = 1  # CTA_STATS_GLOBAL_ENTRIES
_DELETE: Final = (1 << 8) | 2  # IPCTNL_MSG_CT_DELETE
_TUPLE_ORIGINAL, _TUPLE_REPLY, _ID, _ZONE, _FILTER = 1, 2, 12, 18, 25  # CTA_…
_TUPLE_IP, _TUPLE_PROTOCOL = 1, 2
_SOURCES: Final = {socket.AF_INET: 1, socket.AF_INET6: 3}  # CTA_IP_V4_SRC, CTA_IP_V6_SRC
_PROTOCOL_NUMBER, _DESTINATION_PORT = 1, 3
_ICMP: Final = {socket.AF_INET: (5, 6), socket.AF_INET6: (8, 9)}  # CTA_PROTO_ICMP_TYPE and _CODE, of ICMPv6
_FILTER_ORIGINAL, _FILTER_REPLY = 1, 2
_BY_SOURCE: Final = 1  # CTA_FILTER_F_CTA_IP_SRC in the kernel's nf_internals.h

_Candidate = tuple[socket.AddressFamily, bytes, Span]

# The kernel searches one table that it has for all namespaces, some milliseconds each time. Above this many addresses,
# or with fewer flows than that, reading all flows once is cheaper than a search by the kernel for each address.
_SEARCHES: Final = 8
_FEW_FLOWS: Final = 4000


def end_flows(netfilter: NetfilterSocket, addresses: frozenset[str], admits: Callable[[Flow], bool]) -> int:
    """End the flows from or to these private addresses that are no longer admitted; return how many."""
    count = _count(netfilter) if addresses else 0
    if not count:
        return 0
    ended = 0
    wanted = {socket.inet_pton(_family_of(address), address) for address in addresses}
    allowed: dict[bytes, bool] = {}  # flows of one kind are judged once: a guest may have a hundred thousand
    candidates = _all(netfilter) if count < _FEW_FLOWS or len(wanted) > _SEARCHES else _searched(netfilter, wanted)
    for family, buffer, span in candidates:
        kind = _kind(buffer, span, family)
        if kind not in allowed:
            allowed[kind] = _is_allowed(buffer, attributes(buffer, span), family, wanted, admits)
        if not allowed[kind]:
            ended += _end(netfilter, family, buffer, attributes(buffer, span))
    return ended


def _family_of(address: str) -> socket.AddressFamily:
    return socket.AF_INET6 if ":" in address else socket.AF_INET


def _count(netfilter: NetfilterSocket) -> int:
    """Count the flows of this namespace."""
    buffer, span = netfilter.get(_GET_STATS)
    start, end = attributes(buffer, span)[_STATS_ENTRIES]
    return int.from_bytes(buffer[start:end])


def _kind(buffer: bytes, span: Span, family: socket.AddressFamily) -> bytes:
    """Return what the judgement depends on: all of both tuples except the client's port, or the ICMP id.

    The kernel writes the tuples first, with their addresses, protocol and ports always at the same places
    (ctnetlink_fill_info in net/netfilter/nf_conntrack_netlink.c): an IPv4 tuple's addresses end after 20 bytes, an IPv6
    one's after 44; its protocol takes 12 more, then come 8 of the client's port.
    """
    first = span[0]
    second = first + int.from_bytes(buffer[first : first + 2], sys.byteorder)
    addresses = 20 if family == socket.AF_INET else 44
    protocol = 4 + addresses + 12
    return (
        buffer[first + 4 : first + protocol]
        + buffer[first + protocol + 8 : second]
        + buffer[second + 4 : second + 4 + addresses]
    )


def _is_allowed(
    buffer: bytes,
    parts: dict[int, Span],
    family: socket.AddressFamily,
    wanted: set[bytes],
    admits: Callable[[Flow], bool],
) -> bool:
    """Tell whether a flow may go on: it does not use these addresses, or it is admitted."""
    original = _addresses(buffer, parts[_TUPLE_ORIGINAL], family)
    reply = _addresses(buffer, parts[_TUPLE_REPLY], family)
    return (original[0] not in wanted and reply[0] not in wanted) or admits(
        _flow(buffer, parts, family, original, reply)
    )


def _all(netfilter: NetfilterSocket) -> Iterator[_Candidate]:
    """List all flows; the family of each precedes its attributes (struct nfgenmsg)."""
    for buffer, span in netfilter.dump(_GET, socket.AF_UNSPEC):
        yield socket.AddressFamily(buffer[span[0] - 4]), buffer, span


def _searched(netfilter: NetfilterSocket, wanted: set[bytes]) -> Iterator[_Candidate]:
    """List flows whose original or reply source is one of these addresses; a flow may be listed twice."""
    for address in wanted:
        family = socket.AF_INET if len(address) == 4 else socket.AF_INET6
        for tuple_kind, filter_kind in ((_TUPLE_ORIGINAL, _FILTER_ORIGINAL), (_TUPLE_REPLY, _FILTER_REPLY)):
            source = attribute(_TUPLE_IP, attribute(_SOURCES[family], address), nested=True)
            flags = attribute(filter_kind, struct.pack("=I", _BY_SOURCE))
            body = attribute(tuple_kind, source, nested=True) + attribute(_FILTER, flags, nested=True)
            for buffer, span in netfilter.dump(_GET, family, body):
                yield family, buffer, span


def _addresses(buffer: bytes, tuple_span: Span, family: socket.AddressFamily) -> tuple[bytes, bytes]:
    """Read a tuple's source and destination."""
    ip = attributes(buffer, attributes(buffer, tuple_span)[_TUPLE_IP])
    source = _SOURCES[family]
    return buffer[slice(*ip[source])], buffer[slice(*ip[source + 1])]


def _flow(
    buffer: bytes,
    parts: dict[int, Span],
    family: socket.AddressFamily,
    original: tuple[bytes, bytes],
    reply: tuple[bytes, bytes],
) -> Flow:
    protocol = attributes(buffer, attributes(buffer, parts[_TUPLE_ORIGINAL])[_TUPLE_PROTOCOL])

    def number(kind: int) -> int:
        return int.from_bytes(buffer[slice(*protocol[kind])]) if kind in protocol else -1

    icmp_type, icmp_code = _ICMP[family]
    return Flow(
        protocol=number(_PROTOCOL_NUMBER),
        source=socket.inet_ntop(family, original[0]),
        destination=socket.inet_ntop(family, original[1]),
        port=number(icmp_type) if icmp_type in protocol else number(_DESTINATION_PORT),
        code=number(icmp_code),
        answers_from=socket.inet_ntop(family, reply[0]),
        answers_to=socket.inet_ntop(family, reply[1]),
    )


def _end(netfilter: NetfilterSocket, family: socket.AddressFamily, buffer: bytes, parts: dict[int, Span]) -> int:
    """End one flow, by its id so that a later one of the same addresses is safe; return 0 when it had already ended."""
    body = attribute(_TUPLE_ORIGINAL, buffer[slice(*parts[_TUPLE_ORIGINAL])], nested=True)
    for kind in (_ID, _ZONE):
        if kind in parts:
            body += attribute(kind, buffer[slice(*parts[kind])])
    try:
        netfilter.do(_DELETE, family, body)
    except OSError as error:
        if error.errno == NOT_THERE:
            return 0
        raise
    return 1
