"""Convert the host's desired state and its guests' bindings into the two nft tables of the host's namespace: pure."""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network, collapse_addresses
from typing import Final

from stead_agent.firewall.guest_ipv6 import ipv6_chains, link_local, plain_macs
from stead_agent.firewall.interface import HostFirewall, Interface, LinkPrefixes
from stead_agent.firewall.table import Chain, NamedSet, Statement, Table
from stead_agent.firewall.underlay import EXPORTS, VXLAN_PORT, underlay_chain, underlay_forwards, underlay_sets

NAME: Final = "stead"
# While the agent runs no other process may change them, even by `nft flush ruleset`; they outlive it (nft(8), TABLES).
FLAGS: Final = "owner,persist"

_LINK: Final = re.compile(r"[0-9A-Za-z_.@:-]{1,15}\Z")

# From the other end of the link: such packets cannot have been forwarded, since a router decrements the hop limit
# (RFC 4861, 3.1).
NEIGHBOURS: Final = "ip6 hoplimit 255 icmpv6 type { nd-neighbor-solicit, nd-neighbor-advert }"

ARP_PACKETS: Final = "limit rate over 200/second burst 400 packets"
NEW_FLOWS: Final = "limit rate over 1000/second burst 8000 packets"
DHCP_PACKETS: Final = "limit rate over 20/second burst 60 packets"


@dataclass(frozen=True, slots=True)
class Bindings:
    """Elements of the bridge table's sets that bind taps to MACs and addresses, each with its owner as comment."""

    ports: frozenset[str] = frozenset()
    sources: frozenset[str] = frozenset()
    routers: frozenset[str] = frozenset()
    sources6: frozenset[str] = frozenset()


def bindings_of(vpc_id: str, interfaces: Iterable[Interface]) -> Bindings:
    """Return the bindings of a VPC's guests on this host."""
    ports, sources, routers, sources6 = set(), set(), set(), set()
    for interface in interfaces:
        owner = f'comment "{vpc_id} {interface.id}"'
        ports.add(f'"{interface.tap}" . {interface.mac} {owner}')
        sources |= {f'"{interface.tap}" . {address} {owner}' for address in interface.addresses}
        if interface.ipv6_addresses:
            own = {*interface.ipv6_addresses, link_local(interface.mac)}
            sources6 |= {f'"{interface.tap}" . {address} {owner}' for address in own}
        if not interface.source_dest_check:
            routers.add(f'"{interface.tap}" {owner}')
    return Bindings(frozenset(ports), frozenset(sources), frozenset(routers), frozenset(sources6))


def owner_of(element: str) -> str:
    """Return the VPC that a binding belongs to."""
    return element.rpartition('comment "')[2].split(" ")[0].rstrip('"')


def bridge_table(links: LinkPrefixes, bindings: Iterable[Bindings]) -> Table:
    """Return the table that filters guests' frames first: what is not known to be valid is dropped."""
    known = list(bindings)
    ports = frozenset().union(*(it.ports for it in known))
    sets = {
        "ports": NamedSet("Guests that are plugged in here: tap and MAC.", "typeof iifname . ether saddr", ports),
        "plain_macs": plain_macs(ports),
        "sources": NamedSet(
            "Their addresses.", "typeof iifname . ip saddr", frozenset().union(*(it.sources for it in known))
        ),
        "sources6": NamedSet(
            "Their IPv6 addresses.", "typeof iifname . ip6 saddr", frozenset().union(*(it.sources6 for it in known))
        ),
        "routers": NamedSet(
            "Those without source check: they may send from any address.",
            "type ifname",
            frozenset().union(*(it.routers for it in known)),
        ),
        "arp_packets": _meter("ARP of each guest."),
        "nd_packets": _meter("Neighbour discovery of each guest."),
        "dhcp_packets": _meter("DHCP of each guest."),
    }
    return Table("bridge", NAME, "Guests' frames, where they are plugged in.", sets, _bridge_chains(links), FLAGS)


def _meter(why: str) -> NamedSet:
    return NamedSet(why, "type ifname; size 65536; flags dynamic,timeout; timeout 10s")


