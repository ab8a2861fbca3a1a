"""The judge of tracked flows agrees with the plainest model, and nobody whom a change hurts is forgotten."""

import random
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stead_agent.firewall.cleaning import cleaned
from stead_agent.firewall.flows import Flow, Judge, narrowed
from stead_agent.firewall.interface import Group, GroupRule, Interface, PublicAddress, VpcFirewall
from tests.support.examples import examples
from tests.support.firewall_model import GROUPS, Packet, allowed, changed, random_firewall

ADDRESSES = ["10.0.1.10", "10.0.1.11", "10.0.2.10", "10.0.2.200"]
OUTSIDE = ["203.0.113.7", "10.0.9.9"]


def interfaces() -> tuple[Interface, ...]:
    return tuple(
        Interface(f"eni-{n:017x}", f"stt{n}", "sub1", f"06:00:00:00:00:{n:02x}", (address,), (GROUPS[n],))
        for n, address in enumerate(ADDRESSES)
    )


def packets() -> list[Packet]:
    ends = [*ADDRESSES, *OUTSIDE]
    kinds = [
        (6, 22, -1),
        (6, 95, -1),
        (17, 53, -1),
        (17, 63, -1),
        (17, 64, -1),
        (1, 8, 0),
        (1, 13, 0),
        (47, -1, -1),
        (50, -1, -1),
    ]
    return [Packet(a, b, *kind) for a in ends for b in ends for kind in kinds if a != b]


def flow_of(packet: Packet) -> Flow:
    return Flow(
        packet.protocol, packet.source, packet.destination, packet.port, packet.code, packet.destination, packet.source
    )


@given(st.integers(0, 10**9))
@settings(max_examples=examples(25), deadline=None)
def test_judge_is_the_model(seed: int) -> None:
    desired = random_firewall(random.Random(seed), interfaces(), "vpc-1")
    judge = Judge(cleaned(desired))
    for packet in packets():
        assert judge.admits(flow_of(packet)) is allowed(desired, packet), packet


@given(st.integers(0, 10**9))
@settings(max_examples=examples(25), deadline=None)
def test_narrowed_names_everyone_who_lost_a_flow(seed: int) -> None:
    """A flow that was admitted and is no more must touch a named address: others' flows are not even looked at."""
    chance = random.Random(seed)
    old = random_firewall(chance, interfaces(), "vpc-1")
    new = changed(old, chance, 1000)
    named = narrowed(cleaned(old), cleaned(new))
    for packet in packets():
        if allowed(old, packet) and not allowed(new, packet):
            assert {packet.source, packet.destination} & named, packet


def _state(*public: PublicAddress) -> VpcFirewall:
    rule = GroupRule("sgr-1", False, "tcp", 22, 22, "0.0.0.0/0")
    out = GroupRule("sgr-2", True, "-1", -1, -1, "0.0.0.0/0")
    interface = Interface("eni-00000001", "stt1", "sub1", "06:00:00:00:00:01", ("10.0.1.10",), (GROUPS[0],), public)
    return VpcFirewall("vpc-1", (Group(GROUPS[0], (rule, out)),), (), (interface,))


def test_public_addresses_must_still_be_in_force() -> None:
    public = PublicAddress("198.51.100.10", "10.0.1.10")
    inwards = Flow(6, "203.0.113.7", "198.51.100.10", 22, -1, "10.0.1.10", "203.0.113.7")
    outwards = Flow(6, "10.0.1.10", "203.0.113.7", 443, -1, "203.0.113.7", "198.51.100.10")
    for flow in (inwards, outwards):
        assert Judge(cleaned(_state(public))).admits(flow)
        assert not Judge(cleaned(_state())).admits(flow)
        assert not Judge(cleaned(_state(PublicAddress("198.51.100.11", "10.0.1.10")))).admits(flow)
    assert narrowed(cleaned(_state(public)), cleaned(_state())) == {"10.0.1.10"}
    assert narrowed(cleaned(_state()), cleaned(_state(public))) == set()


def test_flows_of_removed_addresses_end() -> None:
    flow = Flow(6, "203.0.113.7", "10.0.1.99", 22, -1, "10.0.1.99", "203.0.113.7")
    assert Judge(cleaned(_state())).admits(flow)
    assert not Judge(cleaned(_state()), frozenset({"10.0.1.99"})).admits(flow)


SSH = GroupRule("sgr-1", False, "tcp", 22, 22, "0.0.0.0/0")
A, B = GROUPS[:2]


def guest(number: int = 1, **values: object) -> Interface:
    """An interface that sends and gets by group A's rules."""
    fields: dict[str, object] = {
        "id": f"eni-{number:08x}",
        "tap": f"stt{number}",
        "subnet_link": "sub1",
        "mac": f"06:00:00:00:00:{number:02x}",
        "addresses": (f"10.0.1.{number}",),
        "group_ids": (A,),
    }
    return Interface(**(fields | values))  # type: ignore[arg-type]  # the test's own


