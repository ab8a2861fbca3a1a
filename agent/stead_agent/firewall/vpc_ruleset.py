"""Convert a VPC's desired state into the nft table of its namespace: pure.

A packet between two interfaces passes `egress` (may its sender send it?) and then `ingress` (may its receiver get it?),
both on the forward hook: an `accept` in the first does not skip the second. Each looks the interface up in one map
and goes to its chain, which jumps to its groups' chains; what none of them accepts is dropped by the policy.
"""

from collections.abc import Iterable
from typing import Final

from stead_agent.firewall.acls import acl_statements, border
from stead_agent.firewall.cleaning import Clean
from stead_agent.firewall.guest_ipv6 import link_local
from stead_agent.firewall.interface import LinkPrefixes
from stead_agent.firewall.rules import is_group_id, set_name, statements
from stead_agent.firewall.table import Chain, CtTimeout, NamedSet, Statement, Table
from stead_agent.firewall.timeouts import timeouts_of

NAME: Final = "stead"
METADATA_ADDRESS: Final = "169.254.169.254"
METADATA_IPV6: Final = "fd00:ec2::254"
TIME_ADDRESS: Final = "169.254.169.123"
TIME_IPV6: Final = "fd00:ec2::123"
LINK_LOCAL: Final = "169.254.0.0/16"

# Limits per guest, so that it cannot use up its neighbours' share. New flows: all share a VPC's table of 262,144.
NEW_FLOWS: Final = "limit rate over 4000/second burst 16000 packets"
DNS_PACKETS: Final = "limit rate over 1024/second burst 1024 packets"  # EC2's own limit
METADATA_PACKETS: Final = "limit rate over 16000/second burst 16000 packets"  # 1,024 requests/s are some 8,000 packets

TIME_PACKETS: Final = "limit rate over 64/second burst 128 packets"  # a program asks once in 16 s; containers may, too

# Flow logs receive rejected packets through these; flow_logs/interface.py has the same group and prefixes.
LOG_GROUP: Final = 83
LOGGED_PACKETS: Final = "limit rate 200/second burst 1000 packets"

_VERSIONS: Final = ((4, "ip"), (6, "ip6"))


def shut_table() -> Table:
    """Return the table of a namespace without a known desired state; `table_of` replaces it."""
    return Table(
        "inet",
        NAME,
        "A VPC before its rules are there: its links may be up already.",
        {},
        {
            way: Chain("Nothing passes.", (), f"type filter hook {way} priority filter; policy drop;")
            for way in ("forward", "input")
        },
    )


def overlay_table(clean: Clean, links: LinkPrefixes) -> Table:
    """Return the table on the ingress of packets from other hosts, before the kernel checks their MAC.

    The device has a MAC of its own; a packet to a local router interface's MAC would be dropped as not for the host.
    """
    marks = (f"{it.mac} : {it.router_mark:#010x}" for it in clean.interfaces if it.router_mark)
    routed = Statement("to be routed by it", "meta mark set ether daddr map @router_marks meta pkttype set host")
    return Table(
        "netdev",
        NAME,
        "Packets from other hosts that a router interface here shall route.",
        {"router_marks": _map("MACs of local router interfaces.", "type ether_addr : mark", marks)},
        {
            "from_hosts": Chain(
                "What has any other MAC is dropped by the kernel.",
                (routed,),
                f'type filter hook ingress device "{links.overlay_link}" priority 0; policy accept;',
            )
        },
    )