def _bridge_chains(links: LinkPrefixes) -> dict[str, Chain]:
    tap, gateway = f'"{links.tap}*"', f'"{links.gateway}*"'
    return {
        "from_guests": Chain(
            "The first look at a frame, before the bridge learns its MAC.",
            (
                Statement(
                    "a guest with the MAC that is its own", f"iifname {tap} iifname . ether saddr @ports goto known"
                ),
                Statement("no guest that we know, or with a false MAC", f"iifname {tap} drop"),
            ),
            "type filter hook prerouting priority -300; policy accept;",
        ),
        "known": Chain(
            "Only three kinds of frames; not VLAN, LLC, LLDP, nor what nobody thought of.",
            (
                Statement("ARP", "ether type arp goto guest_arp"),
                Statement("IPv4", "ether type ip goto guest_ipv4"),
                Statement("IPv6", "ether type ip6 goto guest_ipv6"),
                Statement("all else", "drop"),
            ),
        ),
        "guest_arp": Chain(
            "Says only the truth about itself (RFC 826).",
            (
                Statement("a guest that floods", f"update @arp_packets {{ iifname {ARP_PACKETS} }} drop"),
                Statement("not for IPv4 over Ethernet", "arp htype != 1 drop"),
                Statement("not for IPv4 over Ethernet", "arp ptype != ip drop"),
                Statement("not for IPv4 over Ethernet", "arp hlen != 6 drop"),
                Statement("not for IPv4 over Ethernet", "arp plen != 4 drop"),
                Statement(
                    "its own MAC and address", "iifname . arp saddr ether @ports iifname . arp saddr ip @sources accept"
                ),
                Statement(
                    "asks whether an address is free (RFC 5227)",
                    "iifname . arp saddr ether @ports arp operation request arp saddr ip 0.0.0.0 accept",
                ),
                Statement("lies", "drop"),
            ),
        ),
        "guest_ipv4": Chain(
            "Sends from its own addresses.",
            (
                Statement("plays DHCP server", "udp sport 67 drop"),
                Statement(
                    "asks DHCP too often", f"udp dport 67 update @dhcp_packets {{ iifname {DHCP_PACKETS} }} drop"
                ),
                Statement(
                    "asks DHCP for its first address",
                    "ip saddr 0.0.0.0 ip daddr 255.255.255.255 udp sport 68 udp dport 67 accept",
                ),
                Statement("its own address", "iifname . ip saddr @sources accept"),
                Statement("routes for others", "iifname @routers accept"),
                Statement("lies", "drop"),
            ),
        ),
        **ipv6_chains(DHCP_PACKETS),
        "between": Chain(
            "A frame on its way through a bridge: from a guest to its gateway or back, nothing else.",
            (
                Statement("to the gateway, from a guest", f"oifname {gateway} iifname {tap} accept"),
                Statement("to the gateway, from some other link", f"oifname {gateway} drop"),
                Statement("to a guest", f"oifname {tap} goto to_guest"),
                Statement("from a guest to some other link", f"iifname {tap} drop"),
                Statement("from the gateway to some other link", f"iifname {gateway} drop"),
            ),
            "type filter hook forward priority -300; policy accept;",
        ),
        "to_guest": Chain(
            "A bridge that has not learnt a MAC sends its frames to all ports: only the right one lets them out.",
            (
                Statement("not from the gateway", f'iifname != "{links.gateway}*" drop'),
                Statement("to this guest", "oifname . ether daddr @ports accept"),
                Statement("to all, such as DHCP", "ether daddr ff:ff:ff:ff:ff:ff accept"),
                Statement(
                    "to all who speak IPv6, such as what a router advertises",
                    "ether daddr & ff:ff:00:00:00:00 == 33:33:00:00:00:00 accept",
                ),
                Statement("to another guest", "drop"),
            ),
        ),
        "to_host": Chain(
            "The host has no business on a bridge: it would answer ARP for all its addresses there.",
            (
                Statement("guests", f"iifname {tap} drop"),
                Statement("gateways", f"iifname {gateway} drop"),
            ),
            "type filter hook input priority -300; policy accept;",
        ),
        "from_host": Chain(
            "Nor has it anything to say there.",
            (
                Statement("guests", f"oifname {tap} drop"),
                Statement("gateways", f"oifname {gateway} drop"),
            ),
            "type filter hook output priority -300; policy accept;",
        ),
    }


def inet_table(links: LinkPrefixes, host: HostFirewall) -> Table:
    """Return the table that protects the host and other forbidden destinations from guests' packets."""
    if host.uplink is not None and not _LINK.match(host.uplink):
        raise ValueError(f"no link name: {host.uplink!r}")
    meter = NamedSet(
        "New flows of each guest to outside.",
        "type ipv4_addr; size 65536; flags dynamic,timeout; timeout 10s",
    )
    about = "Guests' packets with public addresses, and the host."
    return Table("inet", NAME, about, {"new_flows": meter, **underlay_sets(host)}, _inet_chains(links, host), FLAGS)


