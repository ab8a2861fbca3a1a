"""Return the chains of the bridge table for the IPv6 packets that guests may send: pure.

A guest sends from its own addresses and from the link-local one that its MAC gives (RFC 4291, appendix A). Its
neighbour discovery messages must be truthful and in the simplest form: no extension headers, no fragments
(RFC 6980), no options but its own MAC. Rules match the upper layer behind all extension headers; a packet whose
headers cannot be parsed completely is dropped, since no rule would match it.
"""

from ipaddress import IPv6Address
from typing import Final

from stead_agent.firewall.table import Chain, NamedSet, Statement

ND_PACKETS: Final = "limit rate over 200/second burst 400 packets"

# The offset of the first option, in bits from the ICMPv6 header, and the packet's length without and with it.
_SOLICIT_OPTION, _ROUTER_OPTION = 192, 64
_SOURCE_MAC, _TARGET_MAC, _NONCE = 0x0101, 0x0201, 0x0E01  # types and lengths: RFC 4861 4.6.1, RFC 3971 5.3.2


_READ: Final = "meta l4proto 0-255"  # matches any protocol, if the headers in front of it can be parsed


def link_local(mac: str) -> str:
    """Return the link-local address of an interface identifier made from a MAC."""
    octets = bytes.fromhex(mac.replace(":", ""))
    identifier = bytes([octets[0] ^ 2]) + octets[1:3] + b"\xff\xfe" + octets[3:]
    return str(IPv6Address(b"\xfe\x80" + bytes(6) + identifier))


def plain_macs(ports: frozenset[str]) -> NamedSet:
    """Convert the set of ports into a set in which raw bytes of a packet can be looked up."""
    elements = set()
    for port in ports:
        tap, _, rest = port.partition(" . ")
        mac, _, comment = rest.partition(" ")
        elements.add(f"{tap} . 0x{mac.replace(':', '')} {comment}".rstrip())
    return NamedSet("The same, for MACs inside of packets.", "typeof iifname . @th,208,48", frozenset(elements))


def ipv6_chains(dhcp_limit: str) -> dict[str, Chain]:
    """Return the chains behind `guest_ipv6`; `dhcp_limit` is the rate limit of a guest's DHCP requests."""
    own = "iifname . ip6 saddr @sources6"
    return {
        "guest_ipv6": Chain(
            "Can its headers be read to their end?",
            (
                Statement(
                    "a later fragment, put together at the gateway", f"{_READ} frag frag-off != 0 goto whole_ipv6"
                ),
                Statement("they can, and there is something behind them", f"{_READ} @th,0,8 0-255 goto whole_ipv6"),
                Statement("no rule would match it", "drop"),
            ),
        ),
        "whole_ipv6": Chain(
            "Sends from its own addresses.",
            (
                Statement("plays DHCP server", "udp sport 547 drop"),
                Statement("asks DHCP too often", f"udp dport 547 update @dhcp_packets {{ iifname {dhcp_limit} }} drop"),
                Statement("ICMPv6", "meta l4proto ipv6-icmp goto guest_icmpv6"),
                Statement("anything else", "goto own_ipv6"),
            ),
        ),
        "guest_icmpv6": Chain(
            "Plays no router, and is truthful about itself.",
            (
                Statement(
                    "plays router, or asks who listens to what",
                    "icmpv6 type { nd-router-advert, nd-redirect, router-renumbering, mld-listener-query,"
                    " mld-listener-report, mld-listener-done, mld2-listener-report } drop",
                ),
                Statement(
                    "speaks of itself",
                    "icmpv6 type { nd-router-solicit, nd-neighbor-solicit, nd-neighbor-advert } goto guest_neighbour",
                ),
                Statement("anything else", "goto own_ipv6"),
            ),
        ),
        "guest_neighbour": _neighbour(own),
        "own_ipv6": Chain(
            "Whose address is it?",
            (
                Statement("its own", f"{own} accept"),
                Statement("routes for others", "iifname @routers ip6 saddr & ffc0:: != fe80:: accept"),
                Statement("lies", "drop"),
            ),
        ),
    }


def _neighbour(own: str) -> Chain:
    return Chain(
        "Says only the truth about itself (RFC 4861).",
        (
            Statement("a guest that floods", f"update @nd_packets {{ iifname {ND_PACKETS} }} drop"),
            Statement("in a fragment", "exthdr frag exists drop"),
            Statement("behind other headers", "ip6 nexthdr != ipv6-icmp drop"),
            Statement("from behind a router", "ip6 hoplimit != 255 drop"),
            *_solicitations(own),
            Statement(
                "lies about its address",
                "icmpv6 type nd-neighbor-advert iifname . icmpv6 taddr != @sources6 drop",
            ),
            *_with_option(f"icmpv6 type nd-neighbor-advert {own}", 24, _SOLICIT_OPTION, _TARGET_MAC),
            Statement("lies", "drop"),
        ),
    )


def _solicitations(own: str) -> tuple[Statement, ...]:
    solicit, router = "icmpv6 type nd-neighbor-solicit", "icmpv6 type nd-router-solicit"
    return (
        Statement("asks whether an address is free (RFC 4862)", f"{solicit} ip6 saddr :: ip6 length 24 accept"),
        Statement(
            "the same, and would know its own question (RFC 7527)",
            f"{solicit} ip6 saddr :: ip6 length 32 @th,{_SOLICIT_OPTION},16 {_NONCE:#06x} accept",
        ),
        *_with_option(f"{solicit} {own}", 24, _SOLICIT_OPTION, _SOURCE_MAC),
        Statement("asks for routers before it has an address", f"{router} ip6 saddr :: ip6 length 8 accept"),
        *_with_option(f"{router} {own}", 8, _ROUTER_OPTION, _SOURCE_MAC),
    )


def _with_option(match: str, length: int, place: int, kind: int) -> tuple[Statement, ...]:
    """Accept a message that has no options, or only its sender's own MAC."""
    mac = f"@th,{place},16 {kind:#06x} iifname . @th,{place + 16},48 @plain_macs"
    return (
        Statement("from its own address", f"{match} ip6 length {length} accept"),
        Statement("and with its own MAC", f"{match} ip6 length {length + 8} {mac} accept"),
    )
