"""The judge of tracked flows agrees with the plainest model, and nobody whom a change hurts is forgotten."""

import random

from hypothesis import given, settings
from hypothesis import strategies as st

from stead_agent.firewall.cleaning import cleaned
from stead_agent.firewall.flows import Flow, Judge, narrowed
from stead_agent.firewall.interface import Group, Interface, PublicAddress, Rule, VpcFirewall
from tests.unit.agent.firewall.model import GROUPS, Packet, allowed, changed, random_picture

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
@settings(max_examples=60, deadline=None)
def test_judge_is_the_model(seed: int) -> None:
    picture = random_picture(random.Random(seed), interfaces(), "vpc-1")
    judge = Judge(cleaned(picture))
    for packet in packets():
        assert judge.admits(flow_of(packet)) is allowed(picture, packet), packet


@given(st.integers(0, 10**9))
@settings(max_examples=60, deadline=None)
def test_narrowed_names_everyone_who_lost_a_flow(seed: int) -> None:
    """A flow that was admitted and is no more must touch a named address: others' flows are not even looked at."""
    chance = random.Random(seed)
    old = random_picture(chance, interfaces(), "vpc-1")
    new = changed(old, chance, 1000)
    named = narrowed(cleaned(old), cleaned(new))
    for packet in packets():
        if allowed(old, packet) and not allowed(new, packet):
            assert {packet.source, packet.destination} & named, packet


def _picture(*public: PublicAddress) -> VpcFirewall:
    rule = Rule("sgr-1", False, "tcp", 22, 22, "0.0.0.0/0")
    out = Rule("sgr-2", True, "-1", -1, -1, "0.0.0.0/0")
    interface = Interface("eni-00000001", "stt1", "sub1", "06:00:00:00:00:01", ("10.0.1.10",), (GROUPS[0],), public)
    return VpcFirewall("vpc-1", (Group(GROUPS[0], (rule, out)),), (), (interface,))


def test_public_addresses_must_still_be_in_force() -> None:
    public = PublicAddress("198.51.100.10", "10.0.1.10")
    inwards = Flow(6, "203.0.113.7", "198.51.100.10", 22, -1, "10.0.1.10", "203.0.113.7")
    outwards = Flow(6, "10.0.1.10", "203.0.113.7", 443, -1, "203.0.113.7", "198.51.100.10")
    for flow in (inwards, outwards):
        assert Judge(cleaned(_picture(public))).admits(flow)
        assert not Judge(cleaned(_picture())).admits(flow)
        assert not Judge(cleaned(_picture(PublicAddress("198.51.100.11", "10.0.1.10")))).admits(flow)
    assert narrowed(cleaned(_picture(public)), cleaned(_picture())) == {"10.0.1.10"}
    assert narrowed(cleaned(_picture()), cleaned(_picture(public))) == set()


def test_addresses_that_are_gone_keep_nothing() -> None:
    flow = Flow(6, "203.0.113.7", "10.0.1.99", 22, -1, "10.0.1.99", "203.0.113.7")
    assert Judge(cleaned(_picture())).admits(flow)
    assert not Judge(cleaned(_picture()), frozenset({"10.0.1.99"})).admits(flow)
