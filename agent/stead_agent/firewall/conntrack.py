"""The flows that a namespace's kernel tracks: read, and ended (linux/netfilter/nfnetlink_conntrack.h)."""

import socket
import struct
import sys
from collections.abc import Callable, Iterator
from typing import Final

from stead_agent.firewall.flows import Flow
from stead_agent.firewall.nfnetlink import NOT_THERE, NetfilterSocket, Span, attribute, attributes

_GET: Final = (1 << 8) | 1  # NFNL_SUBSYS_CTNETLINK, IPCTNL_MSG_CT_GET
_GET_STATS: Final = (1 << 8) | 5  # IPCTNL_MSG_CT_GET_STATS
_STATS_ENTRIES: Final = 1  # CTA_STATS_GLOBAL_ENTRIES
_DELETE: Final = (1 << 8) | 2  # IPCTNL_MSG_CT_DELETE
_TUPLE_ORIGINAL, _TUPLE_REPLY, _ID, _ZONE, _FILTER = 1, 2, 12, 18, 25  # CTA_…
_TUPLE_IP, _TUPLE_PROTOCOL = 1, 2
_IP_SOURCE, _IP_DESTINATION = 1, 2
_PROTOCOL_NUMBER, _DESTINATION_PORT, _ICMP_TYPE, _ICMP_CODE = 1, 3, 5, 6
_FILTER_ORIGINAL, _FILTER_REPLY = 1, 2
_BY_SOURCE: Final = 1  # CTA_FILTER_F_CTA_IP_SRC in the kernel's nf_internals.h

# Above this many addresses, reading all flows once is cheaper than letting the kernel search for each.
_SEARCHES: Final = 8


def end_flows(netfilter: NetfilterSocket, addresses: frozenset[str], admits: Callable[[Flow], bool]) -> int:
    """End the IPv4 flows from or to these private addresses that are not admitted any more; tell how many."""
    ended = 0
    if not addresses or not _count(netfilter):
        return ended
    wanted = {socket.inet_aton(address) for address in addresses}
    kept: dict[bytes, bool] = {}  # flows of one kind are judged once: a guest may have a hundred thousand
    for buffer, span in _candidates(netfilter, wanted):
        kind = _kind(buffer, span)
        if kind not in kept:
            kept[kind] = _is_kept(buffer, attributes(buffer, span), wanted, admits)
        if not kept[kind]:
            ended += _end(netfilter, buffer, attributes(buffer, span))
    return ended


def _count(netfilter: NetfilterSocket) -> int:
    """Count the flows of this namespace: to search them, the kernel walks a table that it has for all namespaces."""
    buffer, span = netfilter.get(_GET_STATS)
    start, end = attributes(buffer, span)[_STATS_ENTRIES]
    return int.from_bytes(buffer[start:end])


def _kind(buffer: bytes, span: Span) -> bytes:
    """Give what judgement depends on: all of both tuples but the asker's port, or the ICMP id.

    The kernel writes the tuples first, IPv4 ones with their addresses, protocol and ports always at the same places
    (ctnetlink_fill_info in net/netfilter/nf_conntrack_netlink.c); 20 bytes are the addresses, 32 with the protocol.
    """
    first = span[0]
    second = first + int.from_bytes(buffer[first : first + 2], sys.byteorder)
    return buffer[first + 4 : first + 36] + buffer[first + 44 : second] + buffer[second + 4 : second + 24]


def _is_kept(buffer: bytes, parts: dict[int, Span], wanted: set[bytes], admits: Callable[[Flow], bool]) -> bool:
    """Tell whether a flow may go on: it is none of these addresses', or is admitted."""
    original = _addresses(buffer, parts[_TUPLE_ORIGINAL])
    reply = _addresses(buffer, parts[_TUPLE_REPLY])
    return (original[0] not in wanted and reply[0] not in wanted) or admits(_flow(buffer, parts, original, reply))


def _candidates(netfilter: NetfilterSocket, wanted: set[bytes]) -> Iterator[tuple[bytes, Span]]:
    """List flows that begin or really end at these addresses, perhaps with others, perhaps one twice."""
    if len(wanted) > _SEARCHES:
        yield from netfilter.dump(_GET, socket.AF_INET)
        return
    for address in wanted:
        for tuple_kind, filter_kind in ((_TUPLE_ORIGINAL, _FILTER_ORIGINAL), (_TUPLE_REPLY, _FILTER_REPLY)):
            source = attribute(_TUPLE_IP, attribute(_IP_SOURCE, address), nested=True)
            flags = attribute(filter_kind, struct.pack("=I", _BY_SOURCE))
            body = attribute(tuple_kind, source, nested=True) + attribute(_FILTER, flags, nested=True)
            yield from netfilter.dump(_GET, socket.AF_INET, body)


def _addresses(buffer: bytes, tuple_span: Span) -> tuple[bytes, bytes]:
    """Read a tuple's source and destination."""
    ip = attributes(buffer, attributes(buffer, tuple_span)[_TUPLE_IP])
    return buffer[slice(*ip[_IP_SOURCE])], buffer[slice(*ip[_IP_DESTINATION])]


def _flow(buffer: bytes, parts: dict[int, Span], original: tuple[bytes, bytes], reply: tuple[bytes, bytes]) -> Flow:
    protocol = attributes(buffer, attributes(buffer, parts[_TUPLE_ORIGINAL])[_TUPLE_PROTOCOL])

    def number(kind: int) -> int:
        return int.from_bytes(buffer[slice(*protocol[kind])]) if kind in protocol else -1

    return Flow(
        protocol=number(_PROTOCOL_NUMBER),
        source=socket.inet_ntoa(original[0]),
        destination=socket.inet_ntoa(original[1]),
        port=number(_ICMP_TYPE) if _ICMP_TYPE in protocol else number(_DESTINATION_PORT),
        code=number(_ICMP_CODE),
        answers_from=socket.inet_ntoa(reply[0]),
        answers_to=socket.inet_ntoa(reply[1]),
    )


def _end(netfilter: NetfilterSocket, buffer: bytes, parts: dict[int, Span]) -> int:
    """End one flow, by its id so that a later one of the same addresses is safe; 0 when it ended by itself."""
    body = attribute(_TUPLE_ORIGINAL, buffer[slice(*parts[_TUPLE_ORIGINAL])], nested=True)
    for kind in (_ID, _ZONE):
        if kind in parts:
            body += attribute(kind, buffer[slice(*parts[kind])])
    try:
        netfilter.do(_DELETE, socket.AF_INET, body)
    except OSError as error:
        if error.errno == NOT_THERE:
            return 0
        raise
    return 1
