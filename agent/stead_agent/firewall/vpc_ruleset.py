"""Convert a VPC's picture into the nft table of its namespace: pure.

A packet between two interfaces passes `egress` (may its sender send it?) and then `ingress` (may its receiver get it?),
both on the forward hook: an `accept` of the first does not spare it the second. Each looks the interface up in one map
and goes to its chain, which jumps to its groups' chains; what none of them accepts meets the policy, drop.
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass, replace
from ipaddress import IPv4Address
from typing import Final

from stead_agent.firewall.interface import Group, Interface, LinkPrefixes, Refusal, Rule, Subnet, VpcFirewall
from stead_agent.firewall.rules import RuleError, is_group_id, members_of, peer_of, statements, traffic_of
from stead_agent.firewall.table import Chain, NamedSet, Statement, Table

NAME: Final = "stead"
METADATA_ADDRESS: Final = "169.254.169.254"
LINK_LOCAL: Final = "169.254.0.0/16"

# Of one guest, so that its neighbours in the VPC keep theirs. New flows: of a table of 262,144 that the VPC shares.
NEW_FLOWS: Final = "limit rate over 4000/second burst 16000 packets"
DNS_PACKETS: Final = "limit rate over 1024/second burst 1024 packets"  # EC2's own limit
METADATA_PACKETS: Final = "limit rate over 16000/second burst 16000 packets"  # 1,024 requests/s are some 8,000 packets

_INTERFACE_ID: Final = re.compile(r"eni-[0-9a-f]{8,32}\Z")
_MAC: Final = re.compile(r"(?:[0-9a-f]{2}:){5}[0-9a-f]{2}\Z")
_LINK: Final = re.compile(r"[0-9A-Za-z_-]{1,15}\Z")


@dataclass(frozen=True, slots=True)
class Clean:
    """A picture of which every part makes sense: what did not is in `refusals`."""

    groups: dict[str, Group]
    interfaces: tuple[Interface, ...]
    subnets: tuple[Subnet, ...]
    resolvers: frozenset[str]
    refusals: tuple[Refusal, ...]


def cleaned(vpc: VpcFirewall, previous: "Clean | None" = None) -> Clean:
    """Leave out what makes no sense, so that it harms nothing else; groups that did not change are not read again."""
    refusals: list[Refusal] = []
    groups: dict[str, Group] = {}
    known = previous.groups if previous else {}
    for group in vpc.groups:
        if known.get(group.id) == group:
            groups[group.id] = known[group.id]
        elif not is_group_id(group.id):
            refusals.append(Refusal(group.id, "no group id"))
        else:
            groups[group.id] = _clean_group(group, refusals)
    interfaces = _clean_interfaces(vpc.interfaces, refusals)
    resolvers = frozenset(address for address in vpc.resolvers if _is_address(address))
    subnets = tuple(subnet for subnet in vpc.subnets if _LINK.match(subnet.link))
    return Clean(groups, interfaces, subnets, resolvers, tuple(refusals))


def _clean_group(group: Group, refusals: list[Refusal]) -> Group:
    rules: list[Rule] = []
    for rule in group.rules:
        try:
            traffic_of(rule)
            peer_of(rule)
        except RuleError as error:
            refusals.append(Refusal(rule.id, str(error)))
        else:
            rules.append(rule)
    members, bad = members_of(group.members)
    refusals += [Refusal(group.id, f"a member is no address: {member!r}") for member in bad]
    if len(rules) == len(group.rules) and members is group.members:
        return group
    return Group(group.id, tuple(rules), members)


def _clean_interfaces(given: tuple[Interface, ...], refusals: list[Refusal]) -> tuple[Interface, ...]:
    """Leave out what makes no sense, and what another interface has already: nft's maps have one value for a key.

    A public address that moves may be told of at its new interface before it is gone from the old one.
    """
    taken: set[object] = set()
    kept = []
    for interface in given:
        own = {interface.id, ("tap", interface.tap), (interface.subnet_link, interface.mac)}
        reason = _fault_of(interface) or ("another interface has its id, tap or MAC" if taken & own else None)
        if reason:
            refusals.append(Refusal(interface.id, reason))
            continue
        taken |= own
        addresses = [address for address in dict.fromkeys(interface.addresses) if _take(taken, address)]
        public = [
            pair
            for pair in dict.fromkeys(interface.public_addresses)
            if pair.private in addresses and _take(taken, ("public", pair.public), ("public of", pair.private))
        ]
        lost = {*interface.addresses} - {*addresses}
        lost |= {pair.public for pair in interface.public_addresses if pair not in public}
        refusals += [Refusal(interface.id, f"another interface has {address}") for address in sorted(lost)]
        is_whole = len(addresses) == len(interface.addresses) and len(public) == len(interface.public_addresses)
        kept.append(
            interface if is_whole else replace(interface, addresses=tuple(addresses), public_addresses=tuple(public))
        )
    return tuple(kept)


def _take(taken: set[object], *keys: object) -> bool:
    """Take keys that are all free."""
    if not taken.isdisjoint(keys):
        return False
    taken.update(keys)
    return True


def _fault_of(interface: Interface) -> str | None:
    """Say what about an interface makes no sense."""
    if not _INTERFACE_ID.match(interface.id):
        return "no interface id"
    if not _LINK.match(interface.tap) or not _LINK.match(interface.subnet_link):
        return "no link name"
    if not _MAC.match(interface.mac):
        return f"no MAC address: {interface.mac!r}"
    addresses = [*interface.addresses]
    for pair in interface.public_addresses:
        addresses += [pair.public, pair.private]
    bad = [address for address in addresses if not _is_address(address)]
    return f"no IPv4 address: {bad[0]!r}" if bad else None


def _is_address(text: str) -> bool:
    try:
        return str(IPv4Address(text)) == text
    except ValueError:
        return False


def table_of(clean: Clean, links: LinkPrefixes) -> Table:
    """Write the table of a VPC's namespace."""
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
        referenced |= {rule.peer for rule in group.rules if is_group_id(rule.peer)}
    for interface in clean.interfaces:
        groups = [group_id for group_id in interface.group_ids if group_id in used]
        for way in ("out", "in"):
            jumps = tuple(Statement(f"its group {group_id}", f"jump {group_id}-{way}") for group_id in groups)
            chains[f"{interface.id}-{way}"] = Chain(f"Interface {interface.id} on {interface.tap}.", jumps)
    sets = _base_sets(clean)
    for group_id in sorted(referenced):
        members = clean.groups[group_id].members if group_id in clean.groups else frozenset()
        sets[group_id] = NamedSet(f"Addresses of the interfaces of {group_id}.", "type ipv4_addr", members)
    return Table("inet", NAME, "A VPC: security groups, public addresses, and what its guests may ask.", sets, chains)