def table_of(clean: Clean, links: LinkPrefixes) -> Table:
    """Return the table of a VPC's namespace."""
    used = {group_id for interface in clean.interfaces for group_id in interface.group_ids if group_id in clean.groups}
    chains = _base_chains(links)
    referenced: set[str] = set()
    for group_id in sorted(used):
        group = clean.groups[group_id]
        chains[f"{group_id}-out"] = Chain(
            f"What {group_id} lets its interfaces send.", statements(group.rules, egress=True)
        )
        chains[f"{group_id}-in"] = Chain(
            f"What {group_id} lets its interfaces get.", statements(group.rules, egress=False)
        )
        referenced |= {rule.peer for rule in group.rules if rule.peer in clean.lists or is_group_id(rule.peer)}
    timeouts: dict[str, CtTimeout] = {}
    for interface in clean.interfaces:
        own = timeouts_of(interface.idle_timeouts)
        timeouts |= own
        tracked = tuple(Statement(timeout.why, f'ct timeout set "{name}"') for name, timeout in own.items())
        groups = [group_id for group_id in interface.group_ids if group_id in used]
        for way in ("out", "in"):
            jumps = [Statement(f"its group {group_id}", f"jump {group_id}-{way}") for group_id in groups]
            if interface.unfiltered:
                jumps = [Statement("no groups are asked", "accept")]
            chains[f"{interface.id}-{way}"] = Chain(f"Interface {interface.id} on {interface.tap}.", (*tracked, *jumps))
    chains |= _acl_chains(clean)
    sets = _base_sets(clean) | _peer_sets(clean, referenced)
    why = "A VPC: security groups, public addresses, and what its guests may ask."
    return Table("inet", NAME, why, sets, chains, timeouts=timeouts)


def _acl_chains(clean: Clean) -> dict[str, Chain]:
    chains = {}
    for acl_id in sorted({subnet.acl_id for subnet in clean.subnets if subnet.acl_id}):
        acl = clean.acls[acl_id]
        for way in ("out", "in"):
            chains[f"{acl_id}-{way}"] = Chain(
                f"Network ACL {acl_id}.", acl_statements(acl, egress=way == "out", rejected=f"rejected_{way}")
            )
    for subnet in clean.subnets:
        if subnet.acl_id:
            for way in ("out", "in"):
                chains[f"{subnet.link}-{way}"] = border(subnet, subnet.acl_id, egress=way == "out")
    return chains


def _peer_sets(clean: Clean, referenced: set[str]) -> dict[str, NamedSet]:
    """Return the sets of groups and prefix lists that rules name."""
    sets = {}
    for peer in sorted(referenced):
        for version, family in _VERSIONS:
            if is_group_id(peer):
                members = clean.members[peer].of(version) if peer in clean.members else frozenset()
                sets[set_name(peer, version)] = NamedSet(
                    f"Addresses of the interfaces of {peer}.", f"type {_TYPES[family]}", members
                )
            else:
                sets[set_name(peer, version)] = NamedSet(
                    f"Blocks of {peer}.", f"type {_TYPES[family]}; flags interval", clean.lists[peer].of(version)
                )
    return sets


_TYPES: Final = {"ip": "ipv4_addr", "ip6": "ipv6_addr"}


def _base_sets(clean: Clean) -> dict[str, NamedSet]:
    interfaces = clean.interfaces
    pairs = [pair for interface in interfaces for pair in interface.public_addresses]
    return {
        "senders": _map(
            "Who sends, by where it is plugged in: its chain.",
            "typeof iifname . ether saddr : verdict",
            (f'"{it.subnet_link}" . {it.mac} : jump {it.id}-out' for it in interfaces),
        ),
        **_receivers(clean),
        **_logged(clean),
        **_borders(clean),
        "public_to_private": _map(
            "1:1 NAT inwards.", "type ipv4_addr : ipv4_addr", (f"{pair.public} : {pair.private}" for pair in pairs)
        ),
        "private_to_public": _map(
            "1:1 NAT outwards.", "type ipv4_addr : ipv4_addr", (f"{pair.private} : {pair.public}" for pair in pairs)
        ),
        "has_public": NamedSet(
            "Who may leave: interfaces and those of their own addresses that have a public one.",
            "typeof iifname . ether saddr . ip saddr",
            frozenset(
                f'"{it.subnet_link}" . {it.mac} . {pair.private}' for it in interfaces for pair in it.public_addresses
            ),
        ),
        "internet_subnets": NamedSet(
            "Subnets whose route table leads to an internet gateway.",
            "type ifname",
            frozenset(f'"{subnet.link}"' for subnet in clean.subnets if subnet.internet),
        ),
        "ipv6_internet_subnets": NamedSet(
            "Subnets of which IPv6 flows from outside may begin.",
            "type ifname",
            frozenset(f'"{subnet.link}"' for subnet in clean.subnets if subnet.ipv6_internet),
        ),
        "resolvers": NamedSet("Where DNS answers.", "type ipv4_addr", clean.resolvers.ipv4),
        "ipv6_resolvers": NamedSet("Where DNS answers.", "type ipv6_addr", clean.resolvers.ipv6),
        "new_flows": _meter("New flows of each guest."),
        "dns_packets": _meter("DNS questions of each guest."),
        "metadata_packets": _meter("Packets to the metadata service of each guest."),
        "time_packets": _meter("Questions for the time of each guest."),
    }