def inwards(source: str, destination: str, protocol: int = 6, port: int = 22, code: int = -1) -> Flow:
    return Flow(protocol, source, destination, port, code, destination, source)


def judge(*rules: GroupRule, interface: Interface | None = None, members: frozenset[str] = frozenset()) -> Judge:
    groups = (Group(A, rules), Group(B, (), members))
    return Judge(cleaned(VpcFirewall("vpc-1", groups, (), (interface or guest(),))))


def test_no_rules_are_asked_of_an_unfiltered_interface() -> None:
    flow = inwards("203.0.113.7", "10.0.1.1")
    assert judge(interface=guest(unfiltered=True)).admits(flow)
    assert not judge().admits(flow)


def test_both_ends_must_allow_a_flow_and_each_by_its_own_direction() -> None:
    out = replace(SSH, egress=True)
    flow = inwards("10.0.1.1", "10.0.1.2")
    groups = (Group(A, (out,)), Group(B, (SSH,)))
    for sender, receiver, admitted in ((A, B, True), (B, B, False), (A, A, False), (B, A, False)):
        pair = (guest(1, group_ids=(sender,)), guest(2, group_ids=(receiver,)))
        assert Judge(cleaned(VpcFirewall("vpc-1", groups, (), pair))).admits(flow) is admitted


@pytest.mark.parametrize(
    ("peer", "source", "admitted"),
    [
        ("fd00:1::/32", "fd00:1::7", True),
        ("fd00:1::/32", "fd00:1:ffff:ffff:ffff:ffff:ffff:ffff", True),
        ("fd00:1::/32", "fd00:2::", False),
        ("::/0", "fd00:2::", True),
        ("0.0.0.0/0", "fd00:2::", False),
        ("10.9.0.0/16", "::10.9.0.1", False),
        (B, "fd00:9::9", True),
        (B, "fd00:9::8", False),
        (GROUPS[2], "fd00:9::9", False),
    ],
)
def test_ipv6_flows_are_admitted_by_ipv6_rules(peer: str, source: str, admitted: bool) -> None:
    both = guest(ipv6_addresses=("fd00::1",))
    found = judge(replace(SSH, peer=peer), interface=both, members=frozenset({"10.0.9.9", "fd00:9::9"}))
    assert found.admits(inwards(source, "fd00::1")) is admitted


@pytest.mark.parametrize(
    ("source", "admitted"),
    [("10.9.0.0", True), ("10.9.255.255", True), ("10.8.255.255", False), ("10.10.0.0", False)],
)
def test_a_prefix_list_admits_its_blocks(source: str, admitted: bool) -> None:
    listed = replace(SSH, peer="pl-0000000a", blocks=("fd00:9::/32", "10.9.0.0/16"))
    assert judge(listed).admits(inwards(source, "10.0.1.1")) is admitted


def test_each_ip_version_has_its_own_icmp() -> None:
    both = guest(ipv6_addresses=("fd00::1",))
    rules = (GroupRule("sgr-1", False, "icmp", 8, -1, B), GroupRule("sgr-2", False, "icmpv6", 128, -1, B))
    found = judge(*rules, interface=both, members=frozenset({"10.0.9.9", "fd00:9::9"}))
    assert found.admits(inwards("10.0.9.9", "10.0.1.1", 1, 8, 0))
    assert found.admits(inwards("fd00:9::9", "fd00::1", 58, 128, 0))
    assert not found.admits(inwards("fd00:9::9", "fd00::1", 1, 8, 0))
    assert not found.admits(inwards("10.0.9.9", "10.0.1.1", 58, 128, 0))


def test_a_group_that_is_not_there_allows_nothing() -> None:
    assert not judge(interface=guest(group_ids=(GROUPS[3],))).admits(inwards("10.0.1.9", "10.0.1.1"))


def test_an_address_that_another_interface_has_now_is_not_gone() -> None:
    clean = cleaned(VpcFirewall("vpc-1", (Group(A, (SSH,)),), (), (guest(),)))
    flow = inwards("203.0.113.7", "10.0.1.1")
    assert Judge(clean, frozenset({"10.0.1.1"})).admits(flow)
    assert not Judge(clean, frozenset({"203.0.113.7"})).admits(flow)


def test_what_is_not_known_may_have_lost_anything() -> None:
    vpc = VpcFirewall("vpc-1", interfaces=(guest(1), guest(2, ipv6_addresses=("fd00::2",))))
    assert narrowed(None, cleaned(vpc)) == {"10.0.1.1", "10.0.1.2", "fd00::2"}


