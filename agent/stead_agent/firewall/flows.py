"""Which tracked flows does a picture still admit? Pure: the question that the nft rules answer, asked once more.

nft decides on a flow's first packet and lets the rest pass. When rules, members or interfaces are taken away, flows
that they alone had let in must end: each is judged here as if its first packet came now.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from ipaddress import IPv4Address

from stead_agent.firewall.interface import Interface, Rule
from stead_agent.firewall.rules import Traffic, is_group_id, peer_of, traffic_of
from stead_agent.firewall.vpc_ruleset import Clean


@dataclass(frozen=True, slots=True)
class Flow:
    """A tracked flow: its first packet, and the addresses that the answers have (different where NAT changed them)."""

    protocol: int
    source: str
    destination: str
    port: int  # destination's, or ICMP type; -1 = has none
    code: int  # ICMP's
    answers_from: str  # who really gets the packets
    answers_to: str  # whom the packets seem to be from


@dataclass(frozen=True, slots=True)
class _Parsed:
    """A rule taken apart; `first` to `last` are its block of addresses when it names no group."""

    egress: bool
    traffic: Traffic
    group_id: str
    first: int
    last: int


@lru_cache(maxsize=8192)
def _parse(rule: Rule) -> _Parsed | None:
    traffic, peer = traffic_of(rule), peer_of(rule)
    if not traffic.exists_in(4):
        return None
    if isinstance(peer, str):
        return _Parsed(rule.egress, traffic, peer, 0, -1)
    if peer.version != 4:
        return None
    return _Parsed(rule.egress, traffic, "", int(peer.network_address), int(peer.broadcast_address))


class Judge:
    """Judges flows by one picture; `gone` are addresses that interfaces of this host had until now."""

    def __init__(self, clean: Clean, gone: frozenset[str] = frozenset()) -> None:
        self._groups = clean.groups
        self._interfaces = {address: it for it in clean.interfaces for address in it.addresses}
        self._private = {pair.public: pair.private for it in clean.interfaces for pair in it.public_addresses}
        self._public = {pair.private: pair.public for it in clean.interfaces for pair in it.public_addresses}
        self._gone = gone - self._interfaces.keys()

    def admits(self, flow: Flow) -> bool:
        """Tell whether the flow's first packet would be let in now."""
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
        number = int(IPv4Address(peer))
        for rule in self._rules(interface):
            if rule.egress is egress and rule.traffic.admits(flow.protocol, flow.port, flow.code):
                if not rule.group_id:
                    if rule.first <= number <= rule.last:
                        return True
                elif rule.group_id in self._groups and peer in self._groups[rule.group_id].members:
                    return True
        return False

    def _rules(self, interface: Interface) -> Iterator[_Parsed]:
        for group_id in interface.group_ids:
            if group_id in self._groups:
                for rule in self._groups[group_id].rules:
                    parsed = _parse(rule)
                    if parsed is not None:
                        yield parsed


def narrowed(old: Clean | None, new: Clean) -> frozenset[str]:
    """List the addresses whose flows the new picture may no longer admit; what only grew is not among them.

    A new interface is: its address may have been another's, whose flows are still tracked.
    """
    if old is None:
        return frozenset(address for it in new.interfaces for address in it.addresses)
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
            found.update(*(it.addresses for it in (earlier, later) if it is not None))
    return frozenset(found)


def _changed(earlier: Interface, later: Interface) -> bool:
    """Tell whether an interface lost something; a group or public address more takes nothing away."""
    return (
        not set(earlier.group_ids) <= set(later.group_ids)
        or not set(earlier.public_addresses) <= set(later.public_addresses)
        or earlier.addresses != later.addresses
    )


def _lost(group_id: str, old: Clean, new: Clean) -> bool:
    """Tell whether a group lost rules."""
    earlier, later = old.groups[group_id], new.groups.get(group_id)
    if later is None:
        return bool(earlier.rules)
    return earlier.rules is not later.rules and not set(earlier.rules) <= set(later.rules)


def _lost_peers(rules: tuple[Rule, ...], old: Clean, new: Clean) -> bool:
    """Tell whether a group that the rules name lost members."""
    for group_id in {rule.peer for rule in rules if is_group_id(rule.peer)}:
        earlier, later = old.groups.get(group_id), new.groups.get(group_id)
        if earlier is None or (later is not None and earlier.members is later.members):
            continue
        if later is None or not earlier.members <= later.members:
            return True
    return False