def _receivers(clean: Clean) -> dict[str, NamedSet]:
    """Return the maps from a packet's routed destination to the chain of the interface that receives it."""
    routers = [it for it in clean.interfaces if not it.source_dest_check]
    sets = {
        "unchecked": NamedSet(
            "Interfaces that may send from any address.",
            "typeof iifname . ether saddr",
            frozenset(f'"{it.subnet_link}" . {it.mac}' for it in routers),
        )
    }
    for version, family in _VERSIONS:
        owned = [
            (address, it)
            for it in clean.interfaces
            for address in (it.addresses if version == 4 else it.ipv6_addresses)
        ]
        # IPv6 packets are routed by the link-local address made of a router's MAC, which may be used on several links.
        ways = dict(owned) if version == 4 else {link_local(it.mac): it for it in reversed(routers)} | dict(owned)
        sets[f"receivers{version}"] = _map(
            "Who gets, by the address that the packet is routed to, which must be its own: its chain.",
            f"type {_TYPES[family]} . {_TYPES[family]} : verdict",
            (f"{address} . {address} : jump {it.id}-in" for address, it in owned),
        )
        sets[f"router_sources{version}"] = NamedSet(
            "Their own addresses.",
            f"typeof iifname . ether saddr . {family} saddr",
            frozenset(f'"{it.subnet_link}" . {it.mac} . {address}' for address, it in owned if it in routers),
        )
        sets[f"routers{version}"] = _map(
            "Who gets packets to any address, by the address that they are routed by: its chain.",
            f"type {_TYPES[family]} : verdict",
            (f"{address} : jump {it.id}-in" for address, it in ways.items() if it in routers),
        )
        sets[f"peer_sources{version}"] = NamedSet(
            "Who may send from peers.",
            f"typeof iifname . {family} saddr; flags interval",
            frozenset(
                f'"{peer.link}" . {block}'
                for peer in clean.peers
                for block in peer.cidrs
                if (":" in block) == (version == 6)
            ),
        )
    return sets


def _logged(clean: Clean) -> dict[str, NamedSet]:
    """Return the sets of interfaces whose rejected packets are sent to flow logs."""
    ids = {interface_id for log in clean.flow_logs if log.rejected for interface_id in log.interface_ids}
    logged = [it for it in clean.interfaces if it.id in ids]
    return {
        "logged_senders": NamedSet(
            "Interfaces whose rejected packets are logged.",
            "typeof iifname . ether saddr",
            frozenset(f'"{it.subnet_link}" . {it.mac}' for it in logged),
        ),
        "logged_receivers4": NamedSet(
            "Their addresses.", "type ipv4_addr", frozenset(address for it in logged for address in it.addresses)
        ),
        "logged_receivers6": NamedSet(
            "Their IPv6 addresses.",
            "type ipv6_addr",
            frozenset(address for it in logged for address in it.ipv6_addresses),
        ),
        "logged_packets": _meter("Packets of each sender that were logged."),
    }


def _borders(clean: Clean) -> dict[str, NamedSet]:
    return {
        f"border_{way}": _map(
            "Where packets leave a subnet." if way == "out" else "Where packets come to a subnet.",
            "type ifname : verdict",
            (f'"{subnet.link}" : jump {subnet.link}-{way}' for subnet in clean.subnets if subnet.acl_id),
        )
        for way in ("out", "in")
    }


def _map(why: str, declaration: str, elements: Iterable[str]) -> NamedSet:
    return NamedSet(why, declaration, frozenset(elements), is_map=True)


def _meter(why: str) -> NamedSet:
    return NamedSet(why, "typeof iifname . ether saddr; size 65536; flags dynamic,timeout; timeout 10s")


def _too_much(meter: str, limit: str) -> str:
    return f"update @{meter} {{ iifname . ether saddr {limit} }} drop"


def _base_chains(links: LinkPrefixes) -> dict[str, Chain]:
    return {**_nat_chains(links), **_service_chains(links), **_forward_chains(links)}


