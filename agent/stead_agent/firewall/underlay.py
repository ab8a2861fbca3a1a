"""Convert the host's desired state about other hosts into nft rules: pure.

VXLAN has no authentication: whoever can send to this host's port can send to any guest of any VPC. So only other hosts
may, on the link that leads to them, and guests must not be able to spoof one (RFC 7348, section 7). Volume exports to
other hosts require a certificate; still only hosts may connect to a program that has access to a guest's disk.
"""

from ipaddress import ip_address
from typing import Final

from stead_agent.firewall.interface import HostFirewall
from stead_agent.firewall.table import Chain, NamedSet, Statement
from stead_proto.limits import EXPORT_PORTS

VXLAN_PORT: Final = 4789
_VERSIONS: Final = ((4, "ip", "ipv4_addr"), (6, "ip6", "ipv6_addr"))
_VXLAN: Final = f"udp dport {VXLAN_PORT}"

# New connections only: connections that the host itself opened to elsewhere may have any port.
EXPORTS: Final = f"tcp dport {EXPORT_PORTS.start}-{EXPORT_PORTS.stop - 1} tcp flags & (syn | ack) == syn"


def underlay_sets(host: HostFirewall) -> dict[str, NamedSet]:
    """List the other hosts, by IP version."""
    peers = [ip_address(peer) for peer in host.underlay_peers]
    return {
        f"underlay_peers{version}": NamedSet(
            "Hosts that may send VXLAN packets and use volumes of this one.",
            f"type {kind}",
            frozenset(str(peer) for peer in peers if peer.version == version),
        )
        for version, _, kind in _VERSIONS
    }


def underlay_chain(host: HostFirewall, guest_links: tuple[str, ...]) -> Chain:
    """Return the chain that limits who may send VXLAN packets to this host, and connect to its volume exports."""
    rules = [Statement("guests", f"iifname {link} drop") for link in guest_links]
    if host.underlay_address:
        here = ip_address(host.underlay_address)
        family = "ip" if here.version == 4 else "ip6"
        rules += [
            Statement("by another link than the one that leads back", "fib saddr . iif oif missing drop"),
            Statement("other hosts", f"{family} daddr {here} {family} saddr @underlay_peers{here.version} accept"),
        ]
    return Chain("From other hosts.", (*rules, Statement("all else", "drop")))


def underlay_forwards(guests: str, hidden: str) -> tuple[Statement, ...]:
    """Drop guests' packets to ports that hosts use between them, and VXLAN that would appear to come from this host."""
    rules = [
        Statement("a guest plays host", f"iifname {guests} {what} {family} daddr @underlay_peers{version} drop")
        for version, family, _ in _VERSIONS
        for what in (_VXLAN, EXPORTS)
    ]
    if hidden:
        rules.append(
            Statement("it would have the host's address", f"iifname {guests} {_VXLAN} ip saddr {{ {hidden} }} drop")
        )
    return tuple(rules)
