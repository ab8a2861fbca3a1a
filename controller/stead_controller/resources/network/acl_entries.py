"""Parse what an entry of a network ACL matches from the parameters of EC2's requests. Pure.

See https://docs.aws.amazon.com/AWSEC2/latest/APIReference/API_CreateNetworkAclEntry.html.
"""

from dataclasses import dataclass
from typing import Final

from stead_controller.errors import InvalidCombination, InvalidParameter, MissingParameter
from stead_controller.request.written_blocks import canonical_block

ALL_PROTOCOLS: Final = "-1"
FIRST_RULE: Final = 1
LAST_RULE: Final = 32766
_TCP: Final = "6"
_UDP: Final = "17"
_ICMP: Final = "1"
_ICMPV6: Final = "58"
_NAMES: Final = {"tcp": _TCP, "udp": _UDP, "icmp": _ICMP, "icmpv6": _ICMPV6, "all": ALL_PROTOCOLS}
_MAX_PROTOCOL: Final = 255
_PORTS: Final = range(65536)
_ICMP_RANGE: Final = range(-1, 256)


@dataclass(frozen=True, slots=True)
class AskedEntry:
    """An entry as in a request; `ports` and `icmp` are (from, to) and (type, code), absent parts None."""

    rule_number: int
    egress: bool
    protocol: str
    rule_action: str
    cidr_block: str | None = None
    ipv6_cidr_block: str | None = None
    ports: tuple[int | None, int | None] | None = None
    icmp: tuple[int | None, int | None] | None = None


@dataclass(frozen=True, slots=True)
class Entry:
    """An entry in canonical form: protocol as number or -1; ports for TCP and UDP, type and code for ICMP only."""

    rule_number: int
    egress: bool
    protocol: str
    allow: bool
    cidr_ipv4: str | None = None
    cidr_ipv6: str | None = None
    from_port: int | None = None
    to_port: int | None = None
    icmp_type: int | None = None
    icmp_code: int | None = None


def read_entry(asked: AskedEntry) -> Entry:
    """Convert a request's entry to canonical form; raises InvalidParameter, MissingParameter, InvalidCombination.

    A block's host bits are cleared, as EC2 does.
    """
    check_number(asked.rule_number)
    if asked.rule_action not in ("allow", "deny"):
        raise InvalidParameter(f"Value ({asked.rule_action}) for parameter ruleAction is invalid. Use allow or deny")
    protocol = _protocol(asked.protocol)
    ipv4, ipv6 = _blocks(asked)
    if protocol == _ICMPV6 and ipv6 is None:
        raise InvalidParameter("An entry for ICMPv6 (protocol 58) must have an IPv6 CIDR block.")
    first = last = kind = code = None
    if protocol in (_TCP, _UDP):
        first, last = _ports(asked.ports)
    elif protocol in (_ICMP, _ICMPV6):
        kind, code = _icmp(asked.icmp)
    return Entry(
        asked.rule_number, asked.egress, protocol, asked.rule_action == "allow", ipv4, ipv6, first, last, kind, code
    )


def check_number(rule_number: int) -> None:
    """Raise InvalidParameter unless a rule's number is one that users may use: 1 to 32766."""
    if not FIRST_RULE <= rule_number <= LAST_RULE:
        raise InvalidParameter(
            f"Value ({rule_number}) for parameter ruleNumber is invalid. "
            f"Rule number must be between {FIRST_RULE} and {LAST_RULE}"
        )


def _protocol(text: str) -> str:
    protocol = _NAMES.get(text.lower(), text)
    if protocol == ALL_PROTOCOLS:
        return protocol
    if protocol.isascii() and protocol.isdigit() and len(protocol) <= 3 and int(protocol) <= _MAX_PROTOCOL:
        return str(int(protocol))
    raise InvalidParameter(f"Invalid value '{text[:40]}' for protocol. Unknown protocol.")


def _blocks(asked: AskedEntry) -> tuple[str | None, str | None]:
    if asked.cidr_block is not None and asked.ipv6_cidr_block is not None:
        raise InvalidCombination("The parameters cidrBlock and ipv6CidrBlock cannot be used together")
    if asked.cidr_block is not None:
        return canonical_block(asked.cidr_block, 4), None
    if asked.ipv6_cidr_block is not None:
        return None, canonical_block(asked.ipv6_cidr_block, 6)
    raise MissingParameter("cidrBlock or ipv6CidrBlock")


def _ports(ports: tuple[int | None, int | None] | None) -> tuple[int, int]:
    first, last = ports or (None, None)
    if first is None or last is None:
        raise MissingParameter("portRange")
    if first not in _PORTS or last not in _PORTS or first > last:
        raise InvalidParameter(f"Value ({first}-{last}) for parameter portRange is invalid.")
    return first, last


def _icmp(icmp: tuple[int | None, int | None] | None) -> tuple[int, int]:
    kind, code = icmp or (None, None)
    if kind is None:
        raise MissingParameter("icmpTypeCode")
    code = -1 if code is None else code
    if kind not in _ICMP_RANGE or code not in _ICMP_RANGE or (kind == -1 and code != -1):
        raise InvalidParameter(f"Value ({kind}, {code}) for parameter icmpTypeCode is invalid.")
    return kind, code
