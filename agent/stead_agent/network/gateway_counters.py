"""Read what the kernel has counted of a NAT gateway, by netlink and without a program.

Sources: linux/netfilter/nf_tables.h (NFT_MSG_GETOBJ), linux/netfilter/nfnetlink_conntrack.h (IPCTNL_MSG_CT_GET_STATS).
"""

import socket
from collections.abc import Iterable
from typing import Final

from stead_agent.logs import Log
from stead_agent.network.interface import GatewayCounters
from stead_agent.network.namespaces import Namespaces
from stead_agent.nfnetlink import NetfilterSocket, Span, attributes

_GET_OBJECTS: Final = (10 << 8) | 19  # NFNL_SUBSYS_NFTABLES, NFT_MSG_GETOBJ
_NAME, _TYPE, _DATA = 2, 3, 4  # NFTA_OBJ_…
_COUNTER: Final = 1  # NFT_OBJECT_COUNTER
_BYTES, _PACKETS = 1, 2  # NFTA_COUNTER_…
_GET_STATS_OF_PROCESSORS: Final = (1 << 8) | 4  # NFNL_SUBSYS_CTNETLINK, IPCTNL_MSG_CT_GET_STATS_CPU
_INSERT_FAILED: Final = 9  # CTA_STATS_INSERT_FAILED: another flow has the address and port that this one got
_GET_STATS: Final = (1 << 8) | 5  # IPCTNL_MSG_CT_GET_STATS
_ENTRIES: Final = 1  # CTA_STATS_GLOBAL_ENTRIES
_OF_BYTES: Final = frozenset({"from_source", "to_destination", "from_destination", "to_source"})

_log = Log(__name__)


def read(namespaces: Namespaces, gateway_ids: Iterable[str]) -> dict[str, GatewayCounters]:
    """Return the counters of those of these gateways that have a namespace and can be read."""
    found = {}
    for gateway_id in gateway_ids:
        try:
            found[gateway_id] = namespaces.inside(gateway_id, _read)
        except FileNotFoundError:
            continue  # it is not made yet, or is on its way out
        except (OSError, KeyError) as error:
            _log.warning("nat_gateway_not_measured", gateway=gateway_id, reason=repr(error))
    return found


def _read() -> GatewayCounters:
    """Read those of the namespace that this thread is in."""
    netfilter = NetfilterSocket()
    try:
        objects = netfilter.dump(_GET_OBJECTS, socket.AF_INET)
        of_processors = netfilter.dump(_GET_STATS_OF_PROCESSORS, socket.AF_UNSPEC)
        buffer, span = netfilter.get(_GET_STATS)
    finally:
        netfilter.close()
    numbers: dict[str, int] = {}
    for name, octets, packets in _counters(objects):
        if name in _OF_BYTES:
            numbers |= {f"{name}_bytes": octets, f"{name}_packets": packets}
        else:
            numbers[name] = packets
    return GatewayCounters(
        flows=_number(buffer, attributes(buffer, span)[_ENTRIES]),
        without_port=sum(_number(each, attributes(each, one)[_INSERT_FAILED]) for each, one in of_processors),
        **numbers,
    )


def _counters(objects: Iterable[tuple[bytes, Span]]) -> Iterable[tuple[str, int, int]]:
    for buffer, span in objects:
        parts = attributes(buffer, span)
        if _number(buffer, parts[_TYPE]) == _COUNTER:
            start, end = parts[_NAME]
            data = attributes(buffer, parts[_DATA])
            name = buffer[start : end - 1].decode("ascii")
            yield name, _number(buffer, data[_BYTES]), _number(buffer, data[_PACKETS])


def _number(buffer: bytes, span: Span) -> int:
    return int.from_bytes(buffer[slice(*span)])
