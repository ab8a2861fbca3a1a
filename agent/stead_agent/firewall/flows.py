"""Decide which tracked flows a desired state still admits: pure, the same decision as the nft rules make.

nft decides on a flow's first packet and lets the rest pass. When rules, members or interfaces are removed, flows
that only they admitted must end: each is judged here as if its first packet came now.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from ipaddress import ip_address, ip_network

from stead_agent.firewall.cleaning import Clean
from stead_agent.firewall.interface import GroupRule, Interface
from stead_agent.firewall.rules import Traffic, is_group_id, peer_of, traffic_of
from stead_agent.roster import came_and_gone


@dataclass(frozen=True, slots=True)
class Flow:
    """A tracked flow: its first packet, and the addresses of the replies (different if NAT changed them)."""

    protocol: int
    source: str
    destination: str
    port: int  # destination's, or ICMP type; -1 = none
    code: int  # ICMP's
    answers_from: str  # the real receiver of the packets
    answers_to: str  # the sender as the receiver sees it


@dataclass(frozen=True, slots=True)
class _Parsed:
    """A parsed rule; `ranges` are its blocks of addresses, by IP version, when it names no group."""

    egress: bool
    traffic: Traffic
    group_id: str
    ranges: tuple[tuple[int, int, int], ...]


@lru_cache(maxsize=8192)
def _parse(rule: GroupRule) -> _Parsed:
    traffic, peer = traffic_of(rule), peer_of(rule)
    if isinstance(peer, str) and is_group_id(peer):
        return _Parsed(rule.egress, traffic, peer, ())
    blocks = [ip_network(it, strict=False) for it in rule.blocks] if isinstance(peer, str) else [peer]
    ranges = tuple((it.version, int(it.network_address), int(it.broadcast_address)) for it in blocks)
    return _Parsed(rule.egress, traffic, "", ranges)


class Judge:
    """Judges flows by one desired state; `gone` are addresses that interfaces of this host had until now."""

    def __init__(self, clean: Clean, gone: frozenset[str] = frozenset()) -> None:
        self._groups = clean.groups
        self._members = clean.members
        self._interfaces = {address: it for it in clean.interfaces for address in addresses_of(it)}
        self._private = {pair.public: pair.private for it in clean.interfaces for pair in it.public_addresses}
        self._public = {pair.private: pair.public for it in clean.interfaces for pair in it.public_addresses}
        self._gone = gone - self._interfaces.keys()

    def admits(self, flow: Flow) -> bool:
        """Tell whether the flow's first packet would be accepted now."""
        if flow.source in self._gone or flow.answers_from in self._gone:
            return False
        if flow.destination != flow.answers_from and self._private.get(flow.destination) != flow.answers_from:
            return False
        if flow.source != flow.answers_to and self._public.get(flow.source) != flow.answers_to:
            return False
        sender = self._interfaces.get(flow.source)
        if sender is not None and not self._any(sender, flow, flow.destination, egress=True):
            return False
        receiver = self._interfaces.get(flow.answers_from)
        return receiver is None or self._any(receiver, flow, flow.source, egress=False)

    def _any(self, interface: Interface, flow: Flow, peer: str, *, egress: bool) -> bool:
        if interface.unfiltered:
            return True
        address = ip_address(peer)
        version, number = address.version, int(address)
        for rule in self._rules(interface):
            if (
                rule.egress is egress
                and rule.traffic.exists_in(version)
                and rule.traffic.admits(flow.protocol, flow.port, flow.code)
            ):
                if rule.group_id:
                    if rule.group_id in self._members and peer in self._members[rule.group_id].of(version):
                        return True
                elif any(it == version and first <= number <= last for it, first, last in rule.ranges):
                    return True
        return False

    def _rules(self, interface: Interface) -> Iterator[_Parsed]:
        for group_id in interface.group_ids:
            if group_id in self._groups:
                yield from map(_parse, self._groups[group_id].rules)


def addresses_of(interface: Interface) -> tuple[str, ...]:
    """List all private addresses of an interface, of both IP versions."""
    return interface.addresses + interface.ipv6_addresses


def narrowed(old: Clean | None, new: Clean) -> frozenset[str]:
    """List the addresses whose flows may no longer be admitted; those for which rules were only added are not listed.

    New interfaces are included: such an address may have been another's, whose flows are still tracked.
    """
    if old is None:
        return frozenset(address for it in new.interfaces for address in addresses_of(it))
    before = {it.id: it for it in old.interfaces}
    after = {it.id: it for it in new.interfaces}
    poorer = {
        group_id
        for group_id, group in old.groups.items()
        if _lost(group_id, old, new) or _lost_peers(group.rules, old, new)
    }
    found: set[str] = set()
    for interface_id in before.keys() | after.keys():
        earlier, later = before.get(interface_id), after.get(interface_id)
        if earlier is None or later is None or _changed(earlier, later) or poorer.intersection(later.group_ids):
            found.update(*(addresses_of(it) for it in (earlier, later) if it is not None))
    return frozenset(found)


def _changed(earlier: Interface, later: Interface) -> bool:
    """Tell whether an interface lost something; an additional group or public address removes nothing."""
    return (
        not set(earlier.group_ids) <= set(later.group_ids)
        or not set(earlier.public_addresses) <= set(later.public_addresses)
        or addresses_of(earlier) != addresses_of(later)
        or earlier.unfiltered > later.unfiltered
    )


def _lost(group_id: str, old: Clean, new: Clean) -> bool:
    """Tell whether a group lost rules."""
    earlier, later = old.groups[group_id], new.groups.get(group_id)
    if later is None:
        return bool(earlier.rules)
    return earlier.rules is not later.rules and not set(earlier.rules) <= set(later.rules)


def _lost_peers(rules: tuple[GroupRule, ...], old: Clean, new: Clean) -> bool:
    """Tell whether a group that the rules name lost members; a prefix list's blocks count as part of the rules."""
    for peer in {rule.peer for rule in rules}:
        earlier, later = old.groups.get(peer), new.groups.get(peer)
        if earlier is None or (later is not None and earlier.members is later.members):
            continue
        if later is None or came_and_gone(earlier.members, later.members)[1]:
            return True
    return False
