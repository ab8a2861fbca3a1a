"""Convert a VPC's desired state into one in which every part is valid: pure.

Invalid parts are left out and reported, so that they affect nothing else.
"""

import re
from collections.abc import Iterable, Mapping
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field, replace
from ipaddress import ip_network
from typing import Final

from stead_agent.firewall.acls import clean_acl
from stead_agent.firewall.interface import (
    Acl,
    FlowLog,
    Group,
    GroupRule,
    IdleTimeouts,
    Interface,
    PeerLink,
    Refusal,
    Subnet,
    VpcFirewall,
)
from stead_agent.firewall.rules import (
    RuleError,
    blocks_of,
    is_group_id,
    is_ipv4,
    is_list_id,
    members_of,
    peer_of,
    plain_ipv6,
    traffic_of,
)
from stead_agent.roster import Roster

_INTERFACE_ID: Final = re.compile(r"eni-[0-9a-f]{8,32}\Z")
_MAC: Final = re.compile(r"(?:[0-9a-f]{2}:){5}[0-9a-f]{2}\Z")
_LINK: Final = re.compile(r"[0-9A-Za-z_-]{1,15}\Z")
_LAST_MARK: Final = 0xFFFF_FFFF
_LONGEST_IDLE: Final = 432_000  # seconds: EC2's longest, and the kernel's own for TCP


@dataclass(frozen=True, slots=True)
class Addresses:
    """Addresses, or blocks of them, by IP version."""

    ipv4: AbstractSet[str] = frozenset()
    ipv6: AbstractSet[str] = frozenset()

    def of(self, version: int) -> AbstractSet[str]:
        """Return those of one version."""
        return self.ipv4 if version == 4 else self.ipv6

    def __or__(self, other: "Addresses") -> "Addresses":
        """Return the union of two."""
        return Addresses(self.ipv4 | other.ipv4, self.ipv6 | other.ipv6)


@dataclass(frozen=True, slots=True)
class Clean:
    """A desired state in which every part is valid: the invalid parts are in `refusals`."""

    groups: dict[str, Group]
    interfaces: tuple[Interface, ...]
    subnets: tuple[Subnet, ...]
    resolvers: Addresses
    refusals: tuple[Refusal, ...]
    members: Mapping[str, Addresses] = field(default_factory=dict)  # of each group
    lists: Mapping[str, Addresses] = field(default_factory=dict)  # blocks of each prefix list that a rule names
    acls: Mapping[str, Acl] = field(default_factory=dict)
    peers: tuple[PeerLink, ...] = ()
    flow_logs: tuple[FlowLog, ...] = ()


_NOTHING: Final = Clean({}, (), (), Addresses(), ())


def cleaned(vpc: VpcFirewall, previous: Clean | None = None) -> Clean:
    """Leave out invalid parts, so that they affect nothing else; groups that did not change are not parsed again."""
    refusals: list[Refusal] = []
    groups: dict[str, Group] = {}
    members: dict[str, Addresses] = {}
    known = previous or _NOTHING
    for group in vpc.groups:
        if known.groups.get(group.id) == group:
            groups[group.id], members[group.id] = known.groups[group.id], known.members[group.id]
        elif not is_group_id(group.id):
            refusals.append(Refusal(group.id, "no group id"))
        else:
            groups[group.id], members[group.id] = _clean_group(group, known, refusals)
    lists = _lists(groups, refusals)
    interfaces = _clean_interfaces(vpc.interfaces, refusals)
    acls = {acl.id: clean for acl in vpc.acls if (clean := clean_acl(acl, refusals)) is not None}
    subnets = _clean_subnets(vpc.subnets, acls, refusals)
    peers = _clean_peers(vpc.peers, refusals)
    return Clean(
        groups,
        interfaces,
        subnets,
        Addresses(
            frozenset(address for address in vpc.resolvers if is_ipv4(address)),
            frozenset(plain for address in vpc.resolvers if (plain := plain_ipv6(address))),
        ),
        tuple(refusals),
        members,
        lists,
        acls,
        peers,
        vpc.flow_logs,
    )


