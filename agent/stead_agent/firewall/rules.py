"""Convert security group rules into nft rules: pure.

Rules that differ only in their address block become one nft rule with a set of blocks, so a long list of blocks costs
one lookup; those that then differ only in their ports become one with a set of ports. Groups are matched by their sets
of members, prefix lists by their sets of blocks: one for each IP version.
"""

import re
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from functools import lru_cache
from ipaddress import IPv4Network, IPv6Address, IPv6Network, collapse_addresses, ip_network
from typing import Final, cast

from stead_agent.firewall.interface import GroupRule
from stead_agent.firewall.table import Statement

_NAMED_PROTOCOLS: Final = {"tcp": 6, "udp": 17, "icmp": 1, "icmpv6": 58}
_WITH_PORTS: Final = {6: "tcp", 17: "udp"}
_WITH_TYPES: Final = {1: "icmp", 58: "icmpv6"}
_ICMP_OF_VERSION: Final = {4: 1, 6: 58}
_ANY_PROTOCOL: Final = -1
_LAST_PORT: Final = 65535
_IDS_SHOWN: Final = 4

_GROUP_ID: Final = re.compile(r"sg-[0-9a-f]{8,32}\Z")
_LIST_ID: Final = re.compile(r"pl-[0-9a-f]{8,32}\Z")
_RULE_ID: Final = re.compile(r"[0-9A-Za-z._-]{1,64}\Z")


class RuleError(ValueError):
    """The rule is invalid."""


@dataclass(frozen=True, slots=True, order=True)
class Traffic:
    """A protocol with a range of ports, or an ICMP type and code; -1 = any."""

    protocol: int
    first: int
    last: int

    @property
    def text(self) -> str:
        """Return it as an nft match; "" for all traffic."""
        if self.protocol == _ANY_PROTOCOL:
            return ""
        if self.first == -1:
            return f"meta l4proto {self.protocol}"
        if self.protocol in _WITH_PORTS:
            ports = str(self.first) if self.first == self.last else f"{self.first}-{self.last}"
            return f"{_WITH_PORTS[self.protocol]} dport {ports}"
        name = _WITH_TYPES[self.protocol]
        code = f" {name} code {self.last}" if self.last != -1 else ""
        return f"{name} type {self.first}{code}"

    def exists_in(self, version: int) -> bool:
        """Tell whether an IP version has such traffic: each has its own ICMP, and nft refuses the other's."""
        return self.protocol not in _WITH_TYPES or self.protocol == _ICMP_OF_VERSION[version]

    def admits(self, protocol: int, port: int, code: int) -> bool:
        """Tell whether a packet to a port, or of an ICMP type and code, matches."""
        if self.protocol == _ANY_PROTOCOL:
            return True
        if self.protocol != protocol:
            return False
        if self.first == -1:
            return True
        if self.protocol in _WITH_PORTS:
            return self.first <= port <= self.last
        return self.first == port and self.last in (-1, code)


Block = IPv4Network | IPv6Network


def traffic_of(rule: GroupRule) -> Traffic:
    """Read a rule's protocol and ports as EC2 means them (API reference: IpPermission)."""
    return read_traffic(rule.protocol, rule.from_port, rule.to_port)


def read_traffic(protocol_text: str, first: int, last: int) -> Traffic:
    """Read a protocol with its ports, or ICMP type and code; RuleError when they are invalid."""
    try:
        protocol = _NAMED_PROTOCOLS.get(protocol_text) or int(protocol_text)
    except ValueError:
        raise RuleError(f"no protocol: {protocol_text!r}") from None
    if not -1 <= protocol <= 255:
        raise RuleError(f"no protocol: {protocol_text!r}")
    if protocol in _WITH_PORTS:
        if (first, last) in ((-1, -1), (0, _LAST_PORT)):
            return Traffic(protocol, -1, -1)
        if not 0 <= first <= last <= _LAST_PORT:
            raise RuleError(f"no range of ports: {first}-{last}")
        return Traffic(protocol, first, last)
    if protocol in _WITH_TYPES:
        if first == -1:
            return Traffic(protocol, -1, -1)
        if not (0 <= first <= 255 and -1 <= last <= 255):
            raise RuleError(f"no ICMP type and code: {first}, {last}")
        return Traffic(protocol, first, last)
    return Traffic(protocol, -1, -1)


def peer_of(rule: GroupRule) -> Block | str:
    """Read a rule's other side: a block of addresses, or the id of a group or a prefix list."""
    if not _RULE_ID.match(rule.id):
        raise RuleError(f"no id: {rule.id!r}")
    if is_group_id(rule.peer):
        return rule.peer
    try:
        if is_list_id(rule.peer):
            blocks_of(rule.blocks)
            return rule.peer
        return ip_network(rule.peer, strict=False)
    except ValueError:
        raise RuleError(f"neither blocks of addresses nor a group: {rule.peer!r}") from None


@lru_cache(maxsize=256)
def blocks_of(texts: tuple[str, ...]) -> tuple[frozenset[str], frozenset[str]]:
    """Read a prefix list's blocks, IPv4 and IPv6, with overlapping ones merged; ValueError when one is invalid."""
    blocks = [ip_network(text, strict=False) for text in texts]
    return (
        frozenset(str(block) for block in collapse_addresses(b for b in blocks if isinstance(b, IPv4Network))),
        frozenset(str(block) for block in collapse_addresses(b for b in blocks if isinstance(b, IPv6Network))),
    )


def is_group_id(text: str) -> bool:
    """Tell whether a text is a valid group id, and so safe in nft's input."""
    return _GROUP_ID.match(text) is not None


def is_list_id(text: str) -> bool:
    """Tell whether a text is a valid prefix list id, and so safe in nft's input."""
    return _LIST_ID.match(text) is not None