def _nat_chains(links: LinkPrefixes) -> dict[str, Chain]:
    outside, guests, peers = links.internet_link, f'"{links.subnet}*"', f'"{links.peer}*"'
    return {
        "untracked_in": Chain(
            "Questions to the namespace's own services are not tracked: a thousand a second would fill the table.",
            (
                Statement("metadata", f"iifname {guests} ip daddr {METADATA_ADDRESS} notrack"),
                Statement("metadata", f"iifname {guests} ip6 daddr {METADATA_IPV6} notrack"),
                Statement("the time", f"iifname {guests} ip daddr {TIME_ADDRESS} notrack"),
                Statement("the time", f"iifname {guests} ip6 daddr {TIME_IPV6} notrack"),
                Statement("DNS", f"iifname {guests} ip daddr @resolvers notrack"),
                Statement("DNS", f"iifname {guests} ip6 daddr @ipv6_resolvers notrack"),
                Statement("a peer", f"iifname {peers} jump from_peers"),
            ),
            "type filter hook prerouting priority raw; policy accept;",
        ),
        "from_peers": Chain(
            "A peer sends from its own addresses only.",
            (
                Statement(
                    "on its way to another host: the answers take another way, and the receiver's host decides",
                    f'iifname . ip saddr @peer_sources4 fib daddr oifname "{links.overlay_link}" notrack return',
                ),
                Statement(
                    "the same for IPv6",
                    f'iifname . ip6 saddr @peer_sources6 fib daddr oifname "{links.overlay_link}" notrack return',
                ),
                Statement("to here", "iifname . ip saddr @peer_sources4 return"),
                Statement("to here", "iifname . ip6 saddr @peer_sources6 return"),
                Statement("the kernel of its namespace asks for ours", f"{_NEIGHBOURS} return"),
                Statement("lies", "drop"),
            ),
        ),
        "untracked_out": Chain(
            "Nor do the answers.",
            (
                Statement("metadata", f"oifname {guests} ip saddr {METADATA_ADDRESS} notrack"),
                Statement("metadata", f"oifname {guests} ip6 saddr {METADATA_IPV6} notrack"),
                Statement("the time", f"oifname {guests} ip saddr {TIME_ADDRESS} notrack"),
                Statement("the time", f"oifname {guests} ip6 saddr {TIME_IPV6} notrack"),
                Statement("DNS", f"oifname {guests} ip saddr @resolvers notrack"),
                Statement("DNS", f"oifname {guests} ip6 saddr @ipv6_resolvers notrack"),
            ),
            "type filter hook output priority raw; policy accept;",
        ),
        "public_in": Chain(
            "A public address becomes the private one that it stands for.",
            (Statement("one lookup, however many", f'iifname "{outside}" dnat ip to ip daddr map @public_to_private'),),
            "type nat hook prerouting priority dstnat; policy accept;",
        ),
        "public_out": Chain(
            "A private address becomes its public one.",
            (Statement("one lookup, however many", f'oifname "{outside}" snat ip to ip saddr map @private_to_public'),),
            "type nat hook postrouting priority srcnat; policy accept;",
        ),
    }


# From the other end of the link: such packets cannot have been forwarded, since a router decrements the hop limit
# (RFC 4861, 3.1).
_NEIGHBOURS: Final = "ip6 hoplimit 255 icmpv6 type { nd-neighbor-solicit, nd-neighbor-advert }"


# Else an interface that may send from any address could pose as the gateway, the resolver or the metadata service.
_OWN_NAME: Final = "the kernel lets it pass (accept_local)"