def _clean_group(group: Group, known: Clean, refusals: list[Refusal]) -> tuple[Group, Addresses]:
    """Leave out invalid rules and members; of what was valid before only what has changed is looked at."""
    earlier = known.groups.get(group.id)
    rules = group.rules if earlier is not None and earlier.rules is group.rules else _clean_rules(group, refusals)
    members = _followed(group, earlier, known.members[group.id]) if earlier is not None else None
    if members is not None:
        return (group if rules is group.rules else replace(group, rules=rules)), members
    ipv4, ipv6, bad = members_of(group.members)
    refusals += [Refusal(group.id, f"a member is no address: {member!r}") for member in bad]
    if bad:
        return Group(group.id, rules, ipv4 | ipv6), Addresses(ipv4, ipv6)
    found = Addresses(ipv4, ipv6)
    if ipv6 and ipv4 | ipv6 == group.members:  # each is written as nft writes it, so that it can be followed
        found = Addresses(Roster(ipv4), Roster(ipv6))
    return (group if rules is group.rules else replace(group, rules=rules)), found


def _clean_rules(group: Group, refusals: list[Refusal]) -> tuple[GroupRule, ...]:
    """Return the valid rules: the same object if all are."""
    rules: list[GroupRule] = []
    for rule in group.rules:
        try:
            traffic_of(rule)
            peer_of(rule)
        except RuleError as error:
            refusals.append(Refusal(rule.id, str(error)))
        else:
            rules.append(rule)
    return group.rules if len(rules) == len(group.rules) else tuple(rules)


def _followed(group: Group, earlier: Group, known: Addresses) -> Addresses | None:
    """Return a group's members by those before and what has come and gone; None when all must be looked at.

    Invalid members made the earlier group's a plain set, and members of both versions have rosters of their own.
    """
    if not (isinstance(group.members, Roster) and isinstance(earlier.members, Roster)):
        return None
    between = group.members.since(earlier.members)
    if between is None:
        return None
    (came4, came6, _), (gone4, gone6, _) = (members_of(each) for each in between)
    if came4 | came6 != between[0]:
        return None
    if isinstance(known.ipv4, Roster) and isinstance(known.ipv6, Roster):
        return Addresses(known.ipv4.after(came4, gone4), known.ipv6.after(came6, gone6))
    return None if known.ipv6 or came6 else Addresses(group.members)


def _lists(groups: dict[str, Group], refusals: list[Refusal]) -> dict[str, Addresses]:
    """Collect the prefix lists that rules name; a rule that contradicts an earlier one is left out."""
    texts: dict[str, tuple[str, ...]] = {}
    for group_id, group in groups.items():
        odd = [
            rule
            for rule in group.rules
            if is_list_id(rule.peer) and texts.setdefault(rule.peer, rule.blocks) != rule.blocks
        ]
        if odd:
            refusals += [Refusal(rule.id, f"another rule has other blocks for {rule.peer}") for rule in odd]
            groups[group_id] = replace(group, rules=tuple(rule for rule in group.rules if rule not in odd))
    return {list_id: Addresses(*blocks_of(blocks)) for list_id, blocks in texts.items()}


def _clean_interfaces(given: tuple[Interface, ...], refusals: list[Refusal]) -> tuple[Interface, ...]:
    """Leave out invalid parts, and what another interface has already: nft's maps have one value for a key.

    A public address that moves may arrive with its new interface before it is removed from the old one.
    """
    taken: set[object] = set()
    valid = []
    for interface in given:
        own = {interface.id, ("tap", interface.tap), (interface.subnet_link, interface.mac)}
        reason = _fault_of(interface) or ("another interface has its id, tap or MAC" if taken & own else None)
        if reason:
            refusals.append(Refusal(interface.id, reason))
            continue
        taken |= own
        addresses = [address for address in dict.fromkeys(interface.addresses) if _take(taken, address)]
        ipv6 = [plain for plain in dict.fromkeys(map(plain_ipv6, interface.ipv6_addresses)) if _take(taken, plain)]
        public = [
            pair
            for pair in dict.fromkeys(interface.public_addresses)
            if pair.private in addresses and _take(taken, ("public", pair.public), ("public of", pair.private))
        ]
        lost = {*interface.addresses} - {*addresses} | {*map(plain_ipv6, interface.ipv6_addresses)} - {*ipv6}
        lost |= {pair.public for pair in interface.public_addresses if pair not in public}
        refusals += [Refusal(interface.id, f"another interface has {address}") for address in sorted(lost)]
        fitting = replace(
            interface,
            addresses=tuple(addresses),
            ipv6_addresses=tuple(ipv6),
            public_addresses=tuple(public),
            idle_timeouts=_clean_timeouts(interface, refusals),
        )
        valid.append(interface if fitting == interface else fitting)
    return tuple(valid)


