"""Apply security groups and ACLs to a packet: the ports that are left, and the rule that decided."""

from collections.abc import Iterable
from dataclasses import dataclass

from stead_controller.resources.network.reachability.facts import AclRule, Group, GroupRule
from stead_controller.resources.network.reachability.packet import (
    Packet,
    Range,
    any_contains,
    contains,
    overlap,
    without,
)

_ALL = "-1"
_ANY = -1


@dataclass(frozen=True, slots=True)
class GroupDecision:
    """The ports that groups allow, and the first rule that allows some of them."""

    ports: tuple[Range, ...]
    group_id: str | None = None
    rule: GroupRule | None = None


@dataclass(frozen=True, slots=True)
class AclDecision:
    """The ports that an ACL allows, the first rule that allows some, and the first that denies some.

    `denied_by` None with ports denied means the final denial.
    """

    ports: tuple[Range, ...]
    allowed_by: AclRule | None = None
    denied_by: AclRule | None = None


def ask_groups(
    groups: Iterable[Group], packet: Packet, *, egress: bool, peer_group_ids: Iterable[str] = ()
) -> GroupDecision:
    """Apply an interface's groups, which have only allow rules. `peer_group_ids` are those of the other end."""
    peer = packet.destination if egress else packet.source
    peer_groups = set(peer_group_ids)
    allowed: tuple[Range, ...] = ()
    first: tuple[str, GroupRule] | None = None
    for group in groups:
        for rule in group.rules:
            if rule.egress is not egress or not _protocol_matches(rule, packet):
                continue
            if rule.group_id is None and not any_contains(rule.blocks, peer):
                continue
            if rule.group_id is not None and rule.group_id not in peer_groups:
                continue
            passed = without(_ports_of(rule, packet), allowed)
            if passed:
                allowed += passed
                first = first or (group.id, rule)
    if first is None:
        return GroupDecision(())
    return GroupDecision(tuple(sorted(allowed)), *first)


def ask_acl(rules: Iterable[AclRule], packet: Packet, *, egress: bool) -> AclDecision:
    """Apply an ACL: for each port, the lowest number that matches decides; without a match it is denied."""
    peer = packet.destination if egress else packet.source
    left = packet.ports
    allowed: list[Range] = []
    allowed_by: AclRule | None = None
    denied_by: AclRule | None = None
    for rule in sorted(rules, key=lambda one: one.number):
        if rule.egress is not egress or not contains(rule.block, peer):
            continue
        if rule.protocol not in (_ALL, packet.protocol) or not _icmp_matches(rule, packet):
            continue
        whole = rule.protocol == _ALL or packet.icmp is not None or rule.first is None or rule.last is None
        decided = left if whole else overlap(left, (rule.first or 0, rule.last or 0))
        if not decided:
            continue
        left = without(left, decided)
        if rule.allow:
            allowed += decided
            allowed_by = allowed_by or rule
        else:
            denied_by = denied_by or rule
    return AclDecision(tuple(sorted(allowed)), allowed_by, denied_by)


def _protocol_matches(rule: GroupRule, packet: Packet) -> bool:
    if rule.protocol == _ALL:
        return True
    if rule.protocol != packet.protocol:
        return False
    if packet.icmp is None:
        return True
    return rule.first in (_ANY, packet.icmp[0]) and rule.last in (_ANY, packet.icmp[1])


def _ports_of(rule: GroupRule, packet: Packet) -> tuple[Range, ...]:
    if rule.protocol == _ALL or packet.icmp is not None or rule.first == _ANY:
        return packet.ports
    return overlap(packet.ports, (rule.first, rule.last))


def _icmp_matches(rule: AclRule, packet: Packet) -> bool:
    if packet.icmp is None or rule.protocol == _ALL:
        return True
    return rule.first in (None, _ANY, packet.icmp[0]) and rule.last in (None, _ANY, packet.icmp[1])
