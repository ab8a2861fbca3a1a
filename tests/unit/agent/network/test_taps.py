"""Which taps need what, to be as libvirt made them."""

from dataclasses import replace

import pytest

from stead_agent.network import interface as net
from stead_agent.network.bandwidth import shaper_names
from stead_agent.network.kernel_objects import Tap
from stead_agent.network.readings import Link
from stead_agent.network.taps import damaged
from stead_agent.network.traffic_control import GONE

SUBNET = net.Subnet("subnet-1", "10.0.0.0/24")
VPC = net.VpcNetwork(
    "vpc-1",
    1,
    ("10.0.0.0/16",),
    (SUBNET,),
    (net.LocalInterface("eni-1", SUBNET.id, "06:00:00:00:00:01", ("10.0.0.4",)),),
    mtu=1450,
)
BRIDGE = Link(7, net.bridge_name(SUBNET.id), "bridge", "stead vpc-1 subnet-1", 1450, "", 0, 0, is_up=True)
TAP = Link(9, net.tap_name("eni-1"), "tun", "", 1450, "", BRIDGE.index, 0, is_up=True, is_isolated=True)
WANTED = Tap(TAP.name, BRIDGE.name, 1450, is_isolated=True, is_up=True)


def test_one_that_is_well_is_left_alone() -> None:
    assert list(damaged(VPC, [BRIDGE, TAP], {})) == []


@pytest.mark.parametrize(
    ("found", "old"),
    [
        (replace(TAP, is_up=False), replace(WANTED, is_up=False)),
        (replace(TAP, master=0), replace(WANTED, master="")),
        (replace(TAP, master=99), replace(WANTED, master="")),
        (replace(TAP, is_isolated=False), replace(WANTED, is_isolated=False)),
        (replace(TAP, mtu=900), replace(WANTED, mtu=900)),
    ],
)
def test_each_damage_is_mended(found: Link, old: Tap) -> None:
    assert [(change.old, change.new) for change in damaged(VPC, [BRIDGE, found], {})] == [(old, WANTED)]


def test_what_is_not_there_or_not_a_guests_is_left_alone() -> None:
    assert list(damaged(VPC, [BRIDGE], {})) == []
    assert list(damaged(VPC, [replace(TAP, is_up=False)], {})) == []  # no bridge to put it into
    gateway = replace(VPC, nat_gateways=(net.NatGateway("nat-1", "eni-1"),))
    assert list(damaged(gateway, [BRIDGE, replace(TAP, is_up=False)], {})) == []
    other = replace(TAP, name=net.tap_name("eni-2"), is_up=False)
    assert list(damaged(VPC, [BRIDGE, other], {})) == []


LIMITED = replace(VPC, interfaces=(replace(VPC.interfaces[0], bandwidth=net.Bandwidth("i-1", "vpc-1", 100, 200)),))
INTO, OUT_OF = (
    Link(index, name, "ifb", "stead vpc-1 i-1", 1500, "", 0, 0, is_up=True)
    for index, name in zip((20, 21), shaper_names(net.Bandwidth("i-1", "vpc-1", 100, 200)), strict=True)
)
THROUGH = replace(WANTED, into=INTO.name, out_of=OUT_OF.name)


@pytest.mark.parametrize(
    ("redirected", "old"),
    [
        ((0, 0), WANTED),
        ((20, 0), replace(WANTED, into=INTO.name)),
        ((0, 21), replace(WANTED, out_of=OUT_OF.name)),
        ((20, GONE), replace(WANTED, into=INTO.name, out_of="gone")),
        ((21, 20), replace(WANTED, into=OUT_OF.name, out_of=INTO.name)),
    ],
)
def test_what_a_limited_tap_carries_passes_both_shapers(redirected: tuple[int, int], old: Tap) -> None:
    links = [BRIDGE, TAP, INTO, OUT_OF]
    found = damaged(LIMITED, links, {TAP.index: redirected})
    assert [(change.old, change.new) for change in found] == [(old, THROUGH)]
    assert list(damaged(LIMITED, links, {TAP.index: (20, 21)})) == []


def test_a_tap_stays_as_it_is_while_another_vpc_has_no_shapers_for_it() -> None:
    assert list(damaged(LIMITED, [BRIDGE, TAP, INTO], {})) == []
    found = damaged(LIMITED, [BRIDGE, replace(TAP, is_up=False), INTO], {TAP.index: (INTO.index, GONE)})
    assert [change.new for change in found] == [replace(WANTED, into=INTO.name, out_of="gone")]


def test_a_tap_without_limits_passes_none() -> None:
    found = damaged(VPC, [BRIDGE, TAP, INTO, OUT_OF], {TAP.index: (20, 21)})
    assert [(change.old, change.new) for change in found] == [(THROUGH, WANTED)]
    found = damaged(VPC, [BRIDGE, TAP], {TAP.index: (GONE, GONE)})
    assert [change.new for change in found] == [WANTED]