def _service_chains(links: LinkPrefixes) -> dict[str, Chain]:
    dns = [
        f"{it} meta l4proto {{ tcp, udp }} th dport 53" for it in ("ip daddr @resolvers", "ip6 daddr @ipv6_resolvers")
    ]
    metadata = [f"{it} tcp dport 80" for it in (f"ip daddr {METADATA_ADDRESS}", f"ip6 daddr {METADATA_IPV6}")]
    time = [f"{it} udp dport 123" for it in (f"ip daddr {TIME_ADDRESS}", f"ip6 daddr {TIME_IPV6}")]
    services = [
        Statement(f"in the namespace's own name: {_OWN_NAME}", "fib saddr type local drop"),
        Statement("DHCP; how often is limited where guests are plugged in", "udp sport 68 udp dport 67 accept"),
        Statement("DHCPv6, as well", "udp sport 546 udp dport 547 accept"),
        Statement(
            "neighbours' and the router's MACs, as well",
            "ip6 hoplimit 255 icmpv6 type { nd-router-solicit, nd-neighbor-solicit, nd-neighbor-advert } accept",
        ),
    ]
    for which in dns:
        services += [
            Statement("too much DNS", f"{which} {_too_much('dns_packets', DNS_PACKETS)}"),
            Statement("DNS", f"{which} accept"),
        ]
    for which in metadata:
        services += [
            Statement("too much metadata", f"{which} {_too_much('metadata_packets', METADATA_PACKETS)}"),
            Statement("metadata", f"{which} accept"),
        ]
    for which in time:
        services += [
            Statement("too many questions for the time", f"{which} {_too_much('time_packets', TIME_PACKETS)}"),
            Statement("the time", f"{which} accept"),
        ]
    return {
        "input": Chain(
            "Packets to the namespace itself: nobody but guests may begin, and only what the next chain lists.",
            (
                Statement("the namespace to itself", 'iifname "lo" accept'),
                Statement("guests", f'iifname "{links.subnet}*" goto services'),
                Statement("answers to the resolver's own questions", "ct state established,related accept"),
                Statement(
                    "the host's and peers' ends of links", f'iifname != "{links.overlay_link}" {_NEIGHBOURS} accept'
                ),
            ),
            "type filter hook input priority filter; policy drop;",
        ),
        "output": Chain(
            "What the namespace itself says.",
            (
                Statement(
                    "a guest that believed it would look for its neighbours on its own wire",
                    "icmpv6 type nd-redirect drop",
                ),
            ),
            "type filter hook output priority filter; policy accept;",
        ),
        "services": Chain(
            "What guests may ask; the gateway answers no ping, as in EC2.", (*services, Statement("all else", "drop"))
        ),
    }


def _forward_chains(links: LinkPrefixes) -> dict[str, Chain]:
    outside, hosts, peers = f'"{links.internet_link}"', f'"{links.overlay_link}"', f'"{links.peer}*"'
    return {
        "egress": _egress(outside, hosts, peers, f'"{links.subnet}*"'),
        "ingress": _ingress(outside, hosts, peers, f'"{links.endpoint}*"'),
        "ends_that_spoke": _ends_that_spoke(),
        "mark_end": Chain(
            "Remember who has spoken.",
            (
                Statement("who began the flow", "ct direction original ct mark set ct mark | 0x1"),
                Statement("who answers", "ct direction reply ct mark set ct mark | 0x2"),
            ),
        ),
        "rejected_out": Chain(
            "What may not be sent.",
            (
                Statement("some of it is logged", f"iifname . ether saddr @logged_senders {_sampled('out')}"),
                Statement("ends here", "drop"),
            ),
        ),
        "rejected_in": Chain(
            "What may not be got.",
            (
                Statement("some of it is logged", f"ip daddr @logged_receivers4 {_sampled('in')}"),
                Statement("some of it is logged", f"ip6 daddr @logged_receivers6 {_sampled('in')}"),
                Statement("ends here", "drop"),
            ),
        ),
    }


def _established(remark: str) -> tuple[Statement, ...]:
    """Accept packets of established flows.

    An interface that may send from any address could reply in another's name, and so create a flow that the other
    never admitted: a packet belongs to a flow only if its receiving end has sent a packet of its own.
    """
    known = "ct state established,related ct direction"
    return (
        Statement(f"to who has answered; {remark}", f"{known} original ct mark & 0x2 == 0x2 accept"),
        Statement(f"to who has begun; {remark}", f"{known} reply ct mark & 0x1 == 0x1 accept"),
    )


def _ends_that_spoke() -> Chain:
    """Return the chain that marks a flow: 1 = its originator has sent, 2 = its responder has sent."""
    return Chain(
        "A packet from an end's own interface, or from beyond this namespace, marks the flow: 1 asked, 2 answered.",
        (
            *(
                Statement(
                    "routers speak for themselves here",
                    f"iifname . ether saddr . {family} saddr @router_sources{n} goto mark_end",
                )
                for n, family in _VERSIONS
            ),
            Statement("and for others otherwise", "iifname . ether saddr @unchecked return"),
            Statement("all others can only speak for themselves", "goto mark_end"),
        ),
    )