@lru_cache(maxsize=1024)
def statements(rules: tuple[GroupRule, ...], *, egress: bool) -> tuple[Statement, ...]:
    """Convert the rules of one direction, all of which must be valid, into nft rules.

    Cached, since each change of a VPC asks for all its groups, most of which are unchanged.
    """
    blocks: dict[tuple[Traffic, int], list[tuple[Block, str]]] = {}
    named: dict[tuple[Traffic, str, int], list[str]] = {}
    for rule in rules:
        if rule.egress is egress:
            traffic, peer = traffic_of(rule), peer_of(rule)
            if isinstance(peer, str):
                for version in (4, 6):
                    if traffic.exists_in(version):
                        named.setdefault((traffic, peer, version), []).append(rule.id)
            elif traffic.exists_in(peer.version):
                blocks.setdefault((traffic, peer.version), []).append((peer, rule.id))
    side = "daddr" if egress else "saddr"
    found = [
        (_match_blocks(side, version, given), traffic, [rule_id for _, rule_id in given])
        for (traffic, version), given in sorted(blocks.items(), key=lambda item: item[0])
    ]
    found += [
        (f"{_FAMILY[version]} {side} @{set_name(peer, version)}", traffic, ids)
        for (traffic, peer, version), ids in sorted(named.items())
    ]
    return _joined_by_ports(found)


def _joined_by_ports(found: list[tuple[str, Traffic, list[str]]]) -> tuple[Statement, ...]:
    """Merge rules that admit the same peers to ports of one protocol into one nft rule, at the first one's position."""
    together: dict[tuple[str, int | Traffic], list[tuple[Traffic, list[str]]]] = {}
    for peers, traffic, ids in found:
        has_ports = traffic.protocol in _WITH_PORTS and traffic.first != -1
        together.setdefault((peers, traffic.protocol if has_ports else traffic), []).append((traffic, ids))
    return tuple(
        Statement(
            _shown([rule_id for _, ids in each for rule_id in ids]),
            _joined(peers, _text_of([traffic for traffic, _ in each])),
        )
        for (peers, _), each in together.items()
    )


def _text_of(several: list[Traffic]) -> str:
    """Return port ranges of one protocol, merged where they meet, as an nft match; or a single traffic of any kind."""
    merged = several[:1]
    for traffic in several[1:]:  # they are sorted
        last = merged[-1]
        if traffic.first <= last.last + 1:
            merged[-1] = Traffic(last.protocol, last.first, max(last.last, traffic.last))
        else:
            merged.append(traffic)
    if len(merged) == 1:
        return merged[0].text
    ranges = ", ".join(each.text.rpartition(" ")[2] for each in merged)
    return f"{_WITH_PORTS[merged[0].protocol]} dport {{ {ranges} }}"


_FAMILY: Final = {4: "ip", 6: "ip6"}


def set_name(peer: str, version: int) -> str:
    """Return the name of the set of a group's addresses, or of a prefix list's blocks, of an IP version."""
    return f"{peer}-{version}"


def _joined(peers: str, traffic: str) -> str:
    return f"{peers} {traffic} accept".replace("  ", " ")


def _match_blocks(side: str, version: int, given: list[tuple[Block, str]]) -> str:
    """Match the blocks; overlapping ones are merged, since nft's sets would refuse them."""
    blocks = cast("list[IPv4Network]", [block for block, _ in given])  # or all IPv6: of one version, as is needed
    merged = [str(block) for block in collapse_addresses(blocks)]
    if merged[0].endswith("/0"):
        return f"meta nfproto ipv{version}"
    family = _FAMILY[version]
    if len(merged) == 1:
        return f"{family} {side} {merged[0]}"
    return f"{family} {side} {{ {', '.join(merged)} }}"


def _shown(ids: list[str]) -> str:
    more = f" and {len(ids) - _IDS_SHOWN} more" if len(ids) > _IDS_SHOWN else ""
    return ", ".join(sorted(ids)[:_IDS_SHOWN]) + more


def members_of(addresses: AbstractSet[str]) -> tuple[AbstractSet[str], frozenset[str], tuple[str, ...]]:
    """Split a group's members into the IPv4 and IPv6 addresses that are valid for nft, and invalid ones.

    One regular expression over all of them: ten thousand IPv4 addresses in a millisecond.
    """
    lines = "\n".join(addresses)
    if lines.count("\n") == len(addresses) - 1 and _IPV4_LINES.match(lines):
        return addresses, frozenset(), ()
    ipv4 = frozenset(address for address in addresses if _IPV4.match(address))
    others = {address: plain_ipv6(address) for address in addresses - ipv4}
    ipv6 = frozenset(plain for plain in others.values() if plain)
    return ipv4, ipv6, tuple(sorted(address for address, plain in others.items() if not plain))


_BYTE: Final = r"(?:25[0-5]|2[0-4]\d|1\d\d|[1-9]?\d)"
_ADDRESS: Final = rf"{_BYTE}\.{_BYTE}\.{_BYTE}\.{_BYTE}"
_IPV4: Final = re.compile(rf"{_ADDRESS}\Z", re.ASCII)
_IPV4_LINES: Final = re.compile(rf"{_ADDRESS}(?:\n{_ADDRESS})*\Z", re.ASCII)


def is_ipv4(text: str) -> bool:
    """Tell whether a text is an IPv4 address as nft writes it."""
    return _IPV4.match(text) is not None


@lru_cache(maxsize=1 << 16)
def plain_ipv6(text: str) -> str:
    """Write an IPv6 address in the form of RFC 5952; "" when it is invalid, or has a zone."""
    try:
        address = IPv6Address(text)
    except ValueError:
        return ""
    return "" if address.scope_id else str(address)
