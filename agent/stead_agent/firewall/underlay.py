"""Convert what the host's picture says of other hosts into nft rules: pure.

VXLAN has no authentication: who can send to this host's port can send to any guest of any VPC. So only other hosts may,
by the link that leads to them, and no guest may seem to be one (RFC 7348, section 7).
"""

from ipaddress import ip_address
from typing import Final

from stead_agent.firewall.interface import HostFirewall
from stead_agent.firewall.table import Chain, NamedSet, Statement

VXLAN_PORT: Final = 4789
_VERSIONS: Final = ((4, "ip", "ipv4_addr"), (6, "ip6", "ipv6_addr"))
_VXLAN: Final = f"udp dport {VXLAN_PORT}"


def underlay_sets(host: HostFirewall) -> dict[str, NamedSet]:
    """List the other hosts, by IP version."""
    peers = [ip_address(peer) for peer in host.underlay_peers]
    return {
        f"underlay_peers{version}": NamedSet(
            "Hosts that may send VXLAN packets.",
            f"type {kind}",
            frozenset(str(peer) for peer in peers if peer.version == version),
        )
        for version, _, kind in _VERSIONS
    }


def underlay_chain(host: HostFirewall, guest_links: tuple[str, ...]) -> Chain:
    """Write who may send VXLAN packets to this host."""
    rules = [Statement("guests", f"iifname {link} drop") for link in guest_links]
    if host.underlay_address:
        here = ip_address(host.underlay_address)
        family = "ip" if here.version == 4 else "ip6"
        rules += [
            Statement("by another link than the one that leads back", "fib saddr . iif oif missing drop"),
            Statement("other hosts", f"{family} daddr {here} {family} saddr @underlay_peers{here.version} accept"),
        ]
    return Chain("VXLAN packets to this host.", (*rules, Statement("all else", "drop")))


def underlay_forwards(guests: str, hidden: str) -> tuple[Statement, ...]:
    """Keep guests from sending VXLAN packets to hosts, or such as would seem to come from this one."""
    rules = [
        Statement("a guest plays host", f"iifname {guests} {_VXLAN} {family} daddr @underlay_peers{version} drop")
        for version, family, _ in _VERSIONS
    ]
    if hidden:
        rules.append(
            Statement("it would have the host's address", f"iifname {guests} {_VXLAN} ip saddr {{ {hidden} }} drop")
        )
    return tuple(rules)
