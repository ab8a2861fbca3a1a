"""Parse what a security group rule allows from the parameters of EC2's requests. Pure.

A `Permission` is the form in requests: one protocol with its ports, and any number of peers. A `Rule` is the stored
form: one protocol with its ports and exactly one peer, in canonical form, so that equal rules compare equal
(https://docs.aws.amazon.com/AWSEC2/latest/APIReference/API_IpPermission.html).
"""

import ipaddress
import re
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from typing import Final

from stead_controller.errors import InvalidParameter, MissingParameter

ANY: Final = -1
ALL_PROTOCOLS: Final = "-1"
_NAMES: Final = {"6": "tcp", "17": "udp", "1": "icmp", "58": "icmpv6", "all": ALL_PROTOCOLS}
_PORTS: Final = range(65536)
_ICMP: Final = range(-1, 256)
_MAX_PROTOCOL: Final = 255
_BLOCK: Final = re.compile(r"[0-9a-fA-F:.]+/[0-9]{1,3}\Z")
_DESCRIPTION: Final = re.compile(r"[a-zA-Z0-9. _\-:/()#,@\[\]+=&;{}!$*]{0,255}\Z")


@dataclass(frozen=True, slots=True)
class Block:
    """A CIDR block as it is written in a request."""

    cidr: str
    description: str | None = None


@dataclass(frozen=True, slots=True)
class GroupReference:
    """Another security group as named in a request; `user_id` is its account, the caller's own when absent.

    `vpc_id` and `peering_id`, if given, are its required VPC and the connection by which it is reached.
    """

    group_id: str | None = None
    group_name: str | None = None
    user_id: str | None = None
    description: str | None = None
    vpc_id: str | None = None
    peering_id: str | None = None


@dataclass(frozen=True, slots=True)
class PrefixListReference:
    """A managed prefix list as a request names it."""

    prefix_list_id: str
    description: str | None = None


@dataclass(frozen=True, slots=True)
class Permission:
    """One of a request's IpPermissions."""

    protocol: str | None = None
    from_port: int | None = None
    to_port: int | None = None
    ipv4: tuple[Block, ...] = ()
    ipv6: tuple[Block, ...] = ()
    groups: tuple[GroupReference, ...] = ()
    prefix_lists: tuple[PrefixListReference, ...] = ()


@dataclass(frozen=True, slots=True)
class Reached:
    """How a group of another VPC is reached: its account (None: the rule's own), its VPC, the peering connection."""

    account_id: str | None
    vpc_id: str
    peering_id: str


@dataclass(frozen=True, slots=True)
class Rule:
    """One rule with one peer, in canonical form; -1 is any port, ICMP type or code.

    `reached` is set for a group of a peered VPC and is not part of the comparison.
    """

    protocol: str
    from_port: int
    to_port: int
    cidr_ipv4: str | None = None
    cidr_ipv6: str | None = None
    peer_group_id: str | None = None
    prefix_list_id: str | None = None
    description: str | None = None
    reached: Reached | None = field(default=None, compare=False)

    @property
    def identity(self) -> "Rule":
        """The values by which two rules are equal: all but the description."""
        return replace(self, description=None)

    def __str__(self) -> str:
        """Describe the rule as EC2's error messages do."""
        peer = self.cidr_ipv4 or self.cidr_ipv6 or self.peer_group_id or self.prefix_list_id
        if self.protocol == ALL_PROTOCOLS:
            return f"peer: {peer}, ALL, ALLOW"
        ports = "" if self.from_port == ANY else f", from port: {self.from_port}, to port: {self.to_port}"
        return f"peer: {peer}, {self.protocol.upper()}{ports}, ALLOW"


def rules_of_blocks(permission: Permission) -> Iterator[Rule]:
    """Return the rules of a permission whose peers are CIDR blocks; raises InvalidParameter."""
    allowed = canonical(permission)
    for block in permission.ipv4:
        cidr = str(ipaddress.IPv4Network(_block(block.cidr, 4), strict=False))
        yield replace(allowed, cidr_ipv4=cidr, description=check_description(block.description))
    for block in permission.ipv6:
        cidr = str(ipaddress.IPv6Network(_block(block.cidr, 6), strict=False))
        yield replace(allowed, cidr_ipv6=cidr, description=check_description(block.description))


def canonical(permission: Permission) -> Rule:
    """Read the protocol and ports of a permission, as a rule without a peer; raises InvalidParameter."""
    protocol = _protocol(permission.protocol)
    first, last = permission.from_port, permission.to_port
    if protocol in ("tcp", "udp"):
        return Rule(protocol, *_ports(protocol, first, last))
    if protocol in ("icmp", "icmpv6"):
        return Rule(protocol, *_icmp(first, last))
    return Rule(protocol, ANY, ANY)  # EC2 ignores the ports of all other protocols


def check_description(description: str | None) -> str | None:
    """Return a rule's description, None for an empty one; raises InvalidParameter for characters EC2 refuses."""
    if description is None or _DESCRIPTION.match(description):
        return description or None
    raise InvalidParameter(
        "Invalid rule description. Valid descriptions are strings less than 256 characters from the following set: "
        "a-zA-Z0-9. _-:/()#,@[]+=&;{}!$*"
    )


def _protocol(text: str | None) -> str:
    if text is None:
        raise MissingParameter("IpProtocol")
    protocol = _NAMES.get(text.lower(), text.lower())
    if protocol in ("tcp", "udp", "icmp", "icmpv6", ALL_PROTOCOLS):
        return protocol
    if protocol.isascii() and protocol.isdigit() and len(protocol) <= 3 and int(protocol) <= _MAX_PROTOCOL:
        number = str(int(protocol))
        return _NAMES.get(number, number)
    raise InvalidParameter(f"Invalid value '{text[:40]}' for IP protocol. Unknown protocol.")


def _ports(protocol: str, first: int | None, last: int | None) -> tuple[int, int]:
    if first is None or last is None:
        raise InvalidParameter("Invalid value 'Must specify both from and to ports with TCP/UDP.' for portRange.")
    if first not in _PORTS or last not in _PORTS:
        raise InvalidParameter(f"{protocol.upper()} port ({last if first in _PORTS else first}) out of range")
    if first > last:
        raise InvalidParameter(f"Invalid {protocol.upper()} port range ({first}:{last})")
    return first, last


def _icmp(kind: int | None, code: int | None) -> tuple[int, int]:
    kind = ANY if kind is None else kind
    code = ANY if code is None else code
    if kind not in _ICMP:
        raise InvalidParameter(f"ICMP type ({kind}) out of range")
    if code not in _ICMP:
        raise InvalidParameter(f"ICMP code ({code}) out of range")
    if kind == ANY and code != ANY:
        raise InvalidParameter(f"ICMP code ({code}) must be -1 where all ICMP types are meant")
    return kind, code


def _block(text: str, version: int) -> str:
    """Check that a text is a CIDR block of that IP version, with its length; host bits may be set."""
    try:
        if _BLOCK.match(text) and ipaddress.ip_interface(text).version == version:
            return text
    except ValueError:
        pass  # reported below, in EC2's words
    raise InvalidParameter(f"CIDR block {text[:80]} is malformed")
