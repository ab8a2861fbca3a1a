"""Bytes that leave a VPC for the internet or for other hosts, and come from the internet: counted by the kernel.

They are in an nft table of their own, which is made once with the namespace and never replaced, so its counters are as
old as the namespace. It comes after the firewall: what that drops is not counted.
Source of the numbers: linux/netfilter/nf_tables.h (NFT_MSG_GETSETELEM).
"""

import errno
import ipaddress
from collections.abc import Collection, Iterator, Mapping
from typing import Final

from stead_agent.logs import Log
from stead_agent.network.interface import NetworkError
from stead_agent.network.namespaces import Namespaces
from stead_agent.nfnetlink import NetfilterSocket, Span, attribute, attributes, each_attribute
from stead_agent.programs.run import RunError, run

_NFTABLES: Final = 10 << 8
_GET_ELEMENTS: Final = _NFTABLES | 13
_LIST_TABLE, _LIST_SET, _LIST_ELEMENTS = 1, 2, 3  # NFTA_SET_ELEM_LIST_…
_KEY, _EXPRESSION = 1, 7  # NFTA_SET_ELEM_…
_VALUE: Final = 1  # NFTA_DATA_VALUE
_EXPRESSION_DATA: Final = 2  # NFTA_EXPR_DATA
_BYTES: Final = 1  # NFTA_COUNTER_BYTES
_SECONDS: Final = 20.0
_TABLE: Final = "stead_traffic"
_SIZES: Final = {"4": 4, "6": 16}
_WAYS: Final = ("to_internet", "from_internet", "to_host")

_log = Log(__name__)


def _rules() -> str:
    sets = "".join(
        f"set {way}{version} {{ type {kind}{f' . {kind}' * (way == 'to_host')}; size 65535; flags dynamic; }}\n"
        for way in _WAYS
        for version, kind in (("4", "ipv4_addr"), ("6", "ipv6_addr"))
    )
    return f"""
        table inet {_TABLE} {{
          comment "Bytes that are billed, by address."
          {sets}
          chain passed {{
            type filter hook forward priority filter + 10; policy accept;
            oifname "internet" add @to_internet4 {{ ip saddr counter }}
            oifname "internet" add @to_internet6 {{ ip6 saddr counter }}
            iifname "internet" add @from_internet4 {{ ip daddr counter }}
            iifname "internet" add @from_internet6 {{ ip6 daddr counter }}
            oifname "vx" add @to_host4 {{ ip saddr . rt ip nexthop counter }}
            oifname "vx" add @to_host6 {{ ip6 saddr . rt ip6 nexthop counter }}
          }}
        }}
    """


def ensure(namespaces: Namespaces, vpc_id: str) -> list[str]:
    """Have a VPC's namespace count; return what was missing, and is counted from now on. Raises NetworkError."""
    try:
        namespaces.inside(vpc_id, lambda: _elements("to_internet4"))
    except OSError as error:
        if error.errno != errno.ENOENT:
            raise NetworkError(f"{vpc_id}: {error}") from error
        _make(namespaces, vpc_id)
        return [f"{vpc_id}: the counters of its traffic"]
    return []


def read(namespaces: Namespaces, vpc_ids: Collection[str]) -> dict[str, Mapping[tuple[str, str, str], int]]:
    """Return the bytes of those of these VPCs that count, by way, address, and underlay address of the other host."""
    found: dict[str, Mapping[tuple[str, str, str], int]] = {}
    for vpc_id in vpc_ids:
        try:
            found[vpc_id] = namespaces.inside(vpc_id, _read)
        except FileNotFoundError:
            continue  # it is not made yet, or is on its way out
        except (OSError, KeyError, ValueError) as error:
            _log.warning("traffic_not_read", vpc=vpc_id, reason=repr(error))
    return found


def _make(namespaces: Namespaces, vpc_id: str) -> None:
    entered = ["nsenter", f"--net={namespaces.path(vpc_id)}", "nft", "-f", "-"]
    try:
        run(entered, timeout=_SECONDS, stdin=_rules().encode())
    except RunError as error:
        raise NetworkError(str(error)) from error


def _read() -> dict[tuple[str, str, str], int]:
    """Read those of the namespace that this thread is in."""
    found = {}
    for way in _WAYS:
        for version, size in _SIZES.items():
            for key, count in _elements(f"{way}{version}"):
                host = str(ipaddress.IPv4Address(key[-4:])) if way == "to_host" else ""  # as of `overlay.ipv6_next_hop`
                found[way, str(ipaddress.ip_address(key[:size])), host] = count
    return found


def _elements(name: str) -> list[tuple[bytes, int]]:
    """Return the elements of a set, each with its bytes; OSError with ENOENT if there is no such set."""
    asked = attribute(_LIST_TABLE, f"{_TABLE}\0".encode()) + attribute(_LIST_SET, f"{name}\0".encode())
    netfilter = NetfilterSocket()
    try:
        return list(_counted(netfilter.dump(_GET_ELEMENTS, 1, asked)))  # NFPROTO_INET
    finally:
        netfilter.close()


def _counted(messages: list[tuple[bytes, Span]]) -> Iterator[tuple[bytes, int]]:
    for buffer, span in messages:
        for element in each_attribute(buffer, attributes(buffer, span).get(_LIST_ELEMENTS, (0, 0))):
            parts = attributes(buffer, element)
            key = attributes(buffer, parts[_KEY])[_VALUE]
            counter = attributes(buffer, attributes(buffer, parts[_EXPRESSION])[_EXPRESSION_DATA])
            yield buffer[slice(*key)], int.from_bytes(buffer[slice(*counter[_BYTES])])