BEFORE = VpcFirewall(
    "vpc-1",
    (Group(A, (SSH, replace(SSH, id="sgr-2", peer=B))), Group(B, (), frozenset({"10.0.9.8", "10.0.9.9"}))),
    (),
    (guest(1, public_addresses=(PublicAddress("198.51.100.1", "10.0.1.1"),)), guest(2, group_ids=(B,))),
)


def after(group: Group | None = None, interface: Interface | None = None) -> VpcFirewall:
    """The state with another group, or another first interface."""
    groups = tuple(group if group and it.id == group.id else it for it in BEFORE.groups)
    interfaces = tuple(interface if interface and it.id == interface.id else it for it in BEFORE.interfaces)
    return replace(BEFORE, groups=groups, interfaces=interfaces)


FIRST = BEFORE.interfaces[0]


@pytest.mark.parametrize(
    ("new", "named"),
    [
        (BEFORE, set()),
        (after(replace(BEFORE.groups[0], rules=(SSH,))), {"10.0.1.1"}),
        (after(replace(BEFORE.groups[0], rules=(*BEFORE.groups[0].rules, replace(SSH, id="sgr-3")))), set()),
        (after(replace(BEFORE.groups[1], rules=(SSH,))), set()),
        (after(replace(BEFORE.groups[1], members=frozenset({"10.0.9.9"}))), {"10.0.1.1"}),
        (after(replace(BEFORE.groups[1], members=frozenset({"10.0.9.7", "10.0.9.8", "10.0.9.9"}))), set()),
        (replace(BEFORE, groups=BEFORE.groups[:1]), {"10.0.1.1"}),
        (replace(BEFORE, groups=BEFORE.groups[1:]), {"10.0.1.1"}),
        (after(interface=replace(FIRST, group_ids=(A, B))), set()),
        (after(interface=replace(FIRST, group_ids=(B,))), {"10.0.1.1"}),
        (after(interface=replace(FIRST, public_addresses=())), {"10.0.1.1"}),
        (after(interface=replace(FIRST, addresses=("10.0.1.1", "10.0.1.3"))), {"10.0.1.1", "10.0.1.3"}),
        (after(interface=replace(FIRST, addresses=("10.0.1.3",))), {"10.0.1.1", "10.0.1.3"}),
        (after(interface=replace(FIRST, ipv6_addresses=("fd00::1",))), {"10.0.1.1", "fd00::1"}),
        (after(interface=replace(FIRST, unfiltered=True)), set()),
        (replace(BEFORE, interfaces=BEFORE.interfaces[1:]), {"10.0.1.1"}),
        (replace(BEFORE, interfaces=(*BEFORE.interfaces, guest(3))), {"10.0.1.3"}),
    ],
)
def test_narrowed_names_those_who_lost_something_alone(new: VpcFirewall, named: set[str]) -> None:
    assert narrowed(cleaned(BEFORE), cleaned(new)) == named


def test_an_interface_whose_groups_are_asked_again_may_have_lost_anything() -> None:
    old = VpcFirewall("vpc-1", interfaces=(guest(unfiltered=True),))
    assert narrowed(cleaned(old), cleaned(VpcFirewall("vpc-1", interfaces=(guest(),)))) == {"10.0.1.1"}


def test_a_group_of_no_rules_takes_nothing_along() -> None:
    old = VpcFirewall("vpc-1", (Group(A, ()),), (), (guest(),))
    assert narrowed(cleaned(old), cleaned(replace(old, groups=()))) == set()


def test_a_peer_group_that_came_takes_nothing_away() -> None:
    rule = replace(SSH, peer=B)
    old = VpcFirewall("vpc-1", (Group(A, (rule,)),), (), (guest(),))
    new = replace(old, groups=(*old.groups, Group(B, (), frozenset({"10.0.9.9"}))))
    assert narrowed(cleaned(old), cleaned(new)) == set()


def test_a_peer_group_that_was_read_anew_takes_nothing_away() -> None:
    def with_peer() -> VpcFirewall:
        peers = Group(B, (), frozenset({"10.0.9.9"}))
        return VpcFirewall("vpc-1", (Group(A, (replace(SSH, peer=B),)), peers), (), (guest(),))

    assert narrowed(cleaned(with_peer()), cleaned(with_peer())) == set()


def test_a_prefix_list_that_lost_a_block_names_its_groups() -> None:
    def listed(*blocks: str) -> VpcFirewall:
        return VpcFirewall("vpc-1", (Group(A, (replace(SSH, peer="pl-0000000a", blocks=blocks),)),), (), (guest(),))

    old = cleaned(listed("10.8.0.0/16", "10.9.0.0/16"))
    assert narrowed(old, cleaned(listed("10.9.0.0/16"))) == {"10.0.1.1"}
    assert narrowed(old, cleaned(listed("10.8.0.0/16", "10.9.0.0/16"), old)) == set()