def _sampled(prefix: str) -> str:
    """Log a packet for the flow logs, unless its sender has already had many logged."""
    return (
        f"update @logged_packets {{ iifname . ether saddr {LOGGED_PACKETS} }}"
        f' log prefix "{prefix}" group {LOG_GROUP} snaplen 128 queue-threshold 64'
    )


def _egress(outside: str, hosts: str, peers: str, guests: str) -> Chain:
    decided = "its sender's host, VPC or nobody has decided"
    return Chain(
        "May it be sent?",
        (
            Statement("a peer's, on its way to the receiver's host", f"iifname {peers} oifname {hosts} accept"),
            Statement("neither begins nor belongs to a flow", "ct state invalid drop"),
            Statement("false DHCP servers, from anywhere", "udp sport 67 udp dport 68 drop"),
            Statement("false DHCPv6 servers, from anywhere", "udp sport 547 udp dport 546 drop"),
            Statement("what came from outside goes to guests here", f"iifname {outside} oifname != {guests} drop"),
            Statement("what came from another host, too", f"iifname {hosts} oifname != {guests} drop"),
            Statement("what came from a peer, too: nobody passes through", f"iifname {peers} oifname != {guests} drop"),
            *_outside_statements(outside),
            Statement("its sender's network ACL, which has no memory", "iifname vmap @border_out"),
            Statement(
                "an answer to a neighbour or a peer, by a route that leads outside: nothing would translate it",
                f"meta nfproto ipv4 oifname {outside} ct state established ct status & (snat | dnat) == 0 drop",
            ),
            Statement(
                "which ends have spoken for themselves",
                "ct state new,established ct mark & 0x3 != 0x3 jump ends_that_spoke",
            ),
            Statement(f"in the namespace's own name: {_OWN_NAME}", "ct state new,related fib saddr type local drop"),
            *_established("see conntrack.py for those no longer let in"),
            Statement(
                "no public address, no way out",
                f"oifname {outside} iifname . ether saddr . ip saddr != @has_public goto rejected_out",
            ),
            Statement(
                "IPv6 flows begin inside, unless an internet gateway is there",
                f"meta nfproto ipv6 iifname {outside} oifname != @ipv6_internet_subnets drop",
            ),
            Statement(decided, f"iifname {outside} accept"),
            Statement(decided, f"iifname {hosts} accept"),
            Statement(decided, f"iifname {peers} accept"),
            Statement("a guest that floods", _too_much("new_flows", NEW_FLOWS)),
            Statement("its sender's groups", "iifname . ether saddr vmap @senders"),
            Statement("nothing admits it", "goto rejected_out"),
        ),
        "type filter hook forward priority filter - 10; policy drop;",
    )


def _ingress(outside: str, hosts: str, peers: str, endpoints: str) -> Chain:
    return Chain(
        "May it be got?",
        (
            Statement("its receiver's network ACL, which has no memory", "oifname vmap @border_in"),
            *_established("as above"),
            Statement("to outside: the sender decided", f"oifname {outside} accept"),
            Statement("to a gateway endpoint: the sender decided", f"oifname {endpoints} accept"),
            Statement("to another host: the receiver's decides there", f"oifname {hosts} accept"),
            Statement("to a peer: the receiver's groups decide there", f"oifname {peers} accept"),
            *(
                Statement(
                    "a router's groups, for who is in this VPC",
                    f"iifname != {peers} rt {family} nexthop vmap @routers{n}",
                )
                for n, family in _VERSIONS
            ),
            *(
                Statement("its receiver's groups", f"rt {family} nexthop . {family} daddr vmap @receivers{n}")
                for n, family in _VERSIONS
            ),
            Statement("nothing admits it", "goto rejected_in"),
        ),
        "type filter hook forward priority filter; policy drop;",
    )


def _outside_statements(outside: str) -> tuple[Statement, ...]:
    return (
        Statement("not outside: the link's own addresses", f"oifname {outside} ip daddr {LINK_LOCAL} drop"),
        Statement(
            "no internet route, in either direction",
            f"meta nfproto ipv4 oifname {outside} iifname != @internet_subnets drop",
        ),
        Statement(
            "no internet route, in either direction",
            f"meta nfproto ipv4 iifname {outside} oifname != @internet_subnets drop",
        ),
    )