def _clean_timeouts(interface: Interface, refusals: list[Refusal]) -> IdleTimeouts:
    """Leave out all timeouts of an interface when one of them is invalid: the VPC's apply instead."""
    given = interface.idle_timeouts
    if all(0 <= seconds <= _LONGEST_IDLE for seconds in (given.tcp_established, given.udp, given.udp_stream)):
        return given
    refusals.append(Refusal(interface.id, f"no idle timeouts: {given}"))
    return IdleTimeouts()


def _take(taken: set[object], *keys: object) -> bool:
    """Reserve keys that are all free."""
    if not taken.isdisjoint(keys):
        return False
    taken.update(keys)
    return True


def _fault_of(interface: Interface) -> str | None:
    """Return what is invalid about an interface."""
    if not _INTERFACE_ID.match(interface.id):
        return "no interface id"
    if not _LINK.match(interface.tap) or not _LINK.match(interface.subnet_link):
        return "no link name"
    if not _MAC.match(interface.mac):
        return f"no MAC address: {interface.mac!r}"
    if not 0 <= interface.router_mark <= _LAST_MARK:
        return f"no packet mark: {interface.router_mark}"
    addresses = [*interface.addresses]
    for pair in interface.public_addresses:
        addresses += [pair.public, pair.private]
    bad = [address for address in addresses if not is_ipv4(address)]
    if bad:
        return f"no IPv4 address: {bad[0]!r}"
    bad = [address for address in interface.ipv6_addresses if not plain_ipv6(address)]
    return f"no IPv6 address: {bad[0]!r}" if bad else None


def _clean_subnets(given: Iterable[Subnet], acls: dict[str, Acl], refusals: list[Refusal]) -> tuple[Subnet, ...]:
    """Leave out invalid links and blocks; a subnet whose ACL is missing gets one that denies everything."""
    valid = []
    for subnet in given:
        if not _LINK.match(subnet.link):
            refusals.append(Refusal(subnet.id or subnet.link, "no link name"))
            continue
        blocks = {4: subnet.cidr, 6: subnet.ipv6_cidr}
        bad = [version for version, block in blocks.items() if block and not _is_block(block, version)]
        refusals += [Refusal(subnet.id or subnet.link, f"no block of addresses: {blocks[it]!r}") for it in bad]
        acl_id = subnet.acl_id
        if acl_id and acl_id not in acls:
            refusals.append(Refusal(subnet.id or subnet.link, f"its network ACL is not there: {acl_id!r}"))
            acl_id = NO_ACL.id
            acls[acl_id] = NO_ACL
        cidr, ipv6_cidr = ("" if version in bad else block for version, block in blocks.items())
        fitting = replace(subnet, cidr=cidr, ipv6_cidr=ipv6_cidr, acl_id=acl_id)
        valid.append(subnet if fitting == subnet else fitting)
    return tuple(valid)


# Replaces the ACL of a subnet when the desired state does not contain it.
NO_ACL: Final = Acl("acl-00000000")


def _clean_peers(given: Iterable[PeerLink], refusals: list[Refusal]) -> tuple[PeerLink, ...]:
    valid = []
    for peer in given:
        if not _LINK.match(peer.link):
            refusals.append(Refusal(peer.link, "no link name"))
            continue
        bad = [block for block in peer.cidrs if not _is_block(block, 4) and not _is_block(block, 6)]
        refusals += [Refusal(peer.link, f"no block of addresses: {block!r}") for block in bad]
        valid.append(replace(peer, cidrs=tuple(block for block in peer.cidrs if block not in bad)) if bad else peer)
    return tuple(valid)


def _is_block(text: str, version: int) -> bool:
    try:
        return ip_network(text).version == version
    except ValueError:
        return False