def _base_sets(clean: Clean) -> dict[str, NamedSet]:
    interfaces = clean.interfaces
    pairs = [pair for interface in interfaces for pair in interface.public_addresses]
    return {
        "senders": _map(
            "Who sends, by where it is plugged in: its chain.",
            "typeof iifname . ether saddr : verdict",
            (f'"{it.subnet_link}" . {it.mac} : goto {it.id}-out' for it in interfaces),
        ),
        "receivers": _map(
            "Who gets, by the address that the packet is routed to: its chain.",
            "type ipv4_addr : verdict",
            (f"{address} : goto {it.id}-in" for it in interfaces for address in it.addresses),
        ),
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
        "resolvers": NamedSet("Where DNS answers.", "type ipv4_addr", clean.resolvers),
        "new_flows": _meter("New flows of each guest."),
        "dns_packets": _meter("DNS questions of each guest."),
        "metadata_packets": _meter("Packets to the metadata service of each guest."),
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
    outside = links.internet_link
    return {
        "untracked_in": Chain(
            "Questions to the namespace's own services are not tracked: a thousand a second would fill the table.",
            (
                Statement("metadata", f'iifname "{links.subnet}*" ip daddr {METADATA_ADDRESS} notrack'),
                Statement("DNS", f'iifname "{links.subnet}*" ip daddr @resolvers notrack'),
            ),
            "type filter hook prerouting priority raw; policy accept;",
        ),
        "untracked_out": Chain(
            "Nor do the answers.",
            (
                Statement("metadata", f'oifname "{links.subnet}*" ip saddr {METADATA_ADDRESS} notrack'),
                Statement("DNS", f'oifname "{links.subnet}*" ip saddr @resolvers notrack'),
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


def _service_chains(links: LinkPrefixes) -> dict[str, Chain]:
    dns = "ip daddr @resolvers meta l4proto { tcp, udp } th dport 53"
    metadata = f"ip daddr {METADATA_ADDRESS} tcp dport 80"
    return {
        "input": Chain(
            "Packets to the namespace itself: nobody but guests may begin, and only what the next chain lists.",
            (
                Statement("the namespace to itself", 'iifname "lo" accept'),
                Statement("guests", f'iifname "{links.subnet}*" goto services'),
                Statement("answers to the resolver's own questions", "ct state established,related accept"),
            ),
            "type filter hook input priority filter; policy drop;",
        ),
        "services": Chain(
            "What guests may ask; the gateway answers no ping, as in EC2.",
            (
                Statement("DHCP; how often is limited where guests are plugged in", "udp sport 68 udp dport 67 accept"),
                Statement("too much DNS", f"{dns} {_too_much('dns_packets', DNS_PACKETS)}"),
                Statement("DNS", f"{dns} accept"),
                Statement("too much metadata", f"{metadata} {_too_much('metadata_packets', METADATA_PACKETS)}"),
                Statement("metadata", f"{metadata} accept"),
                Statement("all else", "drop"),
            ),
        ),
    }


def _forward_chains(links: LinkPrefixes) -> dict[str, Chain]:
    outside = links.internet_link
    return {
        "egress": Chain(
            "May it be sent?",
            (
                Statement("neither begins nor belongs to a flow", "ct state invalid drop"),
                Statement("false DHCP servers, from anywhere", "udp sport 67 udp dport 68 drop"),
                Statement(
                    "what came from outside does not leave again", f'iifname "{outside}" oifname "{outside}" drop'
                ),
                Statement("not outside: the link's own addresses", f'oifname "{outside}" ip daddr {LINK_LOCAL} drop'),
                Statement(
                    "no internet route, in either direction", f'oifname "{outside}" iifname != @internet_subnets drop'
                ),
                Statement(
                    "no internet route, in either direction", f'iifname "{outside}" oifname != @internet_subnets drop'
                ),
                Statement(
                    "flows that were let in; see conntrack.py for those no longer",
                    "ct state established,related accept",
                ),
                Statement(
                    "no public address, no way out",
                    f'oifname "{outside}" iifname . ether saddr . ip saddr != @has_public drop',
                ),
                Statement("from outside: the receiver decides", f'iifname "{outside}" accept'),
                Statement("a guest that floods", _too_much("new_flows", NEW_FLOWS)),
                Statement("its sender's groups", "iifname . ether saddr vmap @senders"),
            ),
            "type filter hook forward priority filter - 10; policy drop;",
        ),
        "ingress": Chain(
            "May it be got?",
            (
                Statement("flows that were let in", "ct state established,related accept"),
                Statement("to outside: the sender decided", f'oifname "{outside}" accept'),
                Statement("its receiver's groups", "rt ip nexthop vmap @receivers"),
            ),
            "type filter hook forward priority filter; policy drop;",
        ),
    }