def _inet_chains(links: LinkPrefixes, host: HostFirewall) -> dict[str, Chain]:
    guests = f'"{links.internet}*"'
    below = [f'"{prefix}*"' for prefix in (links.bridge, links.gateway, links.tap)]
    chains = {
        "sources": Chain(
            "Whatever the host's rp_filter is: a VPC sends from addresses that are routed to it.",
            (
                Statement("another VPC's address", f"iifname {guests} fib saddr . iif oif missing drop"),
                Statement(
                    "from VPC to VPC: tracked there at both ends, so not here, where the table is the host's own",
                    f"iifname {guests} fib daddr oifname {guests} notrack",
                ),
            ),
            "type filter hook prerouting priority raw; policy accept;",
        ),
        "input": Chain(
            "To the host itself.",
            (
                Statement("the VPC's own kernel asks for our MAC", f"iifname {guests} {NEIGHBOURS} accept"),
                Statement("VXLAN, which has no authentication", f"udp dport {VXLAN_PORT} goto underlay"),
                Statement("volumes for other hosts", f'iifname != "lo" {EXPORTS} goto underlay'),
                Statement("guests", f"iifname {guests} goto from_guests"),
                *(Statement("nothing is routed from here", f"iifname {link} drop") for link in below),
            ),
            "type filter hook input priority filter - 10; policy accept;",
        ),
        "output": Chain(
            "The host's IPv6 speaks up on each new link, taps included: listener reports, router solicitations.",
            tuple(Statement("nothing is sent from here", f"oifname {link} drop") for link in below),
            "type filter hook output priority filter - 10; policy accept;",
        ),
        "underlay": underlay_chain(host, (guests, *below)),
        "from_guests": Chain(
            "Guests answer the host; they begin only where a setting says so.", _services(links, host)
        ),
        "forward": Chain(
            "Between VPCs, and out where there is an uplink.",
            _forwards(links, host, guests, below),
            "type filter hook forward priority filter - 10; policy accept;",
        ),
    }
    if host.uplink:
        hidden = _hidden(links, host)
        chains["hidden"] = Chain(
            "These addresses mean nothing beyond the uplink.",
            (Statement("appear as the host's", f'oifname "{host.uplink}" ip saddr {{ {hidden} }} masquerade'),),
            "type nat hook postrouting priority srcnat; policy accept;",
        )
    return chains


def _hidden(links: LinkPrefixes, host: HostFirewall) -> str:
    """List the blocks whose packets are masqueraded with the host's own address."""
    blocks = collapse_addresses(IPv4Network(it) for it in (*host.masqueraded_pools, links.inner_addresses))
    return ", ".join(str(block) for block in blocks) if host.uplink else ""


def _services(links: LinkPrefixes, host: HostFirewall) -> tuple[Statement, ...]:
    rules = [Statement("answers", "ct state established,related accept")]
    if host.host_address:
        here = f"ip daddr {IPv4Address(host.host_address)}"
        dns = f"{here} meta l4proto {{ tcp, udp }} th dport 53"
        rules.append(Statement("VPCs' own resolvers ask the host's", f"ip saddr {links.inner_addresses} {dns} accept"))
    ports = ", ".join(str(int(port)) for port in sorted(host.host_ports))
    for address in (host.host_address, host.guest_address):
        if ports and address:
            here = f"ip daddr {IPv4Address(address)}"
            rules.append(Statement("host_ports", f"{here} tcp dport {{ {ports} }} accept"))
    return (*rules, Statement("all else", "drop"))


def _forwards(links: LinkPrefixes, host: HostFirewall, guests: str, below: list[str]) -> tuple[Statement, ...]:
    inner = links.inner_addresses
    rules = [
        *underlay_forwards(guests, _hidden(links, host)),
        Statement("nothing is routed to a link's own address", f"iifname {guests} ip daddr {inner} drop"),
    ]
    if host.uplink:
        uplink = f'"{host.uplink}"'
        rules += [
            Statement(
                "answers from outside to VPCs' own resolvers", f"ip daddr {inner} ct state established,related accept"
            ),
            Statement(
                "VPCs' own resolvers",
                f"ip saddr {inner} oifname {uplink} meta l4proto {{ tcp, udp }} th dport 53 accept",
            ),
        ]
    rules += [
        Statement("nothing else to and from links' own addresses", f"ip saddr {inner} drop"),
        Statement("nothing else to and from links' own addresses", f"ip daddr {inner} drop"),
        Statement("from VPC to VPC: both sides' groups decide", f"iifname {guests} oifname {guests} accept"),
    ]
    if host.uplink:
        rules += [
            Statement(
                "a guest that floods, before it fills the table that the host lives by",
                f"iifname {guests} oifname {uplink} ct state new update @new_flows {{ ip saddr {NEW_FLOWS} }} drop",
            ),
            Statement("out", f"iifname {guests} oifname {uplink} accept"),
            Statement("in: the receiver's groups decide", f"iifname {uplink} oifname {guests} accept"),
        ]
    rules += [
        Statement("nowhere else", f"iifname {guests} drop"),
        Statement("from nowhere else", f"oifname {guests} drop"),
    ]
    for link in below:
        rules += [
            Statement("nothing is routed from here", f"iifname {link} drop"),
            Statement("nor to here", f"oifname {link} drop"),
        ]
    if host.uplink and not host.is_router:
        rules.append(
            Statement("the host forwards for Stead alone, as it forwarded for nobody before", f"iifname {uplink} drop")
        )
    return tuple(rules)
