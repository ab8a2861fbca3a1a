"""Security groups as EC2 documents them, in the simplest code: the reference for all optimised implementations."""

import random
from dataclasses import dataclass, replace
from ipaddress import ip_address, ip_network

from stead_agent.firewall.interface import Group, GroupRule, Interface, VpcFirewall

NUMBERS = {"tcp": 6, "udp": 17, "icmp": 1}
GROUPS = [f"sg-0000000000000000{digit}" for digit in "abcd"]
PEERS = ["0.0.0.0/0", "10.0.0.0/16", "10.0.1.0/24", "10.0.1.10/32", "10.0.2.0/25", "10.0.1.10/31", *GROUPS]


@dataclass(frozen=True)
class Packet:
    """The first packet of a flow; `port` is the ICMP type for protocols without ports."""

    source: str
    destination: str
    protocol: int
    port: int = -1
    code: int = -1


def allowed(desired: VpcFirewall, packet: Packet) -> bool:
    """Tell whether a packet between two addresses passes; addresses without an interface are outside the VPC."""
    sender = _interface(desired, packet.source)
    receiver = _interface(desired, packet.destination)
    return (sender is None or _side(desired, sender, packet, packet.destination, egress=True)) and (
        receiver is None or _side(desired, receiver, packet, packet.source, egress=False)
    )


def _interface(desired: VpcFirewall, address: str) -> Interface | None:
    return next((it for it in desired.interfaces if address in it.addresses), None)


def _side(desired: VpcFirewall, interface: Interface, packet: Packet, peer: str, *, egress: bool) -> bool:
    return any(
        rule.egress is egress and _about(rule, packet) and _from(desired, rule, peer)
        for group in desired.groups
        if group.id in interface.group_ids
        for rule in group.rules
    )


def _about(rule: GroupRule, packet: Packet) -> bool:
    if rule.protocol == "-1":
        return True
    number = NUMBERS[rule.protocol] if rule.protocol in NUMBERS else int(rule.protocol)
    if number != packet.protocol:
        return False
    if number in (6, 17):
        return rule.from_port == -1 or rule.from_port <= packet.port <= rule.to_port
    if number == 1:
        return rule.from_port == -1 or (rule.from_port == packet.port and rule.to_port in (-1, packet.code))
    return True


def _from(desired: VpcFirewall, rule: GroupRule, peer: str) -> bool:
    if rule.peer.startswith("sg-"):
        return any(group.id == rule.peer and peer in group.members for group in desired.groups)
    return ip_address(peer) in ip_network(rule.peer)


# --- random VPCs


def random_rule(chance: random.Random, number: int) -> GroupRule:
    """A rule from few ports and few peers, so that it often has an effect."""
    protocol = chance.choice(["-1", "tcp", "udp", "udp", "icmp", "47", "6"])
    first, last = -1, -1
    if protocol in ("tcp", "udp", "6") and chance.random() < 0.8:
        first = chance.choice([22, 53, 80])
        last = chance.choice([first, first + 10, 60000])
    if protocol == "icmp":
        first, last = chance.choice([(-1, -1), (8, -1), (8, 0), (13, 0)])
    return GroupRule(f"sgr-{number:017x}", chance.random() < 0.5, protocol, first, last, chance.choice(PEERS))


def changed(desired: VpcFirewall, chance: random.Random, number: int) -> VpcFirewall:
    """The VPC's rules with one change, as of one API call."""
    groups = {group.id: group for group in desired.groups}
    group = chance.choice(desired.groups)
    match chance.randrange(6):
        case 0 | 1:
            rule = random_rule(chance, number)
            groups[group.id] = replace(group, rules=(*group.rules, rule))
        case 2:
            remaining = [rule for rule in group.rules if chance.random() < 0.6]
            groups[group.id] = replace(group, rules=tuple(remaining))
        case _:
            interface = chance.choice(desired.interfaces)
            chosen = tuple(sorted(chance.sample(GROUPS, chance.randint(1, 3))))
            interfaces = tuple(replace(it, group_ids=chosen) if it is interface else it for it in desired.interfaces)
            return _with_members(replace(desired, interfaces=interfaces))
    return replace(desired, groups=tuple(groups.values()))


def _with_members(desired: VpcFirewall) -> VpcFirewall:
    """The VPC's rules with each group's members taken from the interfaces."""
    return replace(
        desired,
        groups=tuple(
            replace(
                group,
                members=frozenset(a for it in desired.interfaces if group.id in it.group_ids for a in it.addresses),
            )
            for group in desired.groups
        ),
    )


def random_firewall(chance: random.Random, interfaces: tuple[Interface, ...], vpc_id: str) -> VpcFirewall:
    """A VPC with these interfaces and some initial rules."""
    groups = tuple(Group(group_id, ()) for group_id in GROUPS)
    desired = VpcFirewall(vpc_id, groups, (), interfaces)
    for number in range(30):
        desired = changed(desired, chance, number)
    return desired
